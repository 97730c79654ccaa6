// The client's logic without input or output: outbox, failover and resume, decided from data alone, after
// src/client/state.rs.
//
// Three words are its contract. Input: tell it what happened, with the time (`handle`). Output: carry out
// what it wants, in order, until `pollOutput` gives null. Timeout: if nothing happens until `nextTimeoutMs`,
// give it `{type: "timeout"}`. There is no socket, clock, timer or random number in here, so tests can play
// any failure.
//
// It promises: every message given to it is sent, in order, until a server acknowledges or finally refuses
// it, always under the same id. Of each followed room events come in the order of `seq`, each once, without a
// gap. A server that is gone, silent or without a majority is left for the next one at once, then with
// growing pauses.
import { Directory, Jitter } from "./directory.js";
import * as limits from "./limits.js";
import { Link } from "./link.js";
import { keyOf, partner, renamedTo } from "./names.js";
import { Outbox } from "./outbox.js";
import { place, Rooms } from "./rooms.js";

/**
 * @typedef {import("./directory.js").Address} Address
 * @typedef {import("./outbox.js").Message} Message
 * @typedef {Record<string, any>} Data
 * @typedef {{code: string, reason: string, retryable?: boolean, retry_after_ms?: number}} Refusal
 * @typedef {{username: string, password?: string, token?: string|null, register?: boolean}} Login
 *
 * @typedef {{type: "connected"} | {type: "connectFailed", reason: string} | {type: "received", text: string}
 *   | {type: "disconnected", reason: string} | {type: "timeout"} | {type: "send", message: Message}
 *   | {type: "want", room: string, id?: number|null, cursor: number|null, extra?: Data} | {type: "renamed", id: number, name: string} | {type: "unwant", room: string}
 *   | {type: "ask", tag: number, msgType: string, data: Data, again: boolean, slow?: boolean}
 *   | {type: "cancel", tag: number} | {type: "tell", msgType: string, data: Data} | {type: "hurry"}} Input
 *
 * @typedef {{type: "connecting"} | {type: "up", serverId: string} | {type: "down", reason: string}
 *   | {type: "majority", has: boolean}
 *   | {type: "loggedIn", username: string, token: string|null, account: boolean, administrator: boolean}
 *   | {type: "loginNeeded", refusal: Refusal} | {type: "servers", list: Data}
 *   | {type: "joined", room: string, data: Data, resumed: boolean} | {type: "renamed", id: number|null, renamed: import("./rooms.js").Renamed} | {type: "roomRefused", room: string, refusal: Refusal}
 *   | {type: "epoch", epoch: number} | {type: "restored"} | {type: "event", event: Data, live: boolean} | {type: "news", event: Data}
 *   | {type: "acked", message: Message, seq: number, room: string} | {type: "refused", message: Message, refusal: Refusal}
 *   | {type: "answered", tag: number, data: Data} | {type: "askRefused", tag: number, refusal: Refusal}
 *   | {type: "push", msgType: string, data: Data}} Update
 *
 * @typedef {{type: "connect", address: Address} | {type: "disconnect"} | {type: "write", text: string}
 *   | {type: "update", update: Update}} Output
 *
 * @typedef {{name: "waiting", untilMs: number, target: Address|null}
 *   | {name: "connecting", address: Address, untilMs: number} | {name: "linked", link: Link}
 *   | {name: "loggedOut"}} Phase
 */

/** What servers answer without a majority. */
const READS = new Set([
  "history",
  "search",
  "rooms",
  "members",
  "pins",
  "hooks",
  "server_list",
  "status_request",
]);

/** Refusals that pass. A code that is not known is taken by what it says of itself. */
const RETRYABLE = new Set(["rate_limited", "overloaded", "unavailable"]);

/** The outcome of a change whose connection was lost before the answer. @type {Refusal} */
const UNKNOWN = { code: "unavailable", reason: "The connection was lost; look whether it has happened." };

/** What was asked about a message before a restore of the cluster. @type {Refusal} */
const RESTORED = {
  code: "not_found",
  reason: "The servers were restored from a backup; look which message it is now.",
};

