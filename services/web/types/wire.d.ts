/** What the services send to the pages. contracts/golden/ has an example of every event. */
declare namespace Wire {
  interface Room {
    _id: string;
    title: string;
    max: number;
    private: boolean;
    /** The owner's colour. */
    owner: string;
    owner_id: string;
    slow_mode_s: number;
    createdAt: string;
    members: number;
  }

  interface RoomPage {
    items: Room[];
    next_cursor: string | null;
  }

  interface Position {
    epoch: string;
    seq: number;
  }

  interface LogEntry extends Position {
    room: string;
    createdAt: string;
  }

  interface Chat extends LogEntry {
    _id: string;
    /** The author's colour. */
    user: string;
    user_id: string;
    client_message_id: string;
    chat?: string;
    /** Path below `/gif/`. */
    gif?: string;
    gif_info?: GifInfo;
    deleted?: boolean;
  }

  interface GifInfo {
    url: string;
    still_url: string;
    width: number;
    height: number;
    /** 1 for a still picture. Old messages do not say. */
    frames?: number;
  }

  interface ChatDeleted extends LogEntry {
    target_seq: number;
    target_id: string;
  }

  interface Notice extends LogEntry {
    code: string;
    slow_mode_s: number;
  }

  /** A durable event. */
  type LogItem =
    { event: "chat"; data: Chat } | { event: "chatDeleted"; data: ChatDeleted } | { event: "notice"; data: Notice };

  interface HistoryPage {
    epoch: string;
    items: LogItem[];
    has_more: boolean;
  }

  interface Presence {
    members: number;
    /** Colours by user id. */
    joined?: Record<string, string>;
    left?: Record<string, string>;
  }

  interface Sanction {
    code: string;
    /** Null if permanent. */
    until: string | null;
  }

  interface Joined {
    ok: true;
    time: string;
    room: Room;
    occupancy: number;
    membership: string;
    position: Position;
    recent: LogItem[];
    recovered: boolean;
  }

  interface Refused {
    ok: false;
    code: string;
    message: string;
    retry?: boolean;
  }

  type Ack = Joined | Refused;

  interface Limits {
    gif_max_bytes: number;
    text_max_chars: number;
    text_max_bytes: number;
    text_max_line_breaks: number;
    title_max_chars: number;
    title_max_bytes: number;
    password_max_chars: number;
    room_max_min: number;
    room_max_max: number;
  }

  /** A string, or one for each plural category. */
  type Text = string | Record<string, string>;

  /** The texts of one language: page texts by key, error texts by code. */
  interface Catalogue {
    texts: Record<string, Text>;
    errors: Record<string, string>;
  }

  /** The JSON that the web service puts into a page. */
  interface PageData {
    page: string;
    language: string;
    /** Where the `Catalogue` is. */
    texts_url: string;
    limits: Limits;
    you: { user_id: string; color: string };
    room: Room;
    rooms: Room[];
    next_cursor: string | null;
    q: string;
    sort: string;
  }
}
