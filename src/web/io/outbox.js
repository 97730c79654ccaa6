// The outbox of all tabs: every message is in IndexedDB before it is sent. One tab, the owner, gives them to
// its connection; the others hear of the outcome over a channel.
import { keyOf, renamedTo } from "../core/names.js";
import { becomeOwner } from "./owner.js";
import { upload } from "./files.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./store.js").Waiting} Waiting
 * @typedef {import("./wire.js").Wire} Wire
 */

/** Smaller files keep their place among the messages; larger ones are posted once they are uploaded. */
const KEEPS_PLACE_BYTES = 1024 * 1024;

/** Letters and digits that no other run of the page has. */
function newInstance() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
}

export class SharedOutbox {
  /**
   * @param {Store} store
   * @param {string} user
   * @param {Wire} wire
   * @param {() => void} onChange `waiting` or `progress` is another
   */
  constructor(store, user, wire, onChange) {
    this.store = store;
    this.user = user;
    this.wire = wire;
    this.onChange = onChange;
    /** @type {Waiting[]} Oldest first, of all tabs. */
    this.waiting = [];
    /** @type {Map<string, number>} How much of a file has arrived, by message. */
    this.progress = new Map();
    /** @type {Set<string>} What was given to the connection, or is being uploaded. */
    this.given = new Set();
    this.isOwner = false;
    this.instance = newInstance();
    this.next = 1;
    this.isHandingOver = false;
    const name = `syncnet-outbox-${user.toLowerCase()}`;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = () => this.refresh();
    this.release = becomeOwner(name, () => {
      this.isOwner = true;
      this.refresh();
    }, () => this.isOwner = false);
    this.refresh();
  }

  /**
   * Takes a message; it will be sent whatever happens to this page.
   * @param {{room: string, roomId?: number, body: string, replyTo?: number, file?: File}} message
   */
  async add({ room, roomId, body, replyTo, file }) {
    /** @type {Waiting} */
    const message = {
      user: this.user,
      id: `${this.instance}-${this.next++}`,
      room,
      roomId,
      body,
      createdAt: Date.now(),
    };
    if (replyTo) Object.assign(message, { replyTo, epoch: this.wire.state.epoch });
    if (file) Object.assign(message, { blob: file, fileName: file.name || "file" });
    await this.store.add(message);
    await this.#changed();
  }

  /** Sends what was refused again, at the end of what waits. @param {Waiting} message */
  async again(message) {
    const { at, failed, ...rest } = message;
    // An id that was used for another text can never succeed.
    if (failed?.code === "bad_request") rest.id = `${this.instance}-${this.next++}`;
    // Its room is gone; the user sees it in the one that has the name now.
    if (failed?.code === "not_found") delete rest.roomId;
    this.given.delete(message.id);
    await this.store.remove(/** @type {number} */ (at));
    await this.store.add({ ...rest, createdAt: Date.now() });
    await this.#changed();
  }

  /** Gives a refused message up. @param {Waiting} message */
  async discard(message) {
    await this.store.remove(/** @type {number} */ (message.at));
    await this.#changed();
  }

  /** Gives a file up that has not arrived yet; whichever tab sends it stops. @param {Waiting} message */
  async cancel(message) {
    const isUploaded = this.waiting.find((other) => other.id === message.id)?.fileId;
    if (!isUploaded) await this.discard(message);
  }

  /** A message got its place. @param {string} id */
  acked(id) {
    return this.#settle(id, async (message) => await this.store.remove(/** @type {number} */ (message.at)));
  }

