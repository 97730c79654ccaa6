// Everything the page knows and does, without any DOM: the layer between the connection, the outbox and what
// is shown.
import { HISTORY } from "../core/limits.js";
import { directRoom, keyOf, moveKept, partner, renamedTo } from "../core/names.js";
import { SharedOutbox } from "../io/outbox.js";
import { Wire } from "../io/wire.js";
import { GROUPS } from "./mentions.js";
import { may, outranks } from "./rights.js";
import { sentence } from "./text.js";
import { KEPT, Timeline } from "./timeline.js";

/**
 * @typedef {object} RoomInfo
 * @property {string} name
 * @property {number|null} id the number of the room, which stays the same whatever it is called
 * @property {boolean} isPrivate
 * @property {string} topic
 * @property {number} memberCount
 * @property {number} lastSeq
 * @property {boolean} joined
 * @property {boolean} invited
 * @property {number} lastRead
 * @property {number} unread messages that are not read
 * @property {number} mentions
 * @property {string} role
 * @property {boolean} archived
 *
 * @typedef {{username: string, role: string, online: boolean, away?: boolean, bot?: boolean, created_by?: string}} Member
 * @typedef {{room: string, body: string, replyTo?: number, file?: File}} Outgoing
 * @typedef {"session"|"rooms"|"room"|"timeline"|"members"|"status"|"pending"|"typing"|"notice"|"message"|"restored"|"renamed"
 *   |"connected"} Topic
 * @typedef {Record<string, any>} Data
 */

/** Rooms whose events are followed and kept at the same time. */
const TIMELINES = 12;
/** The least time between two reports of what was read. */
const READ_PAUSE_MS = 1_500;
/** How long a user is shown to type after the last sign of it. */
const TYPING_MS = 6_000;
/** Servers pass on one sign of it in a second. */
const TYPING_PAUSE_MS = 1_100;
/** After so long without a connection no server counts as reachable; pauses between attempts are shorter. */
const CUT_MS = 5_000;
/** How many events one step of scrolling loads. */
const PAGE = 100;
/** How far behind a kept room is resumed; further, its newest events are asked for. */
const RESUMED = 400;
/** Events of a room that are kept for a start without a server. */
const KEPT_EVENTS = 120;

export class Chat {
  /**
   * @param {{login: import("../core/client.js").Login, store: import("../io/store.js").Store,
   *   kept: {epoch: number, rooms: RoomInfo[]}|null,
   *   servers: {id: string|null, address: import("../core/directory.js").Address}[], pageHost: string}} config
   *   `kept`: what the store keeps as the list of rooms
   */
  constructor({ login, store, kept, servers, pageHost }) {
    this.me = login.username;
    this.hasAccount = Boolean(login.token);
    this.isAdministrator = false;
    this.store = store;
    /** @type {Map<string, RoomInfo>} */
    this.rooms = new Map();
    /** @type {Map<string, Timeline>} The most recently opened last. */
    this.timelines = new Map();
    /** @type {Map<string, Member[]>} */
    this.members = new Map();
    /** @type {Map<string, string>} */
    this.presence = new Map();
    /** @type {Map<string, Map<string, number>>} By room: who types, and until when that holds. */
    this.typing = new Map();
    /** @type {string|null} The name of the room that is open. */
    this.current = null;
    /** The first event that was not read when the open room was opened; 0 for none. */
    this.unreadFrom = 0;
    /** Whether the newest message of the open room is in view. */
    this.isAtBottom = true;
    this.status = {
      phase: "connecting",
      serverId: "",
      reason: "",
      majority: true,
      leader: true,
      upSince: 0,
      /** No server at all has been reached for some seconds. */
      isCut: false,
    };
    /** @type {Map<Topic, Set<(detail: any) => void>>} */
    this.listeners = new Map();
    /** @type {Map<string, number>} What was read and not told yet, by the room's key. */
    this.untold = new Map();
    /** When it was last told that the user types, and when it may be told again. */
    this.typedAt = 0;
    this.typesAgainAt = 0;
    /** @type {Map<string, ReturnType<typeof setTimeout>>} */
    this.timers = new Map();
    const seed = crypto.getRandomValues(new Uint32Array(1))[0];
    const epoch = kept?.epoch ?? 0;
    for (const info of kept?.rooms ?? []) this.rooms.set(keyOf(info.name), info);
    this.wire = new Wire(
      { login, servers, pageHost, seed, epoch },
      (update) => this.#update(update),
      (isOpen) => this.#socket(isOpen),
    );
    this.outbox = new SharedOutbox(store, login.username, this.wire, () => this.emit("pending"));
  }

