// The rooms that are followed without a gap, and how far each was shown (src/client/rooms.rs).
import { keyOf } from "./names.js";

/**
 * @typedef {object} Room
 * @property {string} name
 * @property {"absent"|"joining"|"live"} phase where it stands on this connection
 * @property {number|null} cursor the `seq` of the last event that was taken: the next one is one higher
 * @property {number} gaps joins in a row because of a gap, without one event in between
 * @property {Record<string, unknown>} extra what the first `create_join` says besides: `private`, `password`
 */

export class Rooms {
  constructor() {
    /** @type {Map<string, Room>} */
    this.all = new Map();
  }

  /** @param {string} name */
  get(name) {
    return this.all.get(keyOf(name)) ?? null;
  }

  /**
   * The room is to be followed from now on.
   * @param {string} name
   * @param {number|null} cursor
   * @param {Record<string, unknown>} extra
   */
  want(name, cursor, extra) {
    const known = this.get(name);
    if (known) return known;
    /** @type {Room} */
    const room = { name, phase: "absent", cursor, gaps: 0, extra };
    this.all.set(keyOf(name), room);
    return room;
  }

  /**
   * The room has another name from now on.
   * @param {Room} room
   * @param {string} name
   */
  rename(room, name) {
    this.all.delete(keyOf(room.name));
    room.name = name;
    this.all.set(keyOf(name), room);
  }

  /** @param {string} name */
  drop(name) {
    this.all.delete(keyOf(name));
  }

  /** Known places are no longer valid: every room is joined anew, from its newest events on. */
  beginAfresh() {
    for (const room of this.all.values()) Object.assign(room, { phase: "absent", cursor: null, gaps: 0 });
  }

  connectionLost() {
    for (const room of this.all.values()) room.phase = "absent";
  }
}

/**
 * How `seq` fits; if it is the next one, the cursor moves on.
 * @param {Room} room
 * @param {number} seq
 * @returns {"next"|"repeat"|"gap"}
 */
export function place(room, seq) {
  if (room.cursor !== null) {
    if (seq <= room.cursor) return "repeat";
    if (seq > room.cursor + 1) return "gap";
  }
  room.cursor = seq;
  return "next";
}
