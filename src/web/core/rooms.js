// The rooms that are followed without a gap, and how far each was shown (src/client/rooms.rs).
import { keyOf } from "./names.js";

/**
 * A room has another name. `swaps`: another room was known as `to`. It must have a new name too, which is not
 * known yet, and is known as `from` until then.
 * @typedef {{from: string, to: string, swaps: boolean}} Renamed
 *
 * @typedef {object} Room
 * @property {string} name
 * @property {number|null} id its number, once a server has told: then servers go by that and not by the name
 * @property {"absent"|"joining"|"live"} phase where it stands on this connection
 * @property {number|null} cursor the `seq` of the last event that was taken: the next one is one higher
 * @property {number} namedAt the newest event when a server told the name: older renamings are in it already
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
   * @param {number|null} id
   */
  want(name, cursor, extra, id) {
    const known = (id !== null && this.byId(id)) || this.get(name);
    if (known) return known;
    /** @type {Room} */
    const room = { name, id, phase: "absent", cursor, namedAt: 0, gaps: 0, extra };
    this.all.set(keyOf(name), room);
    return room;
  }

  /** @param {number} id */
  byId(id) {
    return [...this.all.values()].find((room) => room.id === id) ?? null;
  }

  /**
   * The room has another name from now on.
   * @param {Room} room
   * @param {string} name
   * @returns {Renamed|null} null if it has it already
   */
  rename(room, name) {
    if (room.name === name) return null;
    const from = room.name;
    const other = this.get(name);
    const swaps = other !== null && other !== room && other.id !== null && other.id !== room.id;
    this.all.delete(keyOf(from));
    room.name = name;
    this.all.set(keyOf(name), room);
    if (swaps) {
      other.name = from;
      this.all.set(keyOf(from), other);
    }
    return { from, to: name, swaps };
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
