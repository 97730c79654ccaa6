// Names of rooms and people, as the protocol has them.

const NAME = /^[A-Za-z0-9_.-]{1,32}$/;

/** @param {string} name */
export function isName(name) {
  return NAME.test(name);
}

/** Rooms and people compare without regard to case. @param {string} name */
export function keyOf(name) {
  return name.toLowerCase();
}

/**
 * The present name of the room known as `name`, after a renaming; null if that has not changed it.
 * @param {import("./rooms.js").Renamed} renamed
 * @param {string} name
 */
export function renamedTo({ from, to, swaps }, name) {
  if (keyOf(name) === keyOf(from)) return to;
  return swaps && keyOf(name) === keyOf(to) ? from : null;
}

/**
 * Moves what is kept under the old names of rooms.
 * @param {Map<string, any>} map by the names' keys
 * @param {import("./rooms.js").Renamed} renamed
 */
export function moveKept(map, { from, to, swaps }) {
  const [old, now] = [keyOf(from), keyOf(to)];
  if (old === now) return;
  const [moved, other] = [map.get(old), swaps ? map.get(now) : undefined];
  map.delete(old);
  if (swaps) map.delete(now);
  if (moved !== undefined) map.set(now, moved);
  if (other !== undefined) map.set(old, other);
}

/**
 * The room of a direct conversation: both names in the order of their lower-case forms.
 * @param {string} a
 * @param {string} b
 */
export function directRoom(a, b) {
  const [first, second] = keyOf(a) <= keyOf(b) ? [a, b] : [b, a];
  return `@${first},${second}`;
}

/**
 * Whom `me` speaks to in the direct conversation `room`; null for a room of many.
 * @param {string} room
 * @param {string} me
 */
export function partner(room, me) {
  if (!room.startsWith("@")) return null;
  const [first, second] = room.slice(1).split(",");
  if (second === undefined) return null;
  return keyOf(first) === keyOf(me) ? second : first;
}

/** How a room is called for `me`. @param {string} room @param {string} me */
export function roomTitle(room, me) {
  const other = partner(room, me);
  return other === null ? room : `@${other}`;
}