export class ClientState {
  /**
   * @param {{login: Login, servers: {id: string|null, address: Address}[], pageHost: string, seed: number,
   *   history?: number, epoch?: number}} config `epoch`: what `update.epoch` told an earlier run
   */
  constructor(config) {
    this.login = config.login;
    this.history = config.history ?? limits.HISTORY;
    this.nowMs = 0;
    /** @type {Phase} */
    this.phase = { name: "waiting", untilMs: 0, target: null };
    this.directory = new Directory(config.servers, config.seed, config.pageHost);
    this.jitter = new Jitter(~config.seed);
    this.rooms = new Rooms();
    this.outbox = new Outbox();
    /** @type {Map<number, {msgType: string, data: Data, again: boolean, slow: boolean, asked: boolean}>} */
    this.asks = new Map();
    this.lamport = 0;
    /** The life of the cluster's data that the cursors belong to; 0 before a server has told. */
    this.epoch = config.epoch ?? 0;
    this.nextRequestId = 1;
    this.holdUntilMs = 0;
    this.loadRefusals = 0;
    this.silences = 0;
    this.redirects = 0;
    this.noMajority = false;
    /** @type {{searchingMs: number, told: boolean, reason: string}|null} The time without a server. */
    this.down = { searchingMs: 0, told: false, reason: "none was tried yet" };
    /** @type {Output[]} */
    this.outputs = [];
  }

  /**
   * @param {number} nowMs a clock that never goes back
   * @param {Input} input
   */
  handle(nowMs, input) {
    this.nowMs = Math.max(this.nowMs, nowMs);
    switch (input.type) {
      case "connected":
        this.#connected();
        break;
      case "connectFailed":
        this.#connectFailed(input.reason);
        break;
      case "received":
        this.#received(input.text);
        break;
      case "disconnected":
        this.#unlink(input.reason);
        break;
      case "send":
        if (!this.outbox.has(input.message.client_msg_id)) {
          this.outbox.push({
            ...input.message,
            room_id: input.message.room_id ?? this.#idOf(input.message.room),
          });
        }
        break;
      case "want":
        this.rooms.want(input.room, input.cursor, input.extra ?? {}, input.id ?? null);
        break;
      case "renamed": {
        const room = this.rooms.byId(input.id);
        if (room) this.#rename(room, input.name);
        break;
      }
      case "unwant":
        this.rooms.drop(input.room);
        break;
      case "ask":
        this.asks.set(input.tag, {
          ...input,
          data: this.#withId(input.data),
          slow: input.slow ?? false,
          asked: false,
        });
        break;
      case "cancel":
        this.asks.delete(input.tag);
        break;
      case "tell":
        if (this.isOnline()) this.#write(input.msgType, this.#withId(input.data), null);
        break;
      case "hurry":
        if (this.phase.name === "waiting") this.phase.untilMs = this.nowMs;
        break;
      case "timeout":
        break;
    }
    this.#lookAtTheClock();
    this.#askWhatMayBeAsked();
  }

  /** @returns {Output|null} */
  pollOutput() {
    return this.outputs.shift() ?? null;
  }

  /** When `timeout` is due if nothing else happens before; Infinity: never. */
  nextTimeoutMs() {
    if (this.phase.name === "loggedOut") return Infinity;
    const phaseMs = this.phase.name === "linked"
      ? this.phase.link.nextTimeoutMs(this.#replyMs())
      : this.phase.untilMs;
    const holdMs = this.holdUntilMs > this.nowMs ? this.holdUntilMs : Infinity;
    return Math.min(phaseMs, holdMs, this.#downNoticeMs());
  }

  isOnline() {
    return this.phase.name === "linked" && this.phase.link.serverId !== null;
  }

  // --- the search for a server
  // -------------------------------------------------------------------------------

  #lookAtTheClock() {
    const phase = this.phase;
    if (phase.name === "waiting" && this.nowMs >= phase.untilMs) {
      this.#attempt();
    } else if (phase.name === "connecting" && this.nowMs >= phase.untilMs) {
      this.outputs.push({ type: "disconnect" });
      this.#connectFailed("it does not answer");
    } else if (phase.name === "linked") {
      const health = phase.link.health(this.nowMs, this.#replyMs());
      if (health === "ask") this.#write("ping", {}, { kind: "ping" });
      if (health === "silent") {
        this.silences += 1;
        this.#leave("it fell silent");
      }
      if (health === "overdue") this.#leave("it owes an answer for too long");
    }
    // The first attempt after a loss does not wait.
    if (this.phase.name === "waiting" && this.nowMs >= this.phase.untilMs) this.#attempt();
    if (this.down && !this.down.told && this.nowMs >= this.#downNoticeMs()) {
      this.down.told = true;
      this.#tell({ type: "down", reason: this.down.reason });
    }
  }

  #attempt() {
    const target = this.phase.name === "waiting" ? this.phase.target : null;
    const address = target ?? this.directory.choose();
    if (!address) {
      this.phase = { name: "waiting", untilMs: this.nowMs + limits.BACK_OFF_MAX_MS, target: null };
      return;
    }
    this.outputs.push({ type: "connect", address });
    this.phase = { name: "connecting", address, untilMs: this.nowMs + limits.CONNECT_MS };
  }

  #search() {
    this.phase = { name: "waiting", untilMs: this.nowMs + this.directory.pauseMs(), target: null };
  }

