// A safe subset of Markdown as a tree of plain objects; ui/rich_text.js makes DOM nodes of it. Nothing is
// ever HTML.
import { addressAt, nameAt } from "./mentions.js";

/**
 * @typedef {{type: "text", text: string} | {type: "break"} | {type: "code", text: string}
 *   | {type: "strong"|"em"|"strike", children: Inline[]} | {type: "link", href: string, children: Inline[]}
 *   | {type: "mention", name: string}} Inline
 * @typedef {{type: "paragraph", children: Inline[]} | {type: "pre", text: string}
 *   | {type: "quote", children: Block[]} | {type: "list", ordered: boolean, start: number, items: Inline[][]}} Block
 */

/** Deeper quotes and emphasis stay text. */
const DEPTH_MAX = 6;
/** Emphasis and links are at most so long, so that reading takes time in proportion to the text. */
const REACH = 1_000;

/** What may be a name, for code that does not know the people. @param {string} name */
const anyName = (name) => !/[.-]$/.test(name);

/** @param {string} text @param {(name: string) => boolean} isName whom a mention may name @returns {Block[]} */
export function parse(text, isName = anyName, depth = 0) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  /** @type {Block[]} */
  const blocks = [];
  /** @type {string[]} */
  let paragraph = [];
  const flush = () => {
    if (paragraph.length) blocks.push({ type: "paragraph", children: inline(paragraph.join("\n"), isName) });
    paragraph = [];
  };
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    const fence = /^(`{3,}(?=[^`]*$)|~{3,})/.exec(line)?.[0];
    if (fence) {
      const end = lines.findIndex((other, place) => place > at && closes(other.trimEnd(), fence));
      if (end > 0) {
        flush();
        blocks.push({ type: "pre", text: lines.slice(at + 1, end).join("\n") });
        at = end;
        continue;
      }
    }
    if (line.startsWith(">") && depth < DEPTH_MAX) {
      flush();
      const quoted = [];
      while (at < lines.length && lines[at].startsWith(">")) quoted.push(lines[at++].replace(/^> ?/, ""));
      at--;
      blocks.push({ type: "quote", children: parse(quoted.join("\n"), () => false, depth + 1) });
      continue;
    }
    const item = listItem(line);
    if (item) {
      flush();
      const items = [];
      for (let next = listItem(lines[at]); next && next.ordered === item.ordered;) {
        items.push(inline(next.text, isName));
        at++;
        next = at < lines.length ? listItem(lines[at]) : null;
      }
      at--;
      blocks.push({ type: "list", ordered: item.ordered, start: item.start, items });
      continue;
    }
    if (line.trim() === "") flush();
    else paragraph.push(line);
  }
  flush();
  return blocks;
}

/** Whether a line ends the block that `fence` has begun. @param {string} line @param {string} fence */
function closes(line, fence) {
  return line.length >= fence.length && line === fence[0].repeat(line.length);
}

/** @param {string} line */
function listItem(line) {
  const bullet = /^ {0,3}[-*+] +(\S.*)$/.exec(line);
  if (bullet) return { ordered: false, start: 1, text: bullet[1] };
  const number = /^ {0,3}(\d{1,4})[.)] +(\S.*)$/.exec(line);
  return number ? { ordered: true, start: Number(number[1]), text: number[2] } : null;
}