  /** @param {string} id @param {{code: string, reason: string}} failed */
  refused(id, { code, reason }) {
    return this.#settle(
      id,
      async (message) => await this.store.put({ ...message, failed: { code, reason } }),
    );
  }

  /**
   * A room has another name: what waits for it goes there, and what was refused may be sent there again.
   * @param {import("../core/rooms.js").Renamed} renamed
   * @param {number|null} id the number of the room
   */
  async rename(renamed, id) {
    let isChanged = false;
    for (const message of await this.store.waiting(this.user)) {
      const isIts = id !== null && message.roomId === id;
      const room = isIts ? renamed.to : renamedTo(renamed, message.room);
      const isOthers = !isIts && room === renamed.to && id !== null && message.roomId !== undefined;
      if (room === null || room === message.room || isOthers) continue;
      await this.store.put({ ...message, room });
      isChanged = true;
    }
    if (isChanged) await this.#changed();
  }

  /**
   * The room of this name has this number: what waits for it goes there, whatever it is called.
   * @param {string} room
   * @param {number} id
   */
  async number(room, id) {
    for (const message of await this.store.waiting(this.user)) {
      if (message.roomId !== undefined || keyOf(message.room) !== keyOf(room)) continue;
      await this.store.put({ ...message, roomId: id });
    }
  }

  /** Reads what waits; the owner also passes new messages on. */
  async refresh() {
    this.waiting = await this.store.waiting(this.user);
    this.onChange();
    await this.#handOver();
  }

  close() {
    this.isOwner = false;
    this.release();
    this.channel.close();
  }

  /**
   * @param {string} id
   * @param {(message: Waiting) => Promise<void>} what
   */
  async #settle(id, what) {
    const message = this.waiting.find((other) => other.id === id) ??
      (await this.store.waiting(this.user)).find((other) => other.id === id);
    if (!message) return;
    await what(message);
    this.progress.delete(id);
    await this.#changed();
  }

  async #changed() {
    this.channel.postMessage("changed");
    await this.refresh();
  }

  /** Gives the connection the messages that it does not have yet, oldest first. */
  async #handOver() {
    if (this.isHandingOver) return;
    this.isHandingOver = true;
    for (;;) {
      const next = this.waiting.find((message) => !message.failed && !this.given.has(message.id));
      if (!next || !this.isOwner) break;
      this.given.add(next.id);
      if (!next.blob) this.#give(next);
      else if (next.blob.size <= KEEPS_PLACE_BYTES) await this.#upload(next);
      else this.#upload(next);
    }
    this.isHandingOver = false;
  }

  /** @param {Waiting} message */
  #give(message) {
    // After a restore of the cluster a place may be another message's.
    const isSame = !message.epoch || message.epoch === this.wire.state.epoch;
    this.wire.input({
      type: "send",
      message: {
        client_msg_id: message.id,
        room: message.room,
        room_id: message.roomId,
        body: message.body,
        reply_to: isSame ? message.replyTo : undefined,
        file_id: message.fileId,
      },
    });
  }

  /** @param {Waiting} message */
  async #upload(message) {
    const blob = /** @type {Blob} */ (message.blob);
    const name = message.fileName ?? "file";
    const isWanted = () => this.waiting.some((other) => other.id === message.id);
    for (let isUp = false; !isUp;) {
      try {
        const fileId = await upload(
          (msgType, data) => {
            if (!isWanted()) throw new Error("given up");
            return this.wire.ask(msgType, data);
          },
          { room: message.room, roomId: message.roomId, name, blob },
          (part) => {
            this.progress.set(message.id, part);
            this.onChange();
          },
        );
        if (!isWanted()) break;
        // The room may have another name by now.
        const { room, roomId } = this.waiting.find((other) => other.id === message.id) ?? message;
        const { blob: _, ...rest } = { ...message, room, roomId };
        await this.store.put({ ...rest, fileId });
        this.#give({ ...rest, fileId });
        isUp = true;
      } catch (error) {
        const code = /** @type {any} */ (error).code ?? "bad_request";
        if (!isWanted()) break;
        if (code === "unavailable" && !this.wire.closed) continue;
        this.given.delete(message.id);
        const failed = { code, reason: String(/** @type {any} */ (error).message ?? error) };
        await this.store.put({ ...message, failed });
        this.channel.postMessage("changed");
        isUp = true;
      }
    }
    this.progress.delete(message.id);
    this.waiting = await this.store.waiting(this.user);
    this.onChange();
  }
}
