// The input: text, the message that it answers, and the files that go with it.
import { BODY_BYTES } from "../core/limits.js";
import { clean, pieces, sizeText } from "../model/text.js";
import { Completion } from "./complete.js";
import { fill, h, icon, iconButton } from "./dom.js";
import { draft, setDraft } from "./preferences.js";

/** @typedef {import("../model/timeline.js").Item} Item */

export class Composer {
  /**
   * @param {import("../model/chat.js").Chat} chat
   * @param {{onEditLast: () => void, onPage: (direction: number) => void, onEnd: () => void}} actions
   */
  constructor(chat, actions) {
    this.chat = chat;
    this.actions = actions;
    /** @type {Item|null} */
    this.replyTo = null;
    /** @type {File[]} */
    this.files = [];
    this.room = "";
    this.field = h("textarea", {
      "aria-label": "Message",
      dir: "auto",
      rows: 1,
      placeholder: "Message",
      enterkeyhint: "send",
      autocapitalize: "sentences",
    });
    this.completion = new Completion(this.field, () => chat.namesHere());
    this.picker = h("input", {
      type: "file",
      multiple: true,
      hidden: true,
      "aria-hidden": "true",
      tabIndex: -1,
      onchange: () => {
        this.attach([...(this.picker.files ?? [])]);
        this.picker.value = "";
      },
    });
    this.replyLine = h("div", { class: "composer-reply", hidden: true });
    this.fileList = h("ul", { class: "attachments", "aria-label": "Files to send", hidden: true });
    this.element = h(
      "div",
      { class: "composer" },
      this.replyLine,
      this.fileList,
      this.completion.element,
      h(
        "div",
        { class: "composer-row" },
        iconButton("attach", "Attach file", { onclick: () => this.picker.click() }),
        this.picker,
        this.field,
        h("button", {
          type: "button",
          class: "send primary",
          "aria-label": "Send",
          title: "Send",
          onclick: () => this.send(),
        }, icon("send")),
      ),
    );
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.field.addEventListener("paste", (event) => this.#paste(event));
    // The message that is answered is gone; what was typed stays.
    chat.on("restored", () => this.#setReply(null));
  }

  /** The composer is for this room now. @param {string} room */
  show(room) {
    this.room = room;
    this.field.value = draft(room);
    this.files = [];
    this.#setReply(null);
    this.#drawFiles();
    this.#grow();
    this.completion.close();
  }

  focus() {
    this.field.focus();
  }

  /** @param {Item} item */
  reply(item) {
    this.#setReply(item);
    this.focus();
  }

  /** @param {File[]} files */
  attach(files) {
    this.files.push(...files);
    this.#drawFiles();
    this.focus();
  }

  /** @param {string} name */
  mention(name) {
    const { field } = this;
    const space = field.value && !/\s$/.test(field.value) ? " " : "";
    field.value += `${space}@${name} `;
    this.#typed();
    this.focus();
  }

  async send() {
    const text = this.field.value.trim();
    const { files, replyTo } = this;
    if (!text && files.length === 0) return;
    this.field.value = "";
    this.files = [];
    setDraft(this.room, "");
    this.#setReply(null);
    this.#drawFiles();
    this.#grow();
    this.focus();
    const texts = pieces(text, BODY_BYTES);
    for (let at = 0; at < Math.max(texts.length, files.length); at++) {
      const file = files[at];
      const body = texts[at] ?? (file.name || "file");
      await this.chat.send({ body, file, replyTo: at === 0 ? replyTo?.seq : undefined });
    }
    this.actions.onEnd();
  }

  #typed() {
    setDraft(this.room, this.field.value);
    this.#grow();
    this.completion.update();
    if (this.field.value) this.chat.typed();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // Enter that ends a word of an input method does not send.
    if (event.isComposing || event.keyCode === 229) return;
    if (this.completion.key(event)) return;
    const isPlain = !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey;
    const isEmpty = this.field.value === "";
    if (event.key === "Enter" && isPlain) {
      event.preventDefault();
      this.send();
    } else if (event.key === "Escape" && this.replyTo) {
      event.stopPropagation();
      this.#setReply(null);
    } else if (event.key === "ArrowUp" && isPlain && isEmpty) {
      event.preventDefault();
      this.actions.onEditLast();
    } else if (event.key === "End" && isPlain && isEmpty) {
      event.preventDefault();
      this.actions.onEnd();
    } else if ((event.key === "PageUp" || event.key === "PageDown") && isPlain) {
      event.preventDefault();
      this.actions.onPage(event.key === "PageUp" ? -1 : 1);
    }
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.attach(files);
  }

  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight + 2, innerHeight * 0.35)}px`;
  }

  /** @param {Item|null} item */
  #setReply(item) {
    this.replyTo = item;
    this.replyLine.hidden = item === null;
    if (!item) return;
    fill(
      this.replyLine,
      icon("reply"),
      h("span", {}, "Answer to ", h("bdi", { class: "reply-author" }, item.author)),
      h("bdi", { class: "reply-text" }, item.body.slice(0, 120)),
      iconButton("close", "Do not answer", { onclick: () => this.#setReply(null) }),
    );
  }

  #drawFiles() {
    this.fileList.hidden = this.files.length === 0;
    const entries = this.files.map((file) =>
      h(
        "li",
        {},
        icon("file"),
        h("bdi", { class: "attachment-name" }, clean(file.name) || "file"),
        h("span", { class: "file-size" }, sizeText(file.size)),
        h("button", {
          type: "button",
          class: "small",
          onclick: () => {
            this.files = this.files.filter((other) => other !== file);
            this.#drawFiles();
            this.focus();
          },
        }, "Remove"),
      )
    );
    fill(this.fileList, ...entries);
  }
}