const URL_TEXT = /^(?:https?:\/\/|mailto:)[^\s<>"'`]+/i;

/**
 * A text in one line, without the marks, for where there is no room for more.
 * @param {string} text
 * @param {number} most letters
 */
export function plain(text, most) {
  // Marks and what is beside them take room, too, but nobody reads to their end.
  const words = parse(text.slice(0, most * 4)).map(blockText).join(" ").replace(/\s+/g, " ").trim();
  const letters = [...words];
  return letters.length > most ? `${letters.slice(0, most).join("")}…` : words;
}

/** @param {Block} block @returns {string} */
function blockText(block) {
  switch (block.type) {
    case "paragraph":
      return inlineText(block.children);
    case "pre":
      return block.text;
    case "quote":
      return block.children.map(blockText).join(" ");
    case "list":
      return block.items.map(inlineText).join(", ");
  }
}

/** @param {Inline[]} parts @returns {string} */
function inlineText(parts) {
  return parts.map((part) => {
    switch (part.type) {
      case "text":
      case "code":
        return part.text;
      case "break":
        return " ";
      case "mention":
        return `@${part.name}`;
      default:
        return inlineText(part.children);
    }
  }).join("");
}

/**
 * The parts of a line of text.
 * @param {string} text
 * @param {(name: string) => boolean} isName
 * @returns {Inline[]}
 */
export function inline(text, isName = anyName, depth = 0) {
  /** @type {Inline[]} */
  const parts = [];
  let plain = "";
  const flush = () => {
    if (plain) parts.push({ type: "text", text: plain });
    plain = "";
  };
  /** @param {Inline} part */
  const push = (part) => (flush(), parts.push(part));
  for (let at = 0; at < text.length;) {
    const letter = text[at];
    const isWordBefore = at > 0 && /[\p{L}\p{N}_]/u.test(text[at - 1]);
    if (letter === "\\" && /[\\`*_~[\]()>#-]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    if (letter === "\n") {
      push({ type: "break" });
      at++;
      continue;
    }
    if (letter === "`") {
      const marks = /^`+/.exec(text.slice(at))?.[0].length ?? 1;
      const end = codeEnd(text, at + marks, marks);
      if (end > 0) push({ type: "code", text: text.slice(at + marks, end - marks) });
      else plain += text.slice(at, at + marks);
      at = end > 0 ? end : at + marks;
      continue;
    }
    if (depth < DEPTH_MAX) {
      const found = emphasis(text, at, isWordBefore);
      if (found) {
        push({ type: found.type, children: inline(found.inner, isName, depth + 1) });
        at = found.end;
        continue;
      }
      const link = letter === "[" ? /^\[([^\]\n]+)\]\(([^)\s]+)\)/.exec(text.slice(at, at + REACH)) : null;
      const href = link && safeHref(link[2]);
      if (link && href) {
        push({ type: "link", href, children: inline(link[1], isName, DEPTH_MAX) });
        at += link[0].length;
        continue;
      }
    }
    if (!isWordBefore && (letter === "h" || letter === "H" || letter === "m" || letter === "M")) {
      const url = URL_TEXT.exec(text.slice(at, at + REACH));
      const shown = url && trimUrl(url[0]);
      const href = shown && safeHref(shown);
      if (shown && href) {
        push({ type: "link", href, children: [{ type: "text", text: shown }] });
        at += shown.length;
        continue;
      }
    }
    const address = addressAt(text, at);
    if (address > 0) {
      plain += text.slice(at, at + address);
      at += address;
      continue;
    }
    if (letter === "@") {
      const { name, length } = nameAt(text, at, isName);
      if (name) push({ type: "mention", name });
      else plain += text.slice(at, at + 1 + length);
      at += 1 + length;
      continue;
    }
    plain += letter;
    at++;
  }
  flush();
  return parts;
}

/**
 * Behind the marks that end a code span, or 0: as many as began it.
 * @param {string} text
 * @param {number} from
 * @param {number} marks
 */
function codeEnd(text, from, marks) {
  for (let at = text.indexOf("`", from); at >= 0; at = text.indexOf("`", at)) {
    let end = at;
    while (text[end] === "`") end++;
    if (end - at === marks) return end;
    at = end;
  }
  return 0;
}

/**
 * @param {string} text
 * @param {number} at
 * @param {boolean} isWordBefore
 * @returns {{type: "strong"|"em"|"strike", inner: string, end: number}|null}
 */
function emphasis(text, at, isWordBefore) {
  for (
    const [mark, type]
      of /** @type {const} */ ([["**", "strong"], ["__", "strong"], ["~~", "strike"], ["*", "em"], [
        "_",
        "em",
      ]])
  ) {
    if (!text.startsWith(mark, at)) continue;
    if (mark[0] === "_" && isWordBefore) continue;
    const start = at + mark.length;
    if (/\s/.test(text[start] ?? " ")) continue;
    const paragraphEnd = text.indexOf("\n\n", start);
    const limit = Math.min(paragraphEnd < 0 ? text.length : paragraphEnd, start + REACH);
    for (let end = text.indexOf(mark, start); end > 0 && end < limit; end = text.indexOf(mark, end + 1)) {
      const isEnd = end > start && !/\s/.test(text[end - 1]);
      // A single star is not a half of two.
      const isDouble = mark.length === 1 && (text[end + 1] === mark || text[end - 1] === mark);
      // Nor are the lines of `__init__.py`.
      const next = text.slice(end + mark.length, end + mark.length + 2);
      const isInWord = mark[0] === "_" && /^\.?[\p{L}\p{N}]/u.test(next);
      if (isEnd && !isDouble && !isInWord) {
        return { type, inner: text.slice(start, end), end: end + mark.length };
      }
    }
    if (mark === "**" || mark === "__") return null;
  }
  return null;
}

/** Punctuation at its end belongs to the sentence. @param {string} url */
function trimUrl(url) {
  let shown = url.replace(/[.,;:!?*_~]+$/, "");
  while (shown.endsWith(")") && shown.split("(").length < shown.split(")").length) shown = shown.slice(0, -1);
  return shown;
}

/**
 * The address, if it can be followed without harm.
 * @param {string} text
 */
export function safeHref(text) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(text) || /[\p{Cc}\p{Cf}]/u.test(text)) return null;
  try {
    const url = new URL(text);
    const isWeb = (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "";
    return isWeb || url.protocol === "mailto:" ? url.href : null;
  } catch {
    return null;
  }
}
