// Search: words, `in:room` and `by:name`; the results are at the right and lead to their places.
import { keyOf, roomTitle } from "../core/names.js";
import { clean, dayText, fullTimeText, timeText } from "../model/text.js";
import { colourClass } from "./avatar.js";
import { fill, h, iconButton } from "./dom.js";
import { hrefOf } from "./route.js";

/** @typedef {import("../model/chat.js").Chat} Chat */

/** After so long without an answer the search says that it is at work. */
const SLOW_MS = 400;
const HELP = 'Words, "a phrase", begin*, in:room, by:name';

/**
 * What is asked by a line of search.
 * @param {string} text
 */
export function queryOf(text) {
  /** @type {Record<string, unknown>} */
  const query = { limit: 30 };
  const words = text.replace(/(?:^|\s)(in|by|from):(\S+)/gi, (_, key, value) => {
    const name = String(value);
    if (key.toLowerCase() === "in") query.room = name;
    else query.author = name.replace(/^@/, "");
    return " ";
  });
  query.query = words.trim().replace(/\s+/g, " ");
  return query;
}

export class SearchPane {
  /** @param {Chat} chat @param {{onClose: () => void, onOpen: () => void}} actions */
  constructor(chat, actions) {
    this.chat = chat;
    this.actions = actions;
    this.input = h("input", {
      type: "search",
      "aria-label": "Search",
      placeholder: "Search",
      autocomplete: "off",
      title: HELP,
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Enter" && !event.isComposing) this.run();
        if (event.key === "Escape") this.close();
      },
      oninput: () => {
        clearTimeout(this.timer);
        if (this.input.value.trim() === "") this.close();
        else this.timer = setTimeout(() => this.run(), 350);
      },
    });
    this.element = h("section", { class: "search-results", "aria-label": "Search results", hidden: true });
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
    this.run_ = 0;
  }

  close() {
    clearTimeout(this.timer);
    this.run_++;
    if (this.element.hidden) return;
    this.element.hidden = true;
    this.actions.onClose();
  }

  async run() {
    clearTimeout(this.timer);
    const query = queryOf(this.input.value);
    const run = ++this.run_;
    if (!query.query) {
      if (query.room || query.author) {
        this.#show([h("p", { class: "help" }, "Type a word to look for, too.")]);
      }
      return;
    }
    let isAnswered = false;
    setTimeout(() => {
      if (run === this.run_ && !isAnswered) this.#show([h("p", { class: "help" }, "Searching…")]);
    }, SLOW_MS);
    /** @type {Record<string, any>} */
    let answer;
    try {
      answer = await this.chat.wire.ask("search", query);
    } catch (error) {
      isAnswered = true;
      if (run === this.run_) this.#show([h("p", { class: "problem" }, /** @type {Error} */ (error).message)]);
      return;
    }
    isAnswered = true;
    if (run !== this.run_) return;
    const hits = answer.hits.map((/** @type {Record<string, any>} */ hit) => this.#hit(hit));
    const none = h(
      "p",
      { class: "help" },
      "Nothing was found. All words must occur; begin* finds beginnings.",
    );
    this.#show(hits.length ? hits : [none]);
    if (answer.more) this.#addMore(query, answer.before ?? answer.hits.at(-1)?.lamport_timestamp);
  }

  /** @param {Node[]} content */
  #show(content) {
    const head = h(
      "div",
      { class: "pane-head" },
      h("h2", {}, "Search results"),
      iconButton("close", "Close the search", {
        onclick: () => {
          this.input.value = "";
          this.close();
        },
      }),
    );
    fill(this.element, head, ...content, h("p", { class: "help" }, HELP));
    this.element.hidden = false;
    this.actions.onOpen();
  }

  /** @param {Record<string, unknown>} query @param {number} before */
  #addMore(query, before) {
    const more = h("button", {
      type: "button",
      class: "wide",
      onclick: async () => {
        more.disabled = true;
        const answer = await this.chat.ask("search", { ...query, before });
        more.remove();
        if (!answer) return;
        this.element.lastElementChild?.before(
          ...answer.hits.map((/** @type {Record<string, any>} */ hit) => this.#hit(hit)),
        );
        if (answer.more) this.#addMore(query, answer.before ?? answer.hits.at(-1)?.lamport_timestamp);
      },
    }, "More");
    this.element.lastElementChild?.before(more);
  }

  /** @param {Record<string, any>} hit */
  #hit(hit) {
    const at = hit.created_at * 1000;
    const isHere = keyOf(hit.room) === keyOf(this.chat.current ?? "");
    return h(
      "article",
      { class: "hit" },
      h(
        "a",
        { href: hrefOf(hit.room, hit.seq) },
        h("bdi", { class: `author ${colourClass(hit.author)}` }, clean(hit.author)),
        " ",
        h("time", { title: fullTimeText(at) }, `${dayText(at, Date.now())} ${timeText(at)}`),
        !isHere && h("span", { class: "help" }, " in ", h("bdi", {}, roomTitle(hit.room, this.chat.me))),
        h("p", { dir: "auto" }, ...snippet(hit.snippet ?? hit.body ?? "")),
      ),
    );
  }
}

/** Hits are between pairs of stars. @param {string} text */
function snippet(text) {
  return text.split("**").map((part, at) => at % 2 ? h("mark", {}, part) : document.createTextNode(part));
}
