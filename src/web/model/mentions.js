// Where a name behind an `@` is a mention: the rule of src/protocol/mentions.rs. model/markdown.js knows what
// is code or a quote.

/** Words that name all members of a room. */
export const GROUPS = ["here", "channel"];

const NAME_BYTES = 32;
// With the accents of letters, but without the marks that make emoji.
const LETTER = /[\p{Alphabetic}\p{N}]|(?![\ufe00-\ufe0f])\p{Mn}/u;
// Letters that are never a part of the word beside them: scripts without spaces between words, and Hangul,
// as in src/protocol/script.rs.
const SPACELESS = new RegExp(
  "[ー\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Hangul}\\p{Script=Bopomofo}" +
    "\\p{Script=Yi}\\p{Script=Nushu}\\p{Script=Tangut}" +
    "\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}" +
    "\\p{Script=Tai_Le}\\p{Script=New_Tai_Lue}\\p{Script=Tai_Tham}\\p{Script=Tai_Viet}" +
    "\\p{Script=Ahom}\\p{Script=Balinese}\\p{Script=Javanese}\\p{Script=Buginese}]",
  "u",
);
const ADDRESS = new RegExp(
  "[a-z][a-z0-9+.-]{0,31}:\\/\\/[^\\s<>\"'`]+|(?:mailto:|www\\.)[^\\s<>\"'`]+" +
    "|(?:[a-z0-9-]{1,63}\\.){1,8}[a-z]{2,24}(?::\\d{1,5})?\\/[^\\s<>\"'`]*",
  "iy",
);
const DOMAIN = /^(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}$/i;
const RUN = /[A-Za-z0-9_.-]*/y;

/** The character that ends before `at`. @param {string} text @param {number} at */
function before(text, at) {
  const unit = text.charCodeAt(at - 1);
  const isPair = at > 1 && unit >= 0xdc00 && unit <= 0xdfff;
  return at > 0 ? text.slice(isPair ? at - 2 : at - 1, at) : "";
}

/** Whether a character belongs to the word beside it. @param {string} character */
function isInWord(character) {
  return LETTER.test(character) && !SPACELESS.test(character);
}

/** The character at `at`. @param {string} text @param {number} at */
function characterAt(text, at) {
  const point = text.codePointAt(at);
  return point === undefined ? "" : String.fromCodePoint(point);
}

/** The length of the web address that begins at `at`, 0 for none. @param {string} text @param {number} at */
export function addressAt(text, at) {
  if (!/[A-Za-z0-9]/.test(text[at]) || isInWord(before(text, at))) return 0;
  ADDRESS.lastIndex = at;
  return ADDRESS.exec(text)?.[0].length ?? 0;
}

/**
 * The name behind the `@` at `at`, the longest that `isName` knows; `length` is what is used up behind the
 * `@`.
 * @param {string} text
 * @param {number} at
 * @param {(name: string) => boolean} isName
 * @returns {{name: string|null, length: number}}
 */
export function nameAt(text, at, isName) {
  const none = { name: null, length: 0 };
  if (isInWord(before(text, at))) return none;
  RUN.lastIndex = at + 1;
  const run = RUN.exec(text)?.[0] ?? "";
  const end = at + 1 + run.length;
  const mailbox = /[A-Za-z0-9._%+-]*$/.exec(text.slice(Math.max(0, at - 64), at))?.[0] ?? "";
  const whole = run.replace(/[._-]+$/, "");
  const isMail = /[A-Za-z0-9]/.test(mailbox) && DOMAIN.test(whole);
  const isAccount = text[end] === "@" && LETTER.test(characterAt(text, end + 1));
  if (isMail || isAccount) return { name: null, length: run.length };
  // Behind a letter, `@bob.example` is the end of an address, or all of it is a name.
  const shortest = LETTER.test(before(text, at)) && DOMAIN.test(whole) ? whole.length : 1;
  for (let length = Math.min(run.length, NAME_BYTES); length >= shortest; length--) {
    const next = at + 1 + length;
    if (isInWord(characterAt(text, next))) continue;
    const name = run.slice(0, length);
    // A word that names all members is not the beginning of a longer one.
    const isBegun = /[-_]/.test(text[next] ?? "") && isInWord(characterAt(text, next + 1));
    if (isBegun && GROUPS.includes(name.toLowerCase())) continue;
    if (isName(name)) return { name, length };
  }
  return none;
}