  /** Looks for a server. */
  start() {
    this.wire.input({ type: "timeout" });
  }

  stop() {
    this.wire.close();
    this.outbox.close();
    for (const timer of this.timers.values()) clearTimeout(timer);
  }

  /** @param {Topic} topic @param {(detail: any) => void} listener */
  on(topic, listener) {
    const all = this.listeners.get(topic) ?? new Set();
    this.listeners.set(topic, all.add(listener));
  }

  /** @param {Topic} topic @param {any} [detail] */
  emit(topic, detail) {
    for (const listener of this.listeners.get(topic) ?? []) listener(detail);
  }

  /**
   * Asks a server; a refusal is shown, and gives null.
   * @param {string} msgType
   * @param {Data} data
   * @param {{again?: boolean, slow?: boolean}} [how]
   */
  async ask(msgType, data, how) {
    try {
      return await this.wire.ask(msgType, data, how);
    } catch (error) {
      this.emit("notice", { text: /** @type {Error} */ (error).message, isError: true });
      return null;
    }
  }

  // --- rooms
  // -------------------------------------------------------------------------------------------------

  /** @param {string} name */
  info(name) {
    return this.rooms.get(keyOf(name)) ?? null;
  }

  /**
   * What the page knows of the room of this name and number; another room may have had the name before.
   * @param {string} name
   * @param {number} [id]
   */
  #knownAs(name, id) {
    const known = this.info(name);
    return id === undefined || known?.id === null || known?.id === id ? known : null;
  }

  /**
   * Whether the page offers this in a room.
   * @param {RoomInfo|null} room
   * @param {import("./rights.js").Permission} permission
   */
  may(room, permission) {
    return may(room, permission, this.isAdministrator);
  }

  /** Whether the user stands above somebody of this role in a room. @param {RoomInfo|null} room @param {string} role */
  outranks(room, role) {
    return outranks(room, role, this.isAdministrator);
  }

  /** @param {string} name */
  timeline(name) {
    return this.timelines.get(keyOf(name)) ?? null;
  }

  /** Rooms first, then direct conversations, each by name. */
  listed() {
    const shown = [...this.rooms.values()].filter((info) => info.joined || info.invited);
    const title = (/** @type {RoomInfo} */ info) => partner(info.name, this.me) ?? info.name;
    const isDirect = (/** @type {RoomInfo} */ info) => info.name.startsWith("@");
    return shown.sort((a, b) =>
      Number(isDirect(a)) - Number(isDirect(b)) ||
      title(a).localeCompare(title(b), undefined, { sensitivity: "base" })
    );
  }

  /** The next room to look at: mentions first, then direct messages, then the others. */
  nextByPriority() {
    const rank = (/** @type {RoomInfo} */ info) => info.mentions ? 3 : info.name.startsWith("@") ? 2 : 1;
    const waiting = this.listed().filter((info) =>
      info.joined && info.unread > 0 && keyOf(info.name) !== keyOf(this.current ?? "")
    );
    return waiting.sort((a, b) => rank(b) - rank(a))[0] ?? null;
  }

  /** Whether there is something to read in a room that is not open. */
  hasNewsElsewhere() {
    const open = keyOf(this.current ?? "");
    return [...this.rooms].some(([key, info]) => key !== open && (info.unread > 0 || info.invited));
  }

  /**
   * Opens a room, and enters or creates it if the user is no member.
   * @param {string} name
   * @param {Data} [extra] `private`, `password`
   */
  async open(name, extra = {}) {
    const info = this.info(name);
    this.current = info?.name ?? name;
    this.unreadFrom = info && info.unread > 0 ? info.lastRead + 1 : 0;
    const key = keyOf(name);
    let timeline = this.timelines.get(key) ?? null;
    this.timelines.delete(key);
    const isNew = !timeline;
    timeline ??= new Timeline();
    this.timelines.set(key, timeline);
    this.#dropOldest();
    if (isNew) timeline.last = info?.lastSeq ?? 0;
    this.emit("room");
    const isThere = !name.startsWith("@") || info !== null;
    let now = name;
    if (isNew && isThere) {
      const kept = await this.#restore(name, timeline);
      // The room may be gone or have another name meanwhile, and another room its old one.
      const entry = [...this.timelines].find(([_, other]) => other === timeline);
      if (!entry) return;
      const known = this.info(entry[0]);
      if (entry[0] !== key) now = known?.name ?? entry[0];
      this.wire.input({ type: "want", room: now, id: known?.id ?? kept.id, cursor: kept.cursor, extra });
    }
    this.emit("timeline", now);
    // If another room was opened meanwhile, this one is still followed.
    if (this.unreadFrom > 0 && keyOf(this.current ?? "") === keyOf(now)) {
      await this.#showUnread(now, timeline);
    }
    if (isThere) this.loadMembers(now);
  }

  /** What was kept of the room, and from where it goes on. @param {string} name @param {Timeline} timeline */
  async #restore(name, timeline) {
    const info = this.info(name);
    const kept = await this.store.kept(this.me, keyOf(name)).catch(() => null);
    const [known, id] = [info?.id ?? null, kept?.id ?? null];
    // What was kept may be of another room, which had the name before.
    if (known !== null && id !== null && known !== id) return { cursor: null, id: known };
    if (!kept?.events?.length) return { cursor: null, id: known ?? id };
    const lastSeq = info?.lastSeq ?? 0;
    const last = kept.events[kept.events.length - 1].seq;
    const isFar = lastSeq - last > RESUMED || lastSeq < last;
    if (isFar && this.status.phase === "up") return { cursor: null, id };
    if (timeline.isEmpty) {
      timeline.restore(kept.events, kept.end);
      timeline.first = kept.first ?? 1;
      timeline.pins = kept.pins ?? [];
      this.emit("timeline", name);
    }
    return { cursor: kept.end, id };
  }

  /**
   * Makes the window begin before the first unread event, if that is far back.
   * @param {string} name
   * @param {Timeline} timeline
   */
  async #showUnread(name, timeline) {
    const behind = timeline.last - this.unreadFrom;
    const isInHand = !timeline.isEmpty && timeline.lo <= this.unreadFrom;
    if (isInHand || behind < HISTORY - 10) return;
    await this.showAround(name, this.unreadFrom);
  }

  #dropOldest() {
    for (const [key, _] of this.timelines) {
      if (this.timelines.size <= TIMELINES) break;
      if (key === keyOf(this.current ?? "")) continue;
      this.timelines.delete(key);
      this.wire.input({ type: "unwant", room: key });
    }
  }

  /** @param {string} name */
  leave(name) {
    return this.ask("leave", { room: name }).then((answer) => {
      if (answer) this.#forgetRoom(name);
    });
  }

  /** @param {string} name */
  #forgetRoom(name) {
    const key = keyOf(name);
    this.wire.input({ type: "unwant", room: name });
    this.rooms.delete(key);
    this.timelines.delete(key);
    this.members.delete(key);
    this.store.keep(this.me, key, null).catch(() => {});
    if (keyOf(this.current ?? "") === key) this.current = null;
    this.emit("rooms");
    this.emit("room");
  }

  /** Asks for the list of rooms, soon: several reasons at once are one question. */
  refreshRooms() {
    this.#soon("rooms", 100, async () => {
      const answer = await this.wire.ask("rooms", { joined: true }).catch(() => null);
      if (!answer) return;
      for (const room of answer.rooms) this.#follow(room.room_id ?? null, room.room);
      const seen = new Set();
      for (const room of answer.rooms) {
        seen.add(keyOf(room.room));
        this.#learnRoom(room);
        if (room.unread > 0 && room.unread_messages === undefined) this.#countUnread(room.room);
      }
      for (const [key, info] of this.rooms) if (!seen.has(key) && !info.invited) this.rooms.delete(key);
      this.emit("rooms");
      this.#keepRoomsNow();
    });
  }

  /** All rooms that the user may see, those with an invitation first. */
  async browse() {
    const answer = await this.ask("rooms", { limit: 500 });
    const rooms = (answer?.rooms ?? []).filter((/** @type {Data} */ room) => !room.joined);
    return rooms.sort((/** @type {Data} */ a, /** @type {Data} */ b) =>
      Number(b.invited ?? false) - Number(a.invited ?? false) || b.members - a.members
    );
  }

  /** @param {Data} room an entry of the answer to `rooms` */
  #learnRoom(room) {
    const key = keyOf(room.room);
    const known = this.#knownAs(room.room, room.room_id);
    const lastRead = Math.max(room.last_read ?? 0, known?.lastRead ?? 0);
    const isRead = lastRead >= room.last_seq || lastRead > (room.last_read ?? 0);
    const unread = room.unread_messages ?? room.unread ?? 0;
    this.rooms.set(key, {
      name: room.room,
      id: room.room_id ?? known?.id ?? null,
      isPrivate: room.private,
      topic: room.topic ?? "",
      memberCount: room.members ?? 0,
      lastSeq: room.last_seq,
      joined: room.joined ?? true,
      invited: room.invited ?? false,
      lastRead: room.first_unread && !isRead ? room.first_unread - 1 : lastRead,
      unread: isRead ? Math.min(known?.unread ?? 0, unread) : unread,
      mentions: isRead ? Math.min(known?.mentions ?? 0, room.mentions ?? 0) : room.mentions ?? 0,
      role: room.role ?? known?.role ?? "member",
      archived: room.archived ?? false,
    });
  }

  /** Servers that count events only leave it to the page which of them are messages. @param {string} name */
  async #countUnread(name) {
    const from = this.info(name)?.lastRead ?? 0;
    const answer = await this.wire.ask("history", { room: name, after: from, limit: 200 }).catch(() => null);
    const info = this.info(name);
    // What was read or came meanwhile is counted already.
    if (!answer || !info || answer.more || info.lastRead !== from || info.lastSeq > answer.last_seq) return;
    const unread = answer.events.filter((/** @type {any} */ event) => this.#counts(event));
    info.unread = unread.length;
    this.emit("rooms");
  }

  #keepRooms() {
    this.#soon("keep-rooms", 1_000, () => this.#keepRoomsNow());
  }

  /** Without its number a room would be another one after a reload, if its name is given away meanwhile. */
  #keepRoomsNow() {
    this.store.keep(this.me, "", this.#kept()).catch(() => {});
  }

  /** What is kept as the list of rooms. */
  #kept() {
    return { epoch: this.wire.state.epoch, rooms: [...this.rooms.values()] };
  }

  /** @param {string} name */
  #keepEvents(name) {
    this.#soon(`keep ${keyOf(name)}`, 500, () => {
      const timeline = this.timeline(name);
      if (!timeline || !timeline.isAtEnd || timeline.isEmpty) return;
      const events = timeline.toEvents().slice(-KEPT_EVENTS);
      const kept = {
        id: this.info(name)?.id ?? null,
        events,
        end: timeline.hi,
        first: timeline.first,
        pins: timeline.pins,
      };
      this.store.keep(this.me, keyOf(name), kept).catch(() => {});
    });
  }

  // --- history
  // -----------------------------------------------------------------------------------------------

  /** Loads what is before the window. @param {string} name */
  async loadOlder(name) {
    const timeline = this.timeline(name);
    if (!timeline || timeline.isEmpty || timeline.isAtStart) return;
    const answer = await this.wire.ask("history", { room: name, before: timeline.lo, limit: PAGE }).catch(
      () => null,
    );
    if (!answer) return;
    timeline.first = Math.max(1, answer.first_seq ?? 1);
    timeline.prepend(answer.events);
    if (!answer.events.length) timeline.first = timeline.lo;
    timeline.trimEnd();
    this.emit("timeline", name);
  }

  /** Loads what is behind the window. @param {string} name */
  async loadNewer(name) {
    const timeline = this.timeline(name);
    if (!timeline || timeline.isEmpty || timeline.isAtEnd) return;
    const answer = await this.wire.ask("history", { room: name, after: timeline.hi, limit: PAGE }).catch(() =>
      null
    );
    if (!answer) return;
    timeline.append(answer.events);
    timeline.last = Math.max(timeline.last, answer.last_seq);
    if (!answer.more) timeline.last = Math.max(timeline.hi, answer.last_seq);
    timeline.trimStart();
    this.emit("timeline", name);
  }

  /** Makes the window one around `seq`. @param {string} name @param {number} seq */
  async showAround(name, seq) {
    const timeline = this.timeline(name);
    if (!timeline) return;
    const half = PAGE / 2;
    const answer = await this.ask("history", { room: name, after: Math.max(0, seq - half), limit: PAGE });
    if (!answer?.events.length) return;
    timeline.first = Math.max(1, answer.first_seq ?? 1);
    timeline.last = Math.max(timeline.last, answer.last_seq);
    timeline.replace(answer.events);
    this.emit("timeline", name);
  }

  /** Makes the window end with the newest event. @param {string} name */
  async showEnd(name) {
    const timeline = this.timeline(name);
    if (!timeline || timeline.isAtEnd) return;
    const answer = await this.ask("history", { room: name, limit: PAGE });
    if (!answer) return;
    timeline.last = Math.max(timeline.last, answer.last_seq);
    timeline.replace(answer.events);
    this.emit("timeline", name);
    if (!timeline.isAtEnd) await this.loadNewer(name);
  }

  // --- messages
  // ----------------------------------------------------------------------------------------------

  /**
   * What waits in a room, oldest first, without what is shown as an event already.
   * @param {string} name
   */
  waiting(name) {
    const timeline = this.timeline(name);
    return this.outbox.waiting.filter((message) =>
      keyOf(message.room) === keyOf(name) && !timeline?.hasOwn(message.id, this.me)
    );
  }

  /** @param {Outgoing} message */
  async send(message) {
    if (keyOf(message.room) === keyOf(this.current ?? "")) this.unreadFrom = 0;
    // The message ends the sign that the user types, so the next letter is told as soon as servers take it.
    this.typesAgainAt = Math.min(this.typesAgainAt, this.typedAt + TYPING_PAUSE_MS);
    await this.outbox.add({ ...message, roomId: this.info(message.room)?.id ?? undefined });
  }

  /** @param {string} msgType @param {number} seq @param {Data} [more] */
  change(msgType, seq, more = {}) {
    return this.ask(msgType, { room: this.current, seq, ...more });
  }

  /** Tells the others, every few seconds, that the user is typing. */
  typed() {
    const now = Date.now();
    if (!this.current || now < this.typesAgainAt || !this.info(this.current)?.joined) return;
    this.typedAt = now;
    this.typesAgainAt = now + TYPING_MS / 2;
    this.wire.input({ type: "tell", msgType: "typing", data: { room: this.current } });
  }

  /** The users who are typing in the open room. */
  typers() {
    const now = Date.now();
    const all = this.typing.get(keyOf(this.current ?? "")) ?? new Map();
    return [...all].filter(([, until]) => until > now).map(([name]) => name);
  }

  /** Everything up to `seq` was seen. @param {string} name @param {number} seq */
  readUpTo(name, seq) {
    const info = this.info(name);
    if (!info || !info.joined || seq <= info.lastRead) return;
    info.lastRead = seq;
    const before = info.unread + info.mentions;
    const timeline = this.timeline(name);
    const isAll = seq >= Math.max(info.lastSeq, timeline?.last ?? 0);
    const left = isAll ? [] : timeline?.items.filter((item) => item.seq > seq && this.#counts(item)) ?? [];
    info.unread = isAll ? 0 : Math.min(info.unread, timeline?.isAtEnd ? left.length : info.unread);
    if (isAll || timeline?.isAtEnd) {
      info.mentions = left.filter((item) => this.isMentioned(item.mentions)).length;
    }
    this.untold.set(keyOf(info.name), seq);
    this.#soon("read", READ_PAUSE_MS, () => this.#tellRead());
    if (before !== info.unread + info.mentions) this.emit("rooms");
    this.#keepRooms();
  }

  #tellRead() {
    const all = [...this.untold];
    this.untold.clear();
    for (const [key, seq] of all) {
      const { name: room, id } = this.info(key) ?? { name: key, id: null };
      const named = id === null ? { room } : { room, room_id: id };
      this.wire.ask("mark_read", { ...named, seq }).catch(() => {});
    }
  }

  /** @param {string[]} names */
  isMentioned(names) {
    return names.some((name) => keyOf(name) === keyOf(this.me) || GROUPS.includes(keyOf(name)));
  }

  /** Whether it counts as unread. @param {{kind: string, author: string}} item */
  #counts(item) {
    return item.kind === "message" && keyOf(item.author) !== keyOf(this.me);
  }

  // --- people
  // ------------------------------------------------------------------------------------------------

  /** @param {string} name */
  loadMembers(name) {
    this.#soon(`members ${keyOf(name)}`, 150, async () => {
      const answer = await this.wire.ask("members", { room: name, limit: 1_000 }).catch(() => null);
      if (!answer) return;
      this.members.set(keyOf(name), answer.members);
      const info = this.info(name);
      if (info && !answer.more) info.memberCount = answer.members.length;
      for (const member of answer.members) {
        const state = member.away ? "away" : member.online ? "online" : "offline";
        this.presence.set(keyOf(member.username), state);
      }
      this.emit("members");
    });
  }

  /** @param {string} username */
  presenceOf(username) {
    return this.presence.get(keyOf(username)) ?? "offline";
  }

  /** The names that can be mentioned in the open room. */
  namesHere() {
    return (this.members.get(keyOf(this.current ?? "")) ?? []).map((member) => member.username);
  }

  /** @param {string} username */
  directTo(username) {
    return directRoom(this.me, username);
  }

  // --- what the connection says
  // ------------------------------------------------------------------------------

  /** @param {import("../core/client.js").Update} update */
  #update(update) {
    switch (update.type) {
      case "loggedIn":
        this.me = update.username;
        this.hasAccount = update.account;
        this.isAdministrator = update.administrator;
        this.emit("session", update);
        this.refreshRooms();
        break;
      case "loginNeeded":
        this.emit("session", { refusal: update.refusal });
        break;
      case "up":
        this.#setStatus({ phase: "up", serverId: update.serverId, reason: "", upSince: Date.now() });
        if (this.current) this.loadMembers(this.current);
        this.refreshRooms();
        this.emit("connected");
        break;
      case "connecting":
        this.#setStatus({ phase: "connecting" });
        break;
      case "down":
        this.#setStatus({ phase: "down", reason: update.reason });
        break;
      case "majority":
        this.#setStatus({ majority: update.has });
        break;
      case "servers":
        this.#setStatus({ leader: Boolean(update.list.leader_id) });
        this.emit("session", { servers: update.list });
        break;
      case "epoch":
        this.#keepRooms();
        break;
      case "restored":
        this.#beginAfresh();
        break;
      case "joined":
        this.#joined(update.room, update.data);
        break;
      case "roomRefused":
        this.emit("notice", { text: `${update.room}: ${sentence(update.refusal.reason)}`, isError: true });
        this.#forgetRoom(update.room);
        break;
      case "event":
        this.#event(update.event, update.live);
        break;
      case "news":
        this.#news(update.event);
        break;
      case "acked":
        this.outbox.acked(update.message.client_msg_id);
        this.#begun(update.room);
        break;
      case "refused":
        this.outbox.refused(update.message.client_msg_id, update.refusal);
        break;
      case "renamed": {
        const { id, renamed } = update;
        const known = [...this.rooms.values()].find((other) => other.id === id);
        const info = (id !== null && known) || this.info(renamed.from);
        if (!info) this.#moved(renamed, id);
        else if (info.name !== renamed.to) this.#renamed(info, renamed.to);
        break;
      }
      case "push":
        this.#push(update.msgType, update.data);
        break;
    }
  }

  /** The cluster was restored from a backup: kept events of rooms may not exist any more. */
  #beginAfresh() {
    for (const key of this.timelines.keys()) this.wire.input({ type: "unwant", room: key });
    this.timelines.clear();
    this.rooms.clear();
    this.untold.clear();
    this.store.beginAfresh(this.me, this.#kept()).catch(() => {});
    this.refreshRooms();
    this.emit("restored");
    this.emit("notice", { text: "The servers were restored from a backup. What came after it is gone." });
    const open = this.current;
    if (open) this.open(open);
  }

  /** @param {Partial<Chat["status"]>} change */
  #setStatus(change) {
    Object.assign(this.status, change);
    this.emit("status");
  }

  /**
   * Servers without a majority are changed often, so a lost connection alone says nothing.
   * @param {boolean} isOpen
   */
  #socket(isOpen) {
    if (!isOpen) return this.#soon("cut", CUT_MS, () => this.#setStatus({ isCut: true }));
    clearTimeout(this.timers.get("cut"));
    this.timers.delete("cut");
    if (this.status.isCut) this.#setStatus({ isCut: false });
  }

  /** A direct conversation has come into being. @param {string} room */
  #begun(room) {
    if (!room?.startsWith("@") || this.info(room)) return;
    this.refreshRooms();
    const timeline = this.timeline(room);
    if (timeline) this.wire.input({ type: "want", room, cursor: null });
  }

  /** @param {string} room @param {Data} data */
  #joined(room, data) {
    const key = keyOf(room);
    const known = this.#knownAs(room, data.room_id);
    const isNumbered = data.room_id !== undefined && known?.id !== data.room_id;
    if (isNumbered) this.outbox.number(room, data.room_id);
    this.rooms.set(key, {
      name: room,
      id: data.room_id ?? known?.id ?? null,
      isPrivate: data.private ?? known?.isPrivate ?? false,
      topic: data.topic ?? "",
      memberCount: known?.memberCount ?? 1,
      lastSeq: Math.max(data.last_seq, known?.lastSeq ?? 0),
      joined: true,
      invited: false,
      // A user who joins a room has read what was before.
      lastRead: known?.joined ? known.lastRead : data.last_seq,
      unread: known?.joined ? known.unread : 0,
      mentions: known?.joined ? known.mentions : 0,
      role: data.role ?? "member",
      archived: data.archived ?? known?.archived ?? false,
    });
    if (isNumbered) this.#keepRoomsNow();
    if (keyOf(this.current ?? "") === key) this.current = room;
    const timeline = this.timelines.get(key);
    if (timeline) {
      timeline.first = Math.max(1, data.first_seq ?? 1);
      timeline.last = Math.max(timeline.last, data.last_seq);
      if (data.pins) timeline.pins = data.pins;
      if (!data.pins) this.#loadPins(room, timeline);
    }
    this.emit("rooms");
    this.emit("room");
    this.emit("timeline", room);
    this.loadMembers(room);
  }

  /** @param {string} room @param {Timeline} timeline */
  async #loadPins(room, timeline) {
    // A server that does not know pins has none.
    const answer = await this.wire.ask("pins", { room }).catch(() => null);
    if (!answer) return;
    timeline.pins = answer.pins ?? [];
    timeline.revision++;
    this.emit("timeline", room);
  }

  /** @param {Data} event @param {boolean} live */
  #event(event, live) {
    const timeline = this.timeline(event.room);
    if (timeline) {
      if (live) timeline.happened(event);
      else if (timeline.isEmpty) timeline.replace([event]);
      else if (event.seq > timeline.hi) timeline.append([event]);
      this.#bound(event.room, timeline);
      this.emit("timeline", event.room);
      this.#keepEvents(event.room);
    }
    if (live) this.#noted(event);
  }

  /** Gives up what is too much: at the end that is not looked at. @param {string} room @param {Timeline} timeline */
  #bound(room, timeline) {
    if (timeline.items.length < KEPT * 1.5) return;
    const isLookedAt = keyOf(room) === keyOf(this.current ?? "") && !this.isAtBottom;
    if (isLookedAt) timeline.trimEnd();
    else timeline.trimStart();
  }

  /** An event of a room that is not followed. @param {Data} event */
  #news(event) {
    if (!this.info(event.room)) {
      this.#begun(event.room);
      this.refreshRooms();
      return;
    }
    this.#noted(event);
  }

  /** @param {Data} event */
  #noted(event) {
    const info = this.info(event.room);
    if (!info) {
      // A list of rooms that came before has the new name already.
      if (event.kind === "renamed") this.#moved({ from: event.room, to: event.name, swaps: false }, null);
      return;
    }
    const isNew = event.seq > info.lastSeq;
    info.lastSeq = Math.max(info.lastSeq, event.seq);
    const author = keyOf(event.author ?? "");
    const isOwn = author === keyOf(this.me);
    if (event.kind === "message") {
      this.typing.get(keyOf(event.room))?.delete(event.author);
      this.emit("typing");
      if (isOwn) {
        this.#begun(event.room);
        // A user who writes has read the room.
        if (event.seq > info.lastRead && info.unread === 0) this.readUpTo(info.name, event.seq);
      } else if (event.seq > info.lastRead && isNew) {
        info.unread += 1;
        if (this.isMentioned(event.mentions ?? [])) info.mentions += 1;
        this.emit("message", { event, info });
      }
      this.emit("rooms");
    } else {
      this.#changed(event, info, isOwn);
    }
    this.#keepRooms();
  }

  /** @param {Data} event @param {RoomInfo} info @param {boolean} isOwn */
  #changed(event, info, isOwn) {
    switch (event.kind) {
      case "topic":
        info.topic = event.topic;
        break;
      case "settings":
        info.isPrivate = event.private;
        info.archived = event.archived;
        break;
      case "renamed":
        if (!this.timeline(info.name)) this.#renamed(info, event.name);
        return;
      case "role":
        if (keyOf(event.username) === keyOf(this.me)) info.role = event.role;
        break;
      case "muted":
      case "unmuted":
        if (keyOf(event.username) === keyOf(this.me)) {
          info.role = event.kind === "muted" ? "muted" : "member";
        }
        break;
      case "left":
        if (isOwn) return this.refreshRooms();
        break;
      case "edited":
      case "deleted":
      case "reaction":
      case "pinned":
      case "unpinned":
        return;
    }
    this.loadMembers(info.name);
    this.emit("room");
    this.emit("rooms");
  }

  /**
   * The room of this number is called so: if the page knows it by another name, it goes on under this one.
   * @param {number|null} id
   * @param {string} name
   */
  #follow(id, name) {
    const info = id === null ? undefined : [...this.rooms.values()].find((other) => other.id === id);
    if (info && info.name !== name) this.#renamed(info, name);
  }

  /** @param {RoomInfo} info @param {string} name */
  #renamed(info, name) {
    const { id, name: from } = info;
    const other = this.info(name);
    const swaps = other !== null && other !== info && other.id !== null && other.id !== id;
    this.#moved({ from, to: name, swaps }, id);
    info.name = name;
    if (swaps) other.name = from;
    if (id !== null) this.wire.input({ type: "renamed", id, name });
  }

  /**
   * A room goes on under another name, with all that the page knows of it.
   * @param {import("../core/rooms.js").Renamed} renamed
   * @param {number|null} id
   */
  #moved(renamed, id) {
    const { from, to, swaps } = renamed;
    for (const known of [this.rooms, this.timelines, this.members, this.typing, this.untold]) {
      moveKept(/** @type {Map<string, any>} */ (known), renamed);
    }
    if (this.current !== null) this.current = renamedTo(renamed, this.current) ?? this.current;
    this.outbox.rename(renamed, id);
    this.store.keep(this.me, keyOf(from), null).catch(() => {});
    this.#keepEvents(to);
    if (swaps) this.#keepEvents(from);
    this.#keepRooms();
    this.refreshRooms();
    this.loadMembers(to);
    this.emit("renamed", renamed);
    this.emit("room");
    this.emit("rooms");
    this.emit("timeline", to);
  }

  /** @param {string} msgType @param {Data} data */
  #push(msgType, data) {
    switch (msgType) {
      case "typing": {
        const key = keyOf(data.room);
        const all = this.typing.get(key) ?? new Map();
        all.set(data.username, Date.now() + TYPING_MS);
        this.typing.set(key, all);
        this.emit("typing");
        setTimeout(() => this.emit("typing"), TYPING_MS + 50);
        break;
      }
      case "presence":
        this.presence.set(keyOf(data.username), data.state);
        this.emit("members");
        this.emit("rooms");
        break;
      case "read": {
        const info = this.info(data.room);
        if (!info) break;
        info.lastRead = Math.max(info.lastRead, data.seq);
        info.unread = data.unread_messages ?? info.unread;
        info.mentions = data.mentions ?? info.mentions;
        this.emit("rooms");
        break;
      }
      case "invited":
        this.rooms.set(keyOf(data.room), {
          name: data.room,
          id: data.room_id ?? null,
          isPrivate: true,
          topic: "",
          memberCount: 0,
          lastSeq: 0,
          joined: false,
          invited: true,
          lastRead: 0,
          unread: 0,
          mentions: 0,
          role: "",
          archived: false,
        });
        this.emit("notice", { text: `${data.by} invites you to ${data.room}` });
        this.emit("rooms");
        break;
      case "uninvited":
        if (this.info(data.room)?.joined === false) this.rooms.delete(keyOf(data.room));
        this.emit("rooms");
        break;
    }
  }

  /**
   * Does it soon, once for all that ask for it until then.
   * @param {string} name
   * @param {number} ms
   * @param {() => void} what
   */
  #soon(name, ms, what) {
    if (this.timers.has(name)) return;
    this.timers.set(
      name,
      setTimeout(() => {
        this.timers.delete(name);
        what();
      }, ms),
    );
  }
}
