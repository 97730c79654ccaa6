// Which part of the loaded events is drawn. It has no hole, and it grows by a few events at a time, so that no
// picture takes long, whatever has arrived since the last one.

/** @typedef {import("./timeline.js").Item} Item */

/** So many events are added at one end at once. */
export const STEP = 30;
/** Rows drawn while the newest one is followed and little arrives; scrolling up shows more. */
export const FOLLOWED = 120;
/** More new events than this between two pictures: nobody reads them all, so one screen of them is drawn. */
export const FEW = 8;

export class DrawnPart {
  constructor() {
    /** The places in the loaded events: from the first that is drawn to the one behind the last. */
    this.from = 0;
    this.to = 0;
    /** Places change as events come and go at both ends; these do not. */
    this.firstSeq = 0;
    this.lastSeq = 0;
    this.isToEnd = true;
  }

  /** Whether the oldest loaded event is drawn. */
  get isFromStart() {
    return this.from === 0;
  }

  /**
   * Ends with the newest event.
   * @param {Item[]} items
   * @param {number} screen so many rows fill what is in view
   * @returns {boolean} whether the next picture has more to add
   */
  follow(items, screen) {
    const least = startOfRows(items, screen);
    const most = startOfRows(items, FOLLOWED);
    const isFlooded = items.length - placeBehind(items, this.lastSeq) > FEW;
    const grown = placeOf(items, this.firstSeq) - STEP;
    this.#set(items, isFlooded ? least : Math.min(least, Math.max(most, grown)), items.length);
    return this.from > most;
  }

  /** Has the event at a place in it. @param {Item[]} items @param {number} place */
  around(items, place) {
    const [from, to] = this.#kept(items);
    if (place >= from && place < to) this.#set(items, from, to);
    else this.#set(items, place - STEP, place + STEP);
  }

  /**
   * Stays as it is, or grows.
   * @param {Item[]} items
   * @param {{older: boolean, newer: boolean}} grows
   */
  stay(items, { older, newer }) {
    const [from, to] = this.#kept(items);
    this.#set(items, older ? from - STEP : from, newer ? to + STEP : to);
  }

  /** Where that which was drawn stands now. @param {Item[]} items @returns {[number, number]} */
  #kept(items) {
    const [from, to] = [placeOf(items, this.firstSeq), placeBehind(items, this.lastSeq)];
    // All of it has left the loaded events.
    return from < to ? [from, to] : [items.length - STEP, items.length];
  }

  /** @param {Item[]} items @param {number} from @param {number} to */
  #set(items, from, to) {
    this.from = startOfRun(items, Math.max(0, from));
    this.to = Math.min(items.length, to);
    this.firstSeq = items[this.from]?.seq ?? 0;
    this.lastSeq = items[this.to - 1]?.seq ?? 0;
    this.isToEnd = this.to === items.length;
  }
}

/** The place of the first event that is not before `seq`. @param {Item[]} items @param {number} seq */
function placeOf(items, seq) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param {Item[]} items @param {number} seq */
const placeBehind = (items, seq) => placeOf(items, seq + 1);

/** Those who have joined one after the other stand in one row. @param {Item[]} items @param {number} place */
const isSameRow = (items, place) => items[place - 1]?.kind === "joined" && items[place]?.kind === "joined";

/** @param {Item[]} items @param {number} place */
function startOfRun(items, place) {
  while (isSameRow(items, place)) place--;
  return place;
}

/** Where the last rows begin. @param {Item[]} items @param {number} rows */
function startOfRows(items, rows) {
  let place = items.length;
  for (; rows > 0 && place > 0; rows--) place = startOfRun(items, place - 1);
  return place;
}
