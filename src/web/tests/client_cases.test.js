// The cases that src/client/state.rs is held to, too.
import { assert, assertEquals } from "./assert.js";
import { ClientState } from "../core/client.js";

/** @typedef {Record<string, any>} Data */

const FOLDER = new URL("../../../tests/cases/client/", import.meta.url);

/** @param {number} seq @param {string} [room] */
const event = (seq, room = "lobby") => ({
  room,
  seq,
  author: "bob",
  lamport_timestamp: 100 + seq,
  created_at: 1,
  kind: "message",
  body: `event ${seq}`,
  client_msg_id: `b-${seq}`,
});

/** A client, and the outputs that the test has not checked yet. */
class Rig {
  /** @param {number|null} lastSeq @param {{epoch?: number, cursor?: number}} [kept] what an earlier run has kept */
  constructor(lastSeq, { epoch, cursor } = {}) {
    this.state = new ClientState({
      login: { username: "alice" },
      servers: [{ id: null, address: { host: "localhost", port: 8000 } }],
      pageHost: "localhost",
      seed: 42,
      epoch,
    });
    this.nowMs = 10_000;
    /** @type {Data[]} */
    this.written = [];
    /** @type {import("../core/client.js").Update[]} */
    this.told = [];
    /** @type {{host: string, port: number}|null} */
    this.connecting = null;
    this.disconnects = 0;
    this.nextId = 1;
    /** @type {Map<string, string>} */
    this.ids = new Map();
    /** @type {Map<string, Data>} */
    this.requests = new Map();
    this.input({ type: "timeout" });
    this.input({ type: "want", room: "lobby", cursor: cursor ?? null });
    if (lastSeq === null) return;
    this.logIn("server1");
    this.answerJoin({ last_seq: lastSeq, events: [] });
    this.written = [];
    this.told = [];
  }

  /** @param {import("../core/client.js").Input} input */
  input(input) {
    this.state.handle(this.nowMs, input);
    for (let output = this.state.pollOutput(); output; output = this.state.pollOutput()) {
      if (output.type === "connect") this.connecting = output.address;
      if (output.type === "disconnect") {
        this.disconnects++;
        this.connecting = null;
      }
      if (output.type === "write") this.written.push(JSON.parse(output.text));
      if (output.type === "update") this.told.push(output.update);
    }
  }

  /** @param {string} msgType */
  take(msgType) {
    const taken = this.written.filter((request) => request.msg_type === msgType);
    this.written = this.written.filter((request) => request.msg_type !== msgType);
    return taken;
  }

  /** @param {Data} request @param {string} msgType @param {Data} data */
  answer(request, msgType, data) {
    this.receive({
      msg_type: msgType,
      data: { ...data, for: request.msg_type },
      lamport_timestamp: 100,
      request_id: request.request_id,
    });
  }

  /** @param {Data} message */
  receive(message) {
    this.input({ type: "received", text: JSON.stringify(message) });
  }

  /** @param {string} serverId @param {number} [epoch] */
  logIn(serverId, epoch) {
    assert(this.connecting, "no connection is asked for");
    this.connecting = null;
    this.input({ type: "connected" });
    const [login] = this.take("login");
    assertEquals(login.data.username, "alice");
    this.answer(login, "ack", { username: "alice", server_id: serverId, epoch });
    const servers = [1, 2, 3].map((number) => ({
      server_id: `server${number}`,
      host: "localhost",
      tcp_port: 7999 + number,
      alive: true,
      is_leader: number === 3,
    }));
    this.answer(this.take("server_list")[0], "server_list", { servers, leader_id: "server3", term: 1 });
  }

  /** Takes the first join, or that of a room. @param {string} [room] */
  takeJoin(room) {
    const joins = this.take("create_join");
    const join = room ? joins.find((other) => other.data.room === room) : joins[0];
    assert(join, "no join was written");
    this.written.push(...joins.filter((other) => other !== join));
    return join;
  }

  /** @param {Data} data @param {string} [room] */
  answerJoin(data, room) {
    const join = this.takeJoin(room);
    this.answer(join, "ack", { room: join.data.room, role: "member", topic: "", more: false, ...data });
    return join;
  }

  /** @param {string} type @returns {any[]} */
  updates(type) {
    return this.told.filter((update) => update.type === type);
  }
}

