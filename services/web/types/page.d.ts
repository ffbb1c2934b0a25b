/** What the modules of a page pass to each other. */
declare namespace Page {
  /** Why something failed: an `ApiProblem`, a refused ack, or one of the page's own codes. */
  interface Problem {
    code: string;
    message?: string;
    retry?: boolean | undefined;
  }

  type Status = "joining" | "joined" | "lost" | "waiting";

  type Wait = (ms: number) => Promise<unknown>;

  /** The part of a Socket.IO client socket that the pages use. */
  interface Socket {
    readonly connected: boolean;
    readonly active: boolean;
    readonly io: { on(event: string, listener: () => void): unknown };
    readonly volatile: { emit(event: string, data: object): unknown };
    on(event: string, listener: (reason: string) => void): unknown;
    onAny(listener: (event: string, data: any) => void): unknown;
    timeout(ms: number): { emitWithAck(event: string, data?: object): Promise<any> };
    connect(): this;
    disconnect(): this;
  }

  /** What to do with a durable event, and the events that can be shown now. */
  interface Step {
    type: "deliver" | "duplicate" | "held" | "gap" | "resync";
    events: Wire.LogItem[];
  }

  /** The text of a message, or the id of its GIF. */
  type Content = { text: string } | { gif: string };

  interface Outgoing {
    clientMessageId: string;
    content: Content;
  }

  /** A null `password` removes the password. */
  interface RoomChanges {
    title?: string;
    max?: number;
    slow_mode_s?: number;
    password?: string | null;
  }

  interface Gif {
    url: string;
    stillUrl: string;
    width?: number | undefined;
    height?: number | undefined;
    frames?: number | undefined;
  }

  interface Draft {
    clientMessageId: string;
    color: string;
    createdAt: string;
    text?: string;
    gif?: Gif;
    percent?: number;
  }

  interface MessageRow {
    key: string;
    kind: "message";
    status: "pending" | "sent" | "failed";
    mine: boolean;
    userId: string;
    color: string;
    createdAt: string;
    clientMessageId: string;
    deleted: boolean;
    text?: string | undefined;
    gif?: Gif;
    /** Set only for messages in the log. */
    order?: number;
    seq?: number;
    /** Set only for messages that are not sent yet. */
    percent?: number | undefined;
    failure?: Problem | undefined;
  }

  interface NoticeRow {
    key: string;
    kind: "notice";
    order: number;
    seq: number;
    code: string;
    seconds: number;
    createdAt: string;
  }

  interface SystemRow {
    key: string;
    kind: "system";
    order: number;
    code: string;
    color?: string;
    count?: number;
  }

  type Row = MessageRow | NoticeRow | SystemRow;
}
