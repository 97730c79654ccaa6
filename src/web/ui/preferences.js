// Settings that this browser keeps: who is logged in, the look, notifications, quiet rooms, drafts.
import { renamedTo } from "../core/names.js";

/** Storage may be forbidden; then settings hold for this page only. @type {Map<string, string>} */
const fallback = new Map();

/** @param {string} name @returns {string|null} */
export function read(name) {
  try {
    return localStorage.getItem(`syncnet.${name}`);
  } catch {
    return fallback.get(name) ?? null;
  }
}

/** @param {string} name @param {string|null} value */
export function write(name, value) {
  try {
    if (value === null) localStorage.removeItem(`syncnet.${name}`);
    else localStorage.setItem(`syncnet.${name}`, value);
  } catch {
    if (value === null) fallback.delete(name);
    else fallback.set(name, value);
  }
}

/** @param {string} name @returns {any} */
export function readJson(name) {
  try {
    return JSON.parse(read(name) ?? "null");
  } catch {
    return null;
  }
}

/** @param {string} name @param {unknown} value */
export function writeJson(name, value) {
  write(name, value === null ? null : JSON.stringify(value));
}

/** @typedef {"light"|"dark"|"system"} Theme */

/** @returns {Theme} */
export function theme() {
  const kept = read("theme");
  return kept === "light" || kept === "dark" ? kept : "system";
}

/** @param {Theme} chosen */
export function setTheme(chosen) {
  write("theme", chosen === "system" ? null : chosen);
  applyTheme();
}

export function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

/** @param {string} room */
export function isMuted(room) {
  return (readJson("muted") ?? []).includes(room.toLowerCase());
}

/** @param {string} room @param {boolean} muted */
export function setMuted(room, muted) {
  const others = (readJson("muted") ?? []).filter((/** @type {string} */ other) =>
    other !== room.toLowerCase()
  );
  writeJson("muted", muted ? [...others, room.toLowerCase()] : others);
}

/** What is kept of a room goes with it to its new name. @param {import("../core/rooms.js").Renamed} renamed */
export function moveRoom(renamed) {
  const { from, to, swaps } = renamed;
  const [muted, text] = [isMuted(from), draft(from)];
  const [otherMuted, otherText] = [isMuted(to), draft(to)];
  setMuted(from, swaps && otherMuted);
  setDraft(from, swaps ? otherText : "");
  if (muted || swaps) setMuted(to, muted);
  if (text || swaps) setDraft(to, text);
  const room = renamedTo(renamed, read("room") ?? "");
  if (room !== null) write("room", room);
}

/**
 * By room; a `Map`, since a room may have the name of a member of every object.
 * @returns {Map<string, string>}
 */
function drafts() {
  return new Map(Object.entries(readJson("drafts") ?? {}));
}

/** @param {string} room */
export function draft(room) {
  return drafts().get(room.toLowerCase()) ?? "";
}

/** @param {string} room @param {string} text */
export function setDraft(room, text) {
  const all = drafts();
  if (text) all.set(room.toLowerCase(), text);
  else all.delete(room.toLowerCase());
  writeJson("drafts", Object.fromEntries(all));
}
