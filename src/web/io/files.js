// Files in pieces over the same connection as everything else. So guests can use them, too, and an upload
// goes on with the next server at the place at which the last one stopped.
import { RefusedError } from "./wire.js";
import { Sha256 } from "./sha256.js";

/**
 * @typedef {(msgType: string, data: Record<string, any>, how?: {again?: boolean}) => Promise<Record<string, any>>} Ask
 */

/** Pieces that are on their way at once. */
const AHEAD = 4;

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

/** @param {string} text */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/**
 * Uploads a file and gives its id.
 * @param {Ask} ask
 * @param {{room: string, roomId?: number, name: string, blob: Blob}} file
 * @param {(part: number) => void} onProgress from 0 to 1
 */
export async function upload(ask, { room, roomId, name, blob }, onProgress) {
  const begun = await ask("file_begin", {
    room,
    room_id: roomId,
    name,
    size: blob.size,
    content_type: blob.type || undefined,
  });
  const { file_id: fileId, chunk_bytes: chunkBytes } = begun;
  const hash = new Sha256();
  let confirmed = 0;
  /** @type {Promise<void>[]} */
  const onTheirWay = [];
  for (let offset = 0; offset < blob.size; offset += chunkBytes) {
    const bytes = new Uint8Array(await blob.slice(offset, offset + chunkBytes).arrayBuffer());
    hash.update(bytes);
    if (onTheirWay.length >= AHEAD) await onTheirWay.shift();
    onTheirWay.push(
      ask("file_chunk", { file_id: fileId, offset, bytes: toBase64(bytes) }).then(() => {
        confirmed += bytes.length;
        onProgress(confirmed / blob.size);
      }),
    );
  }
  await Promise.all(onTheirWay);
  await ask("file_end", { file_id: fileId, sha256: hash.hex() });
  return fileId;
}

/**
 * Reads a file whole.
 * @param {Ask} ask
 * @param {string} fileId
 * @param {(part: number) => void} [onProgress]
 * @returns {Promise<Blob>}
 */
export async function download(ask, fileId, onProgress = () => {}) {
  const first = await ask("file_read", { file_id: fileId, offset: 0 });
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const pieces = [fromBase64(first.bytes)];
  const step = pieces[0].length;
  const count = step ? Math.ceil(first.size / step) : 1;
  let next = 1;
  let done = 1;
  const reader = async () => {
    while (next < count) {
      const at = next++;
      const piece = await ask("file_read", { file_id: fileId, offset: at * step });
      pieces[at] = fromBase64(piece.bytes);
      onProgress(++done / count);
    }
  };
  await Promise.all(Array.from({ length: AHEAD }, reader));
  const hash = new Sha256();
  for (const piece of pieces) hash.update(piece);
  if (hash.hex() !== first.sha256) {
    throw new RefusedError({ code: "bad_request", reason: "The file is not what its sender said it was." });
  }
  return new Blob(pieces, { type: shownType(first.content_type) });
}

/** Types that carry no scripts keep their name; all others are bytes to be saved. */
const SHOWN = new Set([
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
  "audio/mpeg",
  "audio/ogg",
  "video/mp4",
  "video/webm",
]);

/** @param {string|undefined} type */
export function shownType(type) {
  const essence = (type ?? "").split(";")[0].trim().toLowerCase();
  return SHOWN.has(essence) ? essence : "application/octet-stream";
}
