// The address of what is open: `#/room/12` is the room, at one of its messages.

/** @param {string} room @param {number} [seq] */
export function hrefOf(room, seq) {
  const path = `#/${encodeURIComponent(room)}`;
  return seq ? `${path}/${seq}` : path;
}

/** @param {string} hash @returns {{room: string, seq: number}|null} */
export function routeOf(hash) {
  const match = /^#\/([^/]+)(?:\/(\d+))?$/.exec(hash);
  if (!match) return null;
  try {
    return { room: decodeURIComponent(match[1]), seq: Number(match[2] ?? 0) };
  } catch {
    return null;
  }
}