/** @param {Rig} rig @param {Data} step @param {string} place */
function play(rig, step, place) {
  if (step.send) {
    const id = `run-${rig.nextId++}`;
    rig.ids.set(step.send, id);
    rig.input({
      type: "send",
      message: { client_msg_id: id, room: step.room ?? "lobby", body: step.send, reply_to: step.reply_to },
    });
  } else if (step.chats) {
    const chats = rig.take("chat");
    assertEquals(chats.map((chat) => chat.data.body), step.chats, place);
    for (const chat of chats) {
      assertEquals(chat.data.client_msg_id, rig.ids.get(chat.data.body), place);
      assertEquals(chat.data.reply_to ?? null, step.reply_to ?? null, place);
      assertEquals([chat.data.room, chat.data.room_id], [step.room ?? "lobby", step.room_id], place);
      rig.requests.set(chat.data.body, chat);
    }
  } else if (step.ack) {
    const request = /** @type {Data} */ (rig.requests.get(step.ack));
    rig.answer(request, "ack", { ...request.data, seq: step.seq, duplicate: false });
  } else if (step.nack) {
    const request = /** @type {Data} */ (rig.requests.get(step.nack));
    const { code, retry_after_ms } = step;
    rig.answer(request, "nack", { code, reason: "because", retryable: false, retry_after_ms });
  } else if (step.later_ms) {
    rig.nowMs += step.later_ms;
    rig.input({ type: "timeout" });
  } else if (step.lost) {
    rig.input({ type: "disconnected", reason: "reset" });
  } else if (step.connecting) {
    assert(rig.connecting && step.connecting.includes(rig.connecting.port), place);
  } else if (step.log_in) {
    rig.logIn(step.log_in, step.epoch);
  } else if (step.answer_join) {
    const { room, room_id, last_seq } = step;
    const events = step.answer_join.map((/** @type {number} */ seq) => event(seq, room));
    const join = rig.answerJoin({ last_seq, events, room_id, ...(room ? { room } : {}) }, step.of);
    assertEquals(join.data.after ?? null, step.after ?? null, place);
    assertEquals(join.data.room_id, step.asks_for, place);
  } else if (step.refuse_join) {
    const join = rig.takeJoin();
    assertEquals(join.data.room_id, step.asks_for, place);
    rig.answer(join, "nack", { code: step.refuse_join, reason: "because", retryable: false });
  } else if (step.want) {
    rig.input({ type: "want", room: step.want, cursor: null });
  } else if (step.renamed) {
    const renamed = rig.updates("renamed").map((update) => [update.renamed.from, update.renamed.to]);
    assertEquals(renamed, step.renamed, place);
  } else if (step.push) {
    rig.receive({
      msg_type: "chat",
      sender_id: "bob",
      data: event(step.push, step.room),
      lamport_timestamp: 100,
    });
  } else if (step.shown) {
    assertEquals(rig.updates("event").map((update) => update.event.seq), step.shown, place);
    rig.told = rig.told.filter((update) => update.type !== "event");
  } else if (step.acked) {
    assertEquals(rig.updates("acked").map((update) => update.message.body), step.acked, place);
  } else if (step.refused) {
    assertEquals(rig.updates("refused").map((update) => update.message.body), step.refused, place);
  } else if (step.restored !== undefined) {
    assertEquals(rig.updates("restored").length, step.restored, place);
  } else if (step.kept_epoch !== undefined) {
    assertEquals(rig.updates("epoch").at(-1)?.epoch, step.kept_epoch, place);
  } else if (step.waiting !== undefined) {
    assertEquals(rig.state.outbox.size, step.waiting, place);
  } else if (step.disconnects !== undefined) {
    assertEquals(rig.disconnects, step.disconnects, place);
  } else throw new Error(`unknown ${place}`);
}

for (const entry of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name.localeCompare(b.name))) {
  const script = JSON.parse(Deno.readTextFileSync(new URL(entry.name, FOLDER)));
  Deno.test(`client: ${script.name}`, () => {
    const rig = new Rig(script.last_seq ?? null, script);
    script.steps.forEach((/** @type {Data} */ step, /** @type {number} */ at) =>
      play(rig, step, `step ${at + 1}: ${JSON.stringify(step)}`)
    );
  });
}

