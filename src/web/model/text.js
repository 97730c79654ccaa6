// Small things about text, times and sizes.

/** Controls, and marks that turn the direction of text around: never shown in names. */
const HARMFUL = /[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;

/** A name, topic or file name as it may be shown. @param {string} text */
export function clean(text) {
  return text.replace(HARMFUL, "");
}

/** @param {number} bytes */
export function sizeText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(bytes < 10_000 ? 1 : 0)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/**
 * What a server says, for people: with a full stop, and sizes that can be read. Its first word may be a name,
 * so it has no large letter.
 * @param {string} reason
 */
export function sentence(reason) {
  const text = reason.replace(/\b(\d{4,}) bytes\b/g, (_, bytes) => sizeText(Number(bytes))).trim();
  return text === "" || /[.!?]$/.test(text) ? text : `${text}.`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** @param {number} at milliseconds since 1970 */
export const timeText = (at) => TIME.format(at);

/**
 * The time, and apart from it the half of the day where the user's language tells it: "09:05" and " PM".
 * @param {number} at
 * @returns {[string, string]}
 */
export function timeParts(at) {
  const parts = TIME.formatToParts(at);
  const half = parts.findIndex((part) => part.type === "dayPeriod");
  if (half <= 0 || half !== parts.length - 1) return [timeText(at), ""];
  const text = (/** @type {Intl.DateTimeFormatPart[]} */ some) => some.map((part) => part.value).join("");
  return [text(parts.slice(0, half - 1)), text(parts.slice(half - 1))];
}
/** @param {number} at */
export const fullTimeText = (at) => FULL.format(at);

/** A number that is the same for all times of one day, here. @param {number} at */
export function dayOf(at) {
  const date = new Date(at);
  return date.getFullYear() * 10_000 + (date.getMonth() + 1) * 100 + date.getDate();
}

/** @param {number} at @param {number} now */
export function dayText(at, now) {
  if (dayOf(at) === dayOf(now)) return "Today";
  if (dayOf(at) === dayOf(now - 86_400_000)) return "Yesterday";
  return now - at < 180 * 86_400_000 ? DAY.format(at) : DAY_OF_YEAR.format(at);
}

/** How long, in words. @param {number} seconds */
export function spanText(seconds) {
  const [size, unit] = seconds % 86_400 === 0
    ? [86_400, "day"]
    : seconds % 3_600 === 0
    ? [3_600, "hour"]
    : seconds % 60 === 0
    ? [60, "minute"]
    : [1, "second"];
  return counted(seconds / size, unit);
}

/** One of `count` places for a name, always the same one. @param {string} name @param {number} count */
export function placeOf(name, count) {
  let hash = 0;
  for (const letter of name.toLowerCase()) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return hash % count;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** Bytes of UTF-8. @param {string} text */
export function byteLength(text) {
  return new TextEncoder().encode(text).length;
}

/**
 * Cuts a text at lines, else words, else letters, into pieces that a server takes.
 * @param {string} text
 * @param {number} most bytes of UTF-8
 */
export function pieces(text, most) {
  const found = [];
  let rest = text;
  while (byteLength(rest) > most) {
    let end = 0;
    for (let bytes = 0; end < rest.length;) {
      const letter = String.fromCodePoint(/** @type {number} */ (rest.codePointAt(end)));
      bytes += byteLength(letter);
      if (bytes > most) break;
      end += letter.length;
    }
    const head = rest.slice(0, end);
    const cut = [head.lastIndexOf("\n"), head.lastIndexOf(" ")].find((place) => place > end / 2) ?? end - 1;
    found.push(rest.slice(0, cut + 1).trimEnd());
    rest = rest.slice(cut + 1).trimStart();
  }
  if (rest) found.push(rest);
  return found.filter((piece) => piece !== "");
}