  #connected() {
    if (this.phase.name !== "connecting") return;
    this.phase = { name: "linked", link: new Link(this.phase.address, this.nowMs) };
    const { username, password, token, register } = this.login;
    const slow = Boolean(password);
    if (register) this.#write("register", { username, password }, { kind: "login" }, slow);
    else if (token) this.#write("login", { token }, { kind: "login" });
    else if (password) this.#write("login", { username, password }, { kind: "login" }, slow);
    else this.#write("login", { username }, { kind: "login" });
  }

  /** @param {string} reason */
  #connectFailed(reason) {
    if (this.phase.name !== "connecting") return;
    const { host, port } = this.phase.address;
    if (this.down && !this.noMajority) this.down.reason = `${host}:${port}: ${reason}`;
    this.#search();
  }

  /** @param {string} reason */
  #leave(reason) {
    this.outputs.push({ type: "disconnect" });
    this.#unlink(reason);
  }

  /** The connection is gone. @param {string} reason */
  #unlink(reason) {
    if (this.phase.name !== "linked") return this.#connectFailed(reason);
    const { link } = this.phase;
    if (this.nowMs - link.upMs >= limits.STABLE_MS && !link.settled) {
      this.directory.works(link.address);
      this.redirects = 0;
    }
    const why = `${link.serverId ?? link.address.host}: ${reason}`;
    if (this.down) this.down.reason = why;
    else {
      this.down = { searchingMs: this.nowMs, told: false, reason: why };
      this.#tell({ type: "connecting" });
    }
    this.#forgetConnection();
    this.#search();
  }

  #forgetConnection() {
    this.outbox.connectionLost();
    this.rooms.connectionLost();
    for (const [tag, ask] of [...this.asks]) {
      if (!ask.asked) continue;
      if (ask.again) ask.asked = false;
      else this.#refuseAsk(tag, UNKNOWN);
    }
  }

  /** @param {Data} data */
  #redirected(data) {
    if (this.phase.name !== "linked") return;
    const { link } = this.phase;
    const target = this.directory.addressOf(data.server_id);
    this.redirects += 1;
    this.#leave(data.reason || "it sends its clients elsewhere");
    if (target && target !== link.address && this.redirects <= limits.REDIRECTS_MAX) {
      this.phase = { name: "waiting", untilMs: this.nowMs, target };
    }
  }

  #replyMs() {
    return limits.REPLY_MS * 2 ** Math.min(this.silences, 3);
  }

  #downNoticeMs() {
    if (!this.down || this.down.told || this.phase.name === "loggedOut") return Infinity;
    if (this.phase.name === "linked" && this.phase.link.isBusy()) return Infinity;
    return this.down.searchingMs + limits.DOWN_NOTICE_MS;
  }

  /** A server sheds load: nothing is asked for a while. @param {Refusal} refusal */
  #hold(refusal) {
    if (this.holdUntilMs > this.nowMs) return; // Part of the same wave of refusals.
    const doubledMs = limits.LOAD_PAUSE_MS * 2 ** Math.min(this.loadRefusals, 5);
    this.loadRefusals += 1;
    const wantedMs = refusal.retry_after_ms ?? doubledMs;
    const pauseMs = Math.min(limits.LOAD_PAUSE_MAX_MS, Math.max(limits.LOAD_PAUSE_MIN_MS, wantedMs));
    this.holdUntilMs = this.nowMs + pauseMs + this.jitter.below(pauseMs / 4 + 1);
  }

  /** Something that needs a majority has succeeded. */
  #settle() {
    if (this.phase.name !== "linked") return;
    const { link } = this.phase;
    this.silences = 0;
    this.loadRefusals = 0;
    this.redirects = 0;
    if (!link.settled) {
      link.settled = true;
      this.directory.works(link.address);
    }
    if (this.noMajority) {
      this.noMajority = false;
      this.#tell({ type: "majority", has: true });
      this.#tellUp();
    }
  }

  #tellUp() {
    if (this.phase.name !== "linked" || this.phase.link.serverId === null) return;
    this.down = null;
    this.#tell({ type: "up", serverId: this.phase.link.serverId });
  }

  // --- what servers say
  // --------------------------------------------------------------------------------------

  /** @param {string} text */
  #received(text) {
    if (this.phase.name !== "linked") return;
    const { link } = this.phase;
    link.heard(this.nowMs);
    let envelope;
    try {
      envelope = JSON.parse(text);
    } catch {
      return;
    }
    const data = envelope.data ?? {};
    this.lamport = Math.max(this.lamport, envelope.lamport_timestamp ?? 0);
    const { msg_type: msgType, request_id: requestId } = envelope;
    if (msgType === "chat" || msgType === "room_event") return this.#arrived(data, true);
    if (msgType === "redirect") return this.#redirected(data);
    // A changed password has ended the token that this connection logged in by.
    if (data.for === "change_password" && data.token) this.login.token = data.token;
    const about = typeof requestId === "number" ? link.answered(requestId) : null;
    if (about) {
      if (msgType === "nack") this.#refused(requestId, about, data);
      else this.#answered(requestId, about, data);
    } else if (msgType === "server_list") {
      this.#listed(data);
    } else if (msgType === "session_ended") {
      const why = data.reason ? `: ${data.reason}` : "";
      this.#logOut({ code: "not_authenticated", reason: `The session has ended${why}` });
    } else if (msgType === "room_deleted") {
      // Another room may have had the name before, or have it now.
      const known = this.#idOf(data.room) ?? data.room_id;
      if (known === (data.room_id ?? known)) {
        this.#roomRefused(data.room, { code: "not_found", reason: `${data.by} deleted the room.` });
      }
    } else if (requestId === undefined || requestId === null) {
      this.#tell({ type: "push", msgType, data });
    }
  }

  /**
   * @param {number} requestId
   * @param {import("./link.js").Pending} about
   * @param {Data} data
   */
  #answered(requestId, about, data) {
    switch (about.kind) {
      case "login":
        this.#loginAcked(data);
        break;
      case "directory":
        this.#listed(data);
        break;
      case "join":
        this.#joined(about.room, data);
        break;
      case "chat": {
        this.#settle();
        const message = this.outbox.answered(requestId);
        if (message) this.#tell({ type: "acked", message, seq: data.seq, room: data.room });
        break;
      }
      case "ask": {
        const ask = this.asks.get(about.tag);
        if (!ask) break;
        this.asks.delete(about.tag);
        if (!READS.has(ask.msgType)) this.#settle();
        this.#tell({ type: "answered", tag: about.tag, data });
        break;
      }
    }
  }

  /**
   * @param {number} requestId
   * @param {import("./link.js").Pending} about
   * @param {Data} data
   */
  #refused(requestId, about, data) {
    /** @type {Refusal} */
    const refusal = {
      code: data.code ?? "bad_request",
      reason: data.reason ?? "",
      retryable: RETRYABLE.has(data.code) || Boolean(data.retryable),
      retry_after_ms: data.retry_after_ms,
    };
    if (refusal.code === "unavailable") {
      if (!this.noMajority) {
        this.noMajority = true;
        this.#tell({ type: "majority", has: false });
      }
      return this.#leave("it has no majority");
    }
    if (about.kind === "login") {
      if (!refusal.retryable) return this.#logOut(refusal);
      this.#hold(refusal);
      this.#leave("it refuses logins at the moment");
      if (this.phase.name === "waiting") {
        this.phase.untilMs = Math.max(this.phase.untilMs, this.holdUntilMs);
      }
      return;
    }
    if (refusal.code === "not_authenticated") {
      if (about.kind === "ask") this.#refuseAsk(about.tag, refusal);
      return this.#logOut(refusal);
    }
    const forLoad = refusal.retryable;
    if (forLoad) this.#hold(refusal);
    switch (about.kind) {
      case "join": {
        const { room } = about;
        if (!this.#follows(room)) break;
        if (forLoad) room.phase = "absent";
        else this.#roomRefused(room.name, refusal);
        break;
      }
      case "chat":
        if (forLoad) this.outbox.refusedForLoad(requestId);
        else {
          const message = this.outbox.answered(requestId);
          if (message) this.#tell({ type: "refused", message, refusal });
        }
        break;
      case "ask": {
        const ask = this.asks.get(about.tag);
        if (forLoad && ask) ask.asked = false;
        else this.#refuseAsk(about.tag, refusal);
        break;
      }
    }
  }

  /** @param {Data} data */
  #loginAcked(data) {
    if (this.phase.name !== "linked") return;
    if (this.login.register) {
      // The name is registered; the login itself comes next.
      this.login = { username: this.login.username, password: this.login.password };
      const { username, password } = this.login;
      this.#write("login", { username, password }, { kind: "login" }, true);
      return;
    }
    const { link } = this.phase;
    link.serverId = data.server_id;
    this.directory.identify(link.address, data.server_id);
    // The password is not kept: from here on the token logs in.
    this.login = { username: data.username, token: data.token ?? this.login.token ?? null };
    this.#tell({
      type: "loggedIn",
      username: data.username,
      token: this.login.token ?? null,
      account: Boolean(data.account),
      administrator: Boolean(data.administrator),
    });
    this.#liveIn(data.epoch ?? 0);
    if (!this.noMajority) this.#tellUp();
    this.#write("server_list", {}, { kind: "directory" });
  }

  /** @param {Refusal} refusal */
  #logOut(refusal) {
    if (this.phase.name === "linked") this.outputs.push({ type: "disconnect" });
    this.#forgetConnection();
    this.phase = { name: "loggedOut" };
    this.#tell({ type: "loginNeeded", refusal });
  }

  /** @param {Data} list */
  #listed(list) {
    if (this.phase.name !== "linked") return;
    const { address, tookMs } = this.phase.link;
    this.directory.learn(list.servers ?? [], address);
    this.directory.answersIn(address, tookMs);
    this.#tell({ type: "servers", list });
    this.#liveIn(list.epoch ?? 0);
  }

  /**
   * The cluster's data is in the life `epoch`. If it was in another one before, as after a restore from a
   * backup, a known place may now be another message's, so none of them is used again.
   * @param {number} epoch 0 if the server does not tell
   */
  #liveIn(epoch) {
    if (epoch === 0 || epoch === this.epoch) return;
    const isRestored = this.epoch !== 0;
    this.epoch = epoch;
    this.#tell({ type: "epoch", epoch });
    if (!isRestored) return;
    this.rooms.beginAfresh();
    this.outbox.forgetPlaces();
    for (const [tag, ask] of [...this.asks]) {
      if (!ask.asked && ask.data.seq !== undefined) this.#refuseAsk(tag, RESTORED);
    }
    this.#tell({ type: "restored" });
  }

  // --- rooms
  // -------------------------------------------------------------------------------------------------

  /** The number of the room of this name, if it is known. @param {string} room */
  #idOf(room) {
    return this.rooms.get(room)?.id ?? undefined;
  }

  /** The fields of a request, with the number of the room that they name. @param {Data} data */
  #withId(data) {
    const id = typeof data.room === "string" ? this.#idOf(data.room) : undefined;
    return id === undefined ? data : { room_id: id, ...data };
  }

  /** Whether the room is still followed. @param {import("./rooms.js").Room} room */
  #follows(room) {
    return this.rooms.get(room.name) === room;
  }

  /**
   * The room is called so from now on, if it was not.
   * @param {import("./rooms.js").Room} room
   * @param {string} name
   */
  #rename(room, name) {
    const renamed = this.rooms.rename(room, name);
    if (!renamed) return;
    this.outbox.rename(renamed);
    for (const ask of this.asks.values()) {
      const now = typeof ask.data.room === "string" ? renamedTo(renamed, ask.data.room) : null;
      if (now !== null) ask.data = { ...ask.data, room: now };
    }
    this.#tell({ type: "renamed", id: room.id, renamed });
  }

  /**
   * @param {import("./rooms.js").Room} room
   * @param {Data} data
   */
  #joined(room, data) {
    if (!this.#follows(room)) return;
    const resumed = room.cursor !== null;
    this.#rename(room, data.room);
    if (data.room_id !== undefined) {
      room.id = data.room_id;
      this.outbox.number(room.name, data.room_id);
    }
    if (room.cursor !== null && data.last_seq < room.cursor) {
      // The room has begun anew, as after a restore: what is shown of it is no longer valid.
      room.cursor = null;
      room.phase = "absent";
      return;
    }
    if (room.cursor !== null) room.cursor = Math.max(room.cursor, (data.first_seq ?? 1) - 1);
    room.phase = "live";
    room.namedAt = data.last_seq;
    room.extra = {};
    const { events, ...rest } = data;
    this.#tell({ type: "joined", room: data.room, data: rest, resumed });
    if (!resumed && !events.length) room.cursor = data.last_seq;
    for (const event of events) this.#arrived({ room: data.room, ...event }, resumed);
    // There was nothing but joins to do, so their success ends the search.
    const allLive = [...this.rooms.all.values()].every((other) => other.phase === "live");
    if (allLive && this.outbox.size === 0 && this.asks.size === 0) this.#settle();
  }

  /**
   * An event of a room, pushed or in the answer to a join.
   * @param {Data} event
   * @param {boolean} live
   */
  #arrived(event, live) {
    const room = this.rooms.get(event.room);
    if (!room) return this.#tell({ type: "news", event });
    // Before the answer to the join it is not known what the event follows; the answer will have it.
    if (room.phase !== "live") return;
    const fit = place(room, event.seq);
    if (fit === "next") {
      room.gaps = 0;
      this.#tell({ type: "event", event, live });
      if (event.kind === "renamed" && event.seq > room.namedAt) this.#rename(room, event.name);
      const sentAway = (event.kind === "kicked" || event.kind === "banned") &&
        keyOf(event.username) === keyOf(this.login.username);
      if (live && sentAway) {
        this.#roomRefused(room.name, { code: "forbidden", reason: "You were sent out of the room." });
      }
    } else if (fit === "gap") {
      room.gaps += 1;
      if (room.gaps > limits.GAPS_MAX) return this.#leave("it leaves events out");
      room.phase = "absent";
    }
  }

  /**
   * @param {string} name
   * @param {Refusal} refusal
   */
  #roomRefused(name, refusal) {
    const id = this.#idOf(name);
    this.rooms.drop(name);
    this.#tell({ type: "roomRefused", room: name, refusal });
    const goes = (/** @type {Message} */ other) =>
      keyOf(other.room) === keyOf(name) && (id ?? other.room_id) === (other.room_id ?? id);
    for (const message of this.outbox.take(goes)) {
      this.#tell({ type: "refused", message, refusal });
    }
  }

  // --- what is asked
  // -----------------------------------------------------------------------------------------

  #askWhatMayBeAsked() {
    if (!this.isOnline() || this.holdUntilMs > this.nowMs) return;
    for (const room of this.rooms.all.values()) {
      if (room.phase !== "absent") continue;
      room.phase = "joining";
      const from = room.cursor === null ? { history: this.history } : { after: room.cursor };
      const named = room.id === null ? { room: room.name } : { room: room.name, room_id: room.id };
      this.#write("create_join", { ...named, ...from, ...room.extra }, { kind: "join", room });
    }
    for (const [tag, ask] of this.asks) {
      if (ask.asked) continue;
      ask.asked = true;
      this.#write(ask.msgType, ask.data, { kind: "ask", tag }, ask.slow);
    }
    for (;;) {
      const next = this.outbox.nextToSend();
      if (!next) break;
      const room = this.rooms.get(next.message.room);
      if (room && room.phase !== "live") break;
      this.outbox.sent(this.nextRequestId);
      this.#write("chat", this.#chat(next.message, next.before), { kind: "chat" });
    }
  }

  /**
   * @param {Message} message
   * @param {Message|null} before
   */
  #chat(message, before) {
    /** @type {Data} */
    const data = { body: message.body, client_msg_id: message.client_msg_id };
    const to = partner(message.room, this.login.username);
    if (to === null) data.room = message.room;
    else data.to = to;
    if (to === null && message.room_id !== undefined) data.room_id = message.room_id;
    if (message.reply_to) data.reply_to = message.reply_to;
    if (message.file_id) data.file_id = message.file_id;
    if (before) data.follows = before.client_msg_id;
    return data;
  }

  /**
   * @param {number} tag
   * @param {Refusal} refusal
   */
  #refuseAsk(tag, refusal) {
    if (this.asks.delete(tag)) this.#tell({ type: "askRefused", tag, refusal });
  }

  /**
   * @param {string} msgType
   * @param {Data} data
   * @param {import("./link.js").Pending|null} about
   */
  #write(msgType, data, about, slow = false) {
    this.lamport += 1;
    /** @type {Data} */
    const envelope = { msg_type: msgType, data, lamport_timestamp: this.lamport };
    if (about && this.phase.name === "linked") {
      envelope.request_id = this.nextRequestId++;
      this.phase.link.asked(envelope.request_id, about, this.nowMs, slow);
    }
    this.outputs.push({ type: "write", text: JSON.stringify(envelope) });
  }

  /** @param {Update} update */
  #tell(update) {
    this.outputs.push({ type: "update", update });
  }
}
