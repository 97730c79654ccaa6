// The input: text, the message that it answers, and the files that go with it.
import { BODY_BYTES } from "../core/limits.js";
import { keyOf, moveKept, renamedTo, roomTitle } from "../core/names.js";
import { shownType } from "../io/files.js";
import { plain } from "../model/markdown.js";
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
    /** @type {Map<string, {files: File[], replyTo: Item|null}>} What other rooms have beside their drafts. */
    this.aside = new Map();
    this.room = "";
    /** What was sent before goes first. @type {Promise<void>} */
    this.before = Promise.resolve();
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
    const { files, replyTo } = this;
    if (files.length || replyTo) this.aside.set(keyOf(this.room), { files, replyTo });
    else this.aside.delete(keyOf(this.room));
    const kept = this.aside.get(keyOf(room));
    this.room = room;
    this.field.value = draft(room);
    this.#showRoom();
    this.files = kept?.files ?? [];
    this.#setReply(kept?.replyTo ?? null);
    this.#drawFiles();
    this.#grow();
    this.completion.close();
  }

  /** A room has another name. @param {import("../core/rooms.js").Renamed} renamed */
  rename(renamed) {
    moveKept(this.aside, renamed);
    const name = renamedTo(renamed, this.room);
    if (name === null) return;
    this.room = name;
    this.#showRoom();
  }

  #showRoom() {
    this.field.placeholder = `Message to ${roomTitle(this.room, this.chat.me)}`;
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

  send() {
    const text = this.field.value.trim();
    const { files, replyTo, room } = this;
    if (!text && files.length === 0) return;
    this.field.value = "";
    this.files = [];
    setDraft(this.room, "");
    this.#setReply(null);
    this.#drawFiles();
    this.#grow();
    this.focus();
    const texts = pieces(text, BODY_BYTES);
    const messages = Array.from({ length: Math.max(texts.length, files.length) }, (_, at) => ({
      room,
      body: texts[at] ?? (files[at].name || "file"),
      file: files[at],
      replyTo: at === 0 ? replyTo?.seq : undefined,
    }));
    this.before = this.before.then(() => this.#keep(messages));
  }

  /** Gives the messages to the outbox. @param {import("../model/chat.js").Outgoing[]} messages */
  async #keep(messages) {
    for (const [at, message] of messages.entries()) {
      try {
        await this.chat.send(message);
      } catch (error) {
        this.#giveBack(messages.slice(at));
        const text = `This browser cannot keep the message, so it was not sent: ${error}`;
        this.chat.emit("notice", { text, isError: true });
        return;
      }
    }
    if (keyOf(messages[0].room) === keyOf(this.chat.current ?? "")) this.actions.onEnd();
  }

  /** What could not be sent is in the input again. @param {import("../model/chat.js").Outgoing[]} messages */
  #giveBack(messages) {
    const { room } = messages[0];
    const isHere = keyOf(room) === keyOf(this.room);
    const texts = messages.filter(({ body, file }) => body !== (file?.name || "file")).map(({ body }) =>
      body
    );
    const files = messages.flatMap(({ file }) => file ?? []);
    const text = [...texts, isHere ? this.field.value : draft(room)].filter(Boolean).join("\n");
    setDraft(room, text);
    if (!isHere) return void this.aside.set(keyOf(room), { files, replyTo: null });
    this.field.value = text;
    this.files = [...files, ...this.files];
    this.#drawFiles();
    this.#grow();
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
    // Office programs give a picture of the text besides the text.
    const isText = event.clipboardData?.types.includes("text/html") &&
      event.clipboardData.getData("text/plain").trim() !== "";
    if (isText) return;
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
      h("bdi", { class: "reply-text" }, plain(item.body, 120)),
      iconButton("close", "Do not answer", { onclick: () => this.#setReply(null) }),
    );
  }

  #drawFiles() {
    this.fileList.hidden = this.files.length === 0;
    const entries = this.files.map((file) =>
      h(
        "li",
        {},
        preview(file),
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

/** A small picture of a picture, a sign for all else. @param {File} file */
function preview(file) {
  if (!shownType(file.type).startsWith("image/")) return icon("file");
  const address = URL.createObjectURL(file);
  const free = () => URL.revokeObjectURL(address);
  const picture = h("img", {
    class: "thumbnail",
    src: address,
    alt: "",
    onload: free,
    onerror: () => {
      free();
      // It only calls itself a picture.
      picture.replaceWith(icon("file"));
    },
  });
  return picture;
}
