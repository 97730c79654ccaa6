// Messages that are not acknowledged yet, in the order they were typed. The same rules, and the same cases
// (tests/cases/outbox), as src/client/outbox.rs, which explains how the order is kept.
import { WINDOW_MAX } from "./limits.js";
import { keyOf, renamedTo } from "./names.js";

/**
 * A message as the user gave it, with the id that all its sendings have.
 * @typedef {object} Message
 * @property {string} client_msg_id
 * @property {string} room
 * @property {number} [room_id] the number of the room, once that is known
 * @property {string} body
 * @property {number} [reply_to]
 * @property {string} [file_id]
 */

/** @typedef {{message: Message, inFlight: number|null}} Entry */

/** The outbox, and which of its messages are on their way on the current connection. */
export class Outbox {
  /** @param {Message[]} restored messages of an earlier run, oldest first */
  constructor(restored = []) {
    /** @type {Entry[]} While not recovering, those in flight are exactly the first `inFlight`. */
    this.entries = restored.map((message) => ({ message, inFlight: null }));
    this.inFlight = 0;
    this.window = 1;
    this.recovering = false;
  }

  get size() {
    return this.entries.length;
  }

  /** @param {string} id */
  has(id) {
    return this.entries.some((entry) => entry.message.client_msg_id === id);
  }

  /** @param {Message} message */
  push(message) {
    this.entries.push({ message, inFlight: null });
  }

  /**
   * The message to send next, if one may be sent now, and the unanswered one before it.
   * @returns {{message: Message, before: Message|null}|null}
   */
  nextToSend() {
    if (this.inFlight >= this.window || (this.recovering && this.inFlight > 0)) return null;
    const next = this.entries[this.inFlight];
    if (!next) return null;
    const before = this.inFlight > 0 ? this.entries[this.inFlight - 1].message : null;
    return { message: next.message, before };
  }

  /**
   * The message given by `nextToSend` was written under `requestId`.
   * @param {number} requestId
   */
  sent(requestId) {
    this.recovering = false;
    this.entries[this.inFlight].inFlight = requestId;
    this.inFlight += 1;
  }

  /**
   * Takes out the message that `requestId` carried: it is acknowledged or refused for good.
   * @param {number} requestId
   * @returns {Message|null}
   */
  answered(requestId) {
    const at = this.#position(requestId);
    if (at < 0) return null;
    this.inFlight -= 1;
    this.window = Math.min(WINDOW_MAX, this.window + 1);
    return this.entries.splice(at, 1)[0].message;
  }

  /**
   * The message that `requestId` carried was refused for load and has to be sent again.
   * @param {number} requestId
   */
  refusedForLoad(requestId) {
    const at = this.#position(requestId);
    if (at < 0) return;
    this.entries[at].inFlight = null;
    this.inFlight -= 1;
    this.recovering = true;
    this.window = 1;
  }

  /** The connection is gone: everything on its way is to be sent again, in order, under the same ids. */
  connectionLost() {
    for (const entry of this.entries) entry.inFlight = null;
    this.inFlight = 0;
    this.window = 1;
    this.recovering = false;
  }

  /**
   * A room has another name: its messages go there. Servers recognise those that were committed under the old name;
   * another room may have that by now.
   * @param {import("./rooms.js").Renamed} renamed
   */
  rename(renamed) {
    for (const { message } of this.entries) message.room = renamedTo(renamed, message.room) ?? message.room;
  }

  /**
   * The room of this name has this number: its messages go there, whatever it is called.
   * @param {string} room
   * @param {number} id
   */
  number(room, id) {
    for (const { message } of this.entries) {
      if (keyOf(message.room) === keyOf(room)) message.room_id ??= id;
    }
  }

  /** The places that messages answer are worth nothing any more. */
  forgetPlaces() {
    for (const entry of this.entries) delete entry.message.reply_to;
  }

  /**
   * Takes out the messages that `goes` selects and that are not on their way.
   * @param {(message: Message) => boolean} goes
   * @returns {Message[]}
   */
  take(goes) {
    const gone = this.entries.filter((entry) => entry.inFlight === null && goes(entry.message));
    this.entries = this.entries.filter((entry) => !gone.includes(entry));
    return gone.map((entry) => entry.message);
  }

  /** @param {number} requestId */
  #position(requestId) {
    return this.entries.findIndex((entry) => entry.inFlight === requestId);
  }
}