Deno.test("a silent server is left, and an idle one is pinged", () => {
  const rig = new Rig(0);
  const next = () => {
    rig.nowMs = Math.max(rig.nowMs, rig.state.nextTimeoutMs());
    rig.input({ type: "timeout" });
  };
  next();
  const [ping] = rig.take("ping");
  rig.answer(ping, "pong", {});
  assertEquals(rig.disconnects, 0);
  rig.input({ type: "send", message: { client_msg_id: "a", room: "lobby", body: "x" } });
  const sentMs = rig.nowMs;
  while (rig.disconnects === 0) next();
  assert(rig.nowMs - sentMs < 3_000);
  assert(rig.connecting, "the next one at once");
});

Deno.test("when no server answers the user is told once and the pauses grow", () => {
  const rig = new Rig(0);
  rig.input({ type: "disconnected", reason: "reset" });
  const sinceMs = rig.nowMs;
  let attempts = 0;
  while (rig.nowMs < sinceMs + 60_000) {
    if (rig.connecting) {
      attempts++;
      rig.connecting = null;
      rig.input({ type: "connectFailed", reason: "refused" });
    } else {
      rig.nowMs = Math.max(rig.nowMs, rig.state.nextTimeoutMs());
      rig.input({ type: "timeout" });
    }
  }
  assert(attempts >= 20 && attempts < 60, `${attempts}`);
  assertEquals(rig.updates("down").length, 1);
});

Deno.test("a question is asked again on the next server; a change that may not be repeated is told as unknown", () => {
  const rig = new Rig(0);
  rig.input({ type: "ask", tag: 1, msgType: "rooms", data: {}, again: true });
  rig.input({ type: "ask", tag: 2, msgType: "create_bot", data: {}, again: false });
  assertEquals([rig.take("rooms").length, rig.take("create_bot").length], [1, 1]);
  rig.input({ type: "disconnected", reason: "reset" });
  assertEquals(rig.updates("askRefused").map((update) => update.tag), [2]);
  rig.logIn("server2");
  rig.answer(rig.take("rooms")[0], "rooms", { rooms: [] });
  assertEquals(rig.updates("answered").map((update) => update.tag), [1]);
});

Deno.test("a refused login is the end until one logs in anew", () => {
  const rig = new Rig(null);
  rig.connecting = null;
  rig.input({ type: "connected" });
  rig.answer(rig.take("login")[0], "nack", { code: "bad_credentials", reason: "no", retryable: false });
  assertEquals(rig.updates("loginNeeded").length, 1);
  assertEquals(rig.state.nextTimeoutMs(), Infinity);
});

Deno.test("a direct conversation is addressed to the person", () => {
  const rig = new Rig(0);
  rig.input({ type: "send", message: { client_msg_id: "d", room: "@alice,bob", body: "psst" } });
  const [chat] = rig.take("chat");
  assertEquals([chat.data.to, chat.data.room ?? null], ["bob", null]);
});

Deno.test("a place that an earlier run has kept is worth nothing after a restore", () => {
  const rig = new Rig(null, { epoch: 1, cursor: 40 });
  rig.input({ type: "ask", tag: 1, msgType: "delete", data: { room: "lobby", seq: 40 }, again: true });
  rig.input({ type: "ask", tag: 2, msgType: "topic", data: { room: "lobby", topic: "tea" }, again: false });
  rig.logIn("server1", 2);
  assertEquals(rig.updates("restored").length, 1);
  assertEquals(rig.updates("askRefused").map((update) => [update.tag, update.refusal.code]), [[
    1,
    "not_found",
  ]]);
  assertEquals(rig.take("topic").length, 1);
  assertEquals(rig.answerJoin({ last_seq: 60, events: [] }).data.after, undefined);
});

Deno.test("a server that tells of a restore only in its list is believed, too", () => {
  const rig = new Rig(40);
  const list = { servers: [], leader_id: "server3", term: 1 };
  rig.receive({ msg_type: "server_list", data: { ...list, epoch: 1 } });
  rig.receive({ msg_type: "server_list", data: { ...list, epoch: 1 } });
  assertEquals(rig.updates("restored").length, 0);
  rig.receive({ msg_type: "server_list", data: { ...list, epoch: 2 } });
  assertEquals(rig.updates("restored").length, 1);
  assertEquals(rig.answerJoin({ last_seq: 3, events: [] }).data.after, undefined);
});
