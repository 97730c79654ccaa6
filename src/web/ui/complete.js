// Completion of the word at the cursor: names after @, emoji after a colon.
import { EMOJI } from "../model/emoji.js";
import { fill, h } from "./dom.js";

const MOST = 8;

/**
 * @typedef {{label: string, text: string}} Choice
 * @typedef {import("../model/chat.js").Chat} Chat
 */

/**
 * Candidates for the word that ends at the cursor.
 * @param {string} before the text before the cursor
 * @param {string[]} names
 * @returns {{start: number, choices: Choice[]}|null}
 */
export function choicesFor(before, names) {
  const mention = /(?:^|\s)@([A-Za-z0-9_.-]{0,32})$/.exec(before);
  if (mention) {
    const begun = mention[1].toLowerCase();
    const choices = names.filter((name) => name.toLowerCase().startsWith(begun)).sort().slice(0, MOST)
      .map((name) => ({ label: `@${name}`, text: `@${name} ` }));
    return choices.length ? { start: before.length - begun.length - 1, choices } : null;
  }
  const emoji = /(?:^|\s):([a-z0-9_+-]{2,20})$/.exec(before);
  if (emoji) {
    const begun = emoji[1];
    const choices = EMOJI.filter(([name]) => name.startsWith(begun)).slice(0, MOST)
      .map(([name, sign]) => ({ label: `${sign} ${name}`, text: `${sign} ` }));
    return choices.length ? { start: before.length - begun.length - 1, choices } : null;
  }
  return null;
}

export class Completion {
  /** @param {HTMLTextAreaElement} field @param {() => string[]} names */
  constructor(field, names) {
    this.field = field;
    this.names = names;
    this.element = h("ul", {
      class: "completion",
      role: "listbox",
      id: "completion",
      "aria-label": "Completions",
      hidden: true,
    });
    /** @type {Choice[]} */
    this.choices = [];
    this.start = 0;
    this.at = 0;
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-controls", "completion");
    field.addEventListener("blur", () => setTimeout(() => this.close(), 150));
  }

  get isOpen() {
    return this.choices.length > 0;
  }

  update() {
    const { field } = this;
    const found = field.selectionStart === field.selectionEnd
      ? choicesFor(field.value.slice(0, field.selectionStart), this.names())
      : null;
    if (!found) return this.close();
    this.choices = found.choices;
    this.start = found.start;
    this.at = 0;
    this.#draw();
  }

  close() {
    this.choices = [];
    this.element.hidden = true;
    this.field.removeAttribute("aria-activedescendant");
  }

  /** Whether the key was for the list. @param {KeyboardEvent} event */
  key(event) {
    if (!this.isOpen) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      this.at = (this.at + step + this.choices.length) % this.choices.length;
      this.#draw();
    } else if (event.key === "Enter" || event.key === "Tab") this.#take(this.choices[this.at]);
    else if (event.key === "Escape") this.close();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  /** @param {Choice} choice */
  #take(choice) {
    const { field, start } = this;
    field.setRangeText(choice.text, start, field.selectionStart, "end");
    this.close();
    field.focus();
    field.dispatchEvent(new Event("input"));
  }

  #draw() {
    const nodes = this.choices.map((choice, at) =>
      h(
        "li",
        {
          role: "option",
          id: `completion-${at}`,
          "aria-selected": String(at === this.at),
          onmousedown: (/** @type {Event} */ event) => {
            event.preventDefault();
            this.#take(choice);
          },
        },
        choice.label,
      )
    );
    fill(this.element, ...nodes);
    this.element.hidden = false;
    this.field.setAttribute("aria-activedescendant", `completion-${this.at}`);
  }
}
