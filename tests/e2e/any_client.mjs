// Clients of several releases of socket.io-client in one room, with default options except for the transports.
// Configuration: one JSON argument {url, room, clients: [[npm package, "default" | "polling" | "websocket"], …],
// at_once, messages, stay}. The drivers print the same lines: see any_client.py.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const { url, room, clients, at_once: atOnce, messages, stay } = JSON.parse(process.argv[2]);
const DEADLINE_MS = 30_000;
const RETRY_MS = 500;
const WRITE_EVERY_MS = 60;

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const packages = {};
for (const name of new Set(clients.map(([client]) => client))) {
  const { version } = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url)));
  packages[name] = { io: (await import(name)).io, version };
}

class Client {
  constructor(number, name, transports) {
    this.name = `${name}-${packages[name].version}-${transports}-${number}`;
    this.transports = transports;
    this.facts = {
      client: this.name,
      version: packages[name].version,
      transport: null,
      connects: 0,
      recovered: [],
      acked: [],
      received: [],
      faults: [],
    };
    this.position = null;
    this.joined = false;
    // Messages received before the ack of the join. They follow the messages in the ack.
    this.held = [];
    this.waiting = [];
    const options = transports === "default" ? {} : { transports: [transports] };
    this.socket = packages[name].io(`${url}/chat`, options);
    this.socket.on("connect", () => this.onConnect());
    this.socket.on("connect_error", (error) => this.fault(`connect_error: ${error.message}`));
    this.socket.on("disconnect", (reason) => {
      this.joined = false;
      this.fault(`disconnect: ${reason}`);
    });
    this.socket.on("chat", (message) => (this.joined ? this.take(message) : this.held.push(message)));
    this.socket.io.on("reconnect_attempt", (count) => this.fault(`reconnect_attempt: ${count}`));
    this.socket.io.engine.on("upgradeError", (error) => this.fault(`upgradeError: ${error.message}`));
  }

  // Records something that must not happen to a client while the system works.
  fault(what) {
    this.facts.faults.push(what);
    this.changed();
  }

  onConnect() {
    this.facts.connects += 1;
    this.held = [];
    this.join();
  }

  join() {
    this.socket.emit("join", this.position === null ? { room } : { room, position: this.position }, (ack) => {
      if (!ack.ok) {
        this.fault(`join: ${ack.code}`);
        if (ack.retry) setTimeout(() => this.socket.connected && this.join(), RETRY_MS);
        return;
      }
      if (this.position !== null) this.facts.recovered.push(ack.recovered);
      for (const { event, data } of ack.recent) if (event === "chat") this.take(data);
      this.position = ack.position;
      this.joined = true;
      for (const message of this.held.splice(0)) this.take(message);
      this.changed();
    });
  }

  take({ epoch, seq, chat }) {
    if (this.position?.epoch === epoch && seq <= this.position.seq) return;
    this.position = { epoch, seq };
    this.facts.received.push([seq, chat]);
    this.changed();
  }

  // True once the message is stored, false if no ack came.
  async chat(text) {
    const ack = await new Promise((resolve) => {
      this.socket.emit("chat", { room, client_message_id: randomUUID(), text }, resolve);
      this.socket.once("disconnect", () => resolve(null));
    });
    if (ack?.ok) this.facts.acked.push(text);
    else if (ack) this.fault(`chat: ${ack.code}`);
    return Boolean(ack?.ok);
  }

  changed() {
    this.waiting = this.waiting.filter((check) => !check());
  }

  async until(what, condition) {
    if (condition()) return;
    await new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.facts.faults.push(`not in time: ${what}`);
        resolve();
      }, DEADLINE_MS);
      this.waiting.push(() => {
        if (!condition()) return false;
        clearTimeout(timer);
        resolve();
        return true;
      });
    });
  }

  async upgraded() {
    const { engine } = this.socket.io;
    engine?.once("upgrade", () => this.changed());
    if (this.transports === "default") {
      await this.until("upgrade", () => engine?.transport.name === "websocket");
    }
    this.facts.transport = engine?.transport.name ?? null;
  }

  leave() {
    this.socket.off("disconnect");
    this.socket.disconnect();
    print(this.facts);
  }
}

const connected = async (batch) => {
  const made = batch.map(([number, [name, transports]]) => new Client(number, name, transports));
  await Promise.all(made.map((client) => client.until("join", () => client.joined)));
  return made;
};

const visit = async (batch) => {
  const made = await connected(batch);
  const texts = [];
  const write = async (client) => {
    for (let number = 0; number < messages; number++) {
      const text = `${client.name} ${number}`;
      texts.push(text);
      await client.chat(text);
    }
  };
  await Promise.all(made.map(write));
  const hasAll = ({ facts }) => {
    const received = new Set(facts.received.map(([, text]) => text));
    return texts.every((text) => received.has(text));
  };
  await Promise.all(made.map((client) => client.until("every message", () => hasAll(client))));
  await Promise.all(made.map((client) => client.upgraded()));
  for (const client of made) client.leave();
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const nextLine = async () => (await lines.next()).value;

const stayUntilTold = async (made) => {
  let writing = true;
  const write = async (client) => {
    for (let number = 0; writing; number++) {
      await client.until("join", () => client.joined);
      await client.chat(`${client.name} ${number}`);
      await pause(WRITE_EVERY_MS);
    }
  };
  await Promise.all(made.map((client) => client.upgraded()));
  const written = write(made[0]);
  print({ ready: true });
  await nextLine();
  writing = false;
  await written;
  await made[0].until("join", () => made[0].joined);
  print({ head: made[0].position.seq });
  const head = Number(await nextLine());
  const hasAll = (client) => client.joined && client.position.seq >= head;
  await Promise.all(made.map((client) => client.until(`message ${head}`, () => hasAll(client))));
  for (const client of made) client.leave();
};

const numbered = [...clients.entries()];
const stayed = [];
for (let at = 0; at < numbered.length; at += atOnce) {
  const batch = numbered.slice(at, at + atOnce);
  if (stay) stayed.push(...(await connected(batch)));
  else await visit(batch);
}
if (stay) await stayUntilTold(stayed);
process.stdin.destroy();
