// One message as an `article`, and the lines that tell what else has happened in a room.
import { keyOf } from "../core/names.js";
import { EMOJI, QUICK } from "../model/emoji.js";
import { plain } from "../model/markdown.js";
import { clean, counted, fullTimeText, sentence, spanText, timeParts } from "../model/text.js";
import { avatar, colourClass } from "./avatar.js";
import { append, h, hiddenText, icon, iconButton } from "./dom.js";
import { fileCard } from "./file_card.js";
import { richText } from "./rich_text.js";

/**
 * @typedef {import("../model/timeline.js").Item} Item
 * @typedef {import("../model/chat.js").Chat} Chat
 * @typedef {import("../io/store.js").Waiting} Waiting
 * @typedef {{reply: (item: Item) => void, edit: (item: Item) => void, remove: (item: Item) => void,
 *   react: (item: Item, emoji: string) => void, pin: (item: Item) => void, jump: (seq: number) => void,
 *   again: (message: Waiting) => void, discard: (message: Waiting) => void,
 *   cancel: (message: Waiting) => void}} Actions
 */

/** @param {Chat} chat @param {string[]} mentions the members that the servers found in the text */
function people(chat, mentions) {
  const known = new Set(mentions.map(keyOf));
  return {
    isMe: (/** @type {string} */ name) => chat.isMentioned([name]),
    isKnown: (/** @type {string} */ name) => known.has(keyOf(name)),
  };
}

/**
 * @param {Item} item
 * @param {{chat: Chat, actions: Actions, isContinued: boolean, isEditing: boolean, pins: number[]}} context
 */
export function messageNode(item, { chat, actions, isContinued, isEditing, pins }) {
  const isOwn = keyOf(item.author) === keyOf(chat.me);
  const isPinned = pins.includes(item.seq);
  const name = clean(item.displayName ?? item.author);
  const isForMe = chat.isMentioned(item.mentions) && !isOwn;
  const classes = ["message", isContinued && "continued", isForMe && "for-me", isPinned && "pinned"];
  const article = h(
    "article",
    { class: classes.filter(Boolean).join(" "), "data-seq": item.seq, tabIndex: -1 },
    avatar(item.author),
    h(
      "div",
      { class: "message-main" },
      header(name, item.author, item.at, isPinned),
      item.replyTo !== null && replyLine(item.replyTo, chat, actions),
      isEditing ? editor(item) : body(item, chat),
      item.file && !item.deleted && fileCard(item.file, chat),
      item.reactions.size > 0 && reactions(item, chat, actions),
    ),
  );
  if (!item.deleted && !isEditing) {
    article.appendChild(toolbar(item, { actions, chat, isOwn, isPinned }));
  }
  return article;
}

/** @param {string} shown @param {string} author @param {number} at */
function header(shown, author, at, isPinned = false) {
  return h(
    "div",
    { class: "message-head" },
    h("bdi", { class: `author ${colourClass(author)}` }, shown),
    keyOf(shown) !== keyOf(author) && h("span", { class: "tag" }, ` via ${author}`),
    " ",
    timeNode(at),
    isPinned && h("span", { class: "tag" }, icon("pin"), "pinned"),
    " ",
  );
}

/** @param {number} at */
function timeNode(at) {
  const [time, half] = timeParts(at);
  return h(
    "time",
    { datetime: new Date(at).toISOString(), title: fullTimeText(at) },
    time,
    half && h("span", { class: "half-day" }, half),
  );
}

/** @param {Item} item @param {Chat} chat */
function body(item, chat) {
  if (item.deleted) return h("p", { class: "message-text gone" }, "This message was deleted.");
  // A file without words has its name as its text.
  if (item.file && item.body === item.file.name) return null;
  const text = h("div", { class: "message-text" }, richText(item.body, people(chat, item.mentions)));
  if (item.edited) text.appendChild(h("span", { class: "edited" }, " (edited)"));
  return text;
}

/** @param {Item} item */
function editor(item) {
  return h(
    "div",
    { class: "editor" },
    h("textarea", { "aria-label": "Edit message", dir: "auto", rows: 2, value: item.body }),
    h("p", { class: "help" }, "Enter saves, Escape leaves it as it was."),
  );
}

/** @param {number} seq @param {Chat} chat @param {Actions} actions */
function replyLine(seq, chat, actions) {
  const original = chat.timeline(chat.current ?? "")?.bySeq.get(seq);
  const said = !original
    ? "an earlier message"
    : original.deleted
    ? "a deleted message"
    : plain(original.body, 140);
  return h(
    "button",
    { type: "button", class: "reply-line", onclick: () => actions.jump(seq), tabIndex: -1 },
    hiddenText("in answer to "),
    original && h("bdi", { class: "reply-author" }, `${original.author}`),
    original && " ",
    h("bdi", {}, said),
  );
}

/** @param {Item} item @param {Chat} chat @param {Actions} actions */
function reactions(item, chat, actions) {
  const chips = [...item.reactions].map(([emoji, names]) => {
    const isMine = [...names].some((name) => keyOf(name) === keyOf(chat.me));
    return h(
      "button",
      {
        type: "button",
        class: "reaction",
        disabled: !chat.may(chat.info(chat.current ?? ""), "React"),
        "aria-pressed": String(isMine),
        title: [...names].join(", "),
        tabIndex: -1,
        onclick: () => actions.react(item, emoji),
      },
      `${emoji} ${names.size}`,
    );
  });
  return h("div", { class: "reactions" }, ...chips);
}

/**
 * @param {Item} item
 * @param {{actions: Actions, chat: Chat, isOwn: boolean, isPinned: boolean}} context
 */
function toolbar(item, { actions, chat, isOwn, isPinned }) {
  const room = chat.info(chat.current ?? "");
  const bar = h("div", { class: "actions", role: "group", "aria-label": "Actions" });
  const react = iconButton("react", "React", {
    tabIndex: -1,
    "aria-expanded": "false",
    onclick: () => togglePicker(bar, react, (emoji) => actions.react(item, emoji)),
  });
  const button = (
    /** @type {Parameters<typeof iconButton>[0]} */ sign,
    /** @type {string} */ name,
    /** @type {(item: Item) => void} */ act,
  ) => iconButton(sign, name, { tabIndex: -1, onclick: () => act(item) });
  append(bar, [
    chat.may(room, "Say") && button("reply", "Reply", actions.reply),
    chat.may(room, "React") && react,
    isOwn && chat.may(room, "Edit") && button("edit", "Edit", actions.edit),
    chat.may(room, "Pin") && button("pin", isPinned ? "Unpin" : "Pin", actions.pin),
    chat.may(room, isOwn ? "DeleteOwn" : "DeleteOthers") && button("trash", "Delete", actions.remove),
  ]);
  return bar;
}

/**
 * @param {HTMLElement} bar
 * @param {HTMLButtonElement} opener
 * @param {(emoji: string) => void} choose
 */
function togglePicker(bar, opener, choose) {
  const open = bar.querySelector(".picker");
  const close = () => {
    bar.querySelector(".picker")?.remove();
    opener.setAttribute("aria-expanded", "false");
  };
  if (open) return close();
  const button = (/** @type {string} */ emoji, /** @type {string} */ title = "") =>
    h("button", {
      type: "button",
      class: "emoji",
      title: title || null,
      onclick: () => {
        close();
        opener.focus();
        choose(emoji);
      },
    }, emoji);
  const buttons = QUICK.map((emoji) => button(emoji));
  const picker = h(
    "div",
    {
      class: "picker",
      role: "group",
      "aria-label": "Reactions",
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        close();
        opener.focus();
      },
    },
    ...buttons,
    iconButton("plus", "More emoji", {
      onclick: () => {
        const all = EMOJI.map(([name, emoji]) => button(emoji, name));
        picker.classList.add("all");
        picker.replaceChildren(...all);
        place(picker);
        all[0].focus();
      },
    }),
  );
  bar.appendChild(picker);
  place(picker);
  opener.setAttribute("aria-expanded", "true");
  buttons[0].focus();
}

/** Below the last messages in view there is no room for it. @param {HTMLElement} picker */
function place(picker) {
  const log = picker.closest(".log")?.getBoundingClientRect();
  const bar = picker.parentElement?.getBoundingClientRect();
  if (!log || !bar) return;
  const height = picker.offsetHeight;
  picker.classList.toggle("above", bar.bottom + height > log.bottom && bar.top - height > log.top);
}

/**
 * A message that has no place yet.
 * @param {Waiting} message
 * @param {{chat: Chat, actions: Actions, isContinued: boolean}} context
 */
export function waitingNode(message, { chat, actions, isContinued }) {
  const { failed } = message;
  const part = chat.outbox.progress.get(message.id);
  const isUploading = message.blob && part !== undefined;
  const said = chat.status.phase === "up" ? "pending" : "pending: waiting for a server";
  const name = clean(message.fileName ?? "");
  return h(
    "article",
    { class: `message waiting${isContinued ? " continued" : ""}${failed ? " failed" : ""}`, tabIndex: -1 },
    avatar(chat.me),
    h(
      "div",
      { class: "message-main" },
      header(chat.me, chat.me, message.createdAt),
      message.body !== message.fileName &&
        h("div", { class: "message-text" }, richText(message.body, people(chat, []))),
      message.fileName && h("p", { class: "file-name" }, icon("file"), h("bdi", {}, name)),
      isUploading && h("progress", { max: 1, value: part, "aria-label": `Upload of ${name}` }),
      failed
        ? h(
          "p",
          { class: "state problem" },
          `failed: ${sentence(failed.reason)} `,
          h(
            "button",
            { type: "button", class: "small", onclick: () => actions.again(message) },
            "Send again",
          ),
          " ",
          h("button", { type: "button", class: "small", onclick: () => actions.discard(message) }, "Discard"),
        )
        : h(
          "p",
          { class: "state" },
          icon("clock"),
          said,
          message.blob &&
            h(
              "button",
              { type: "button", class: "small", onclick: () => actions.cancel(message) },
              "Cancel the upload",
            ),
        ),
    ),
  );
}

/** What a line tells of an event that is no message; null: nothing. @param {Item} item */
function told({ kind, author, event }) {
  const who = event.username ?? "";
  const time = event.seconds ? ` for ${spanText(event.seconds)}` : "";
  switch (kind) {
    case "joined":
      return `${author} joined`;
    case "left":
      return `${author} left`;
    case "topic":
      return event.topic ? `${author} set the topic: ${clean(event.topic)}` : `${author} took the topic away`;
    case "invited":
      return `${author} invited ${who}`;
    case "uninvited":
      return `${author} took back the invitation of ${who}`;
    case "kicked":
      return `${author} removed ${who}`;
    case "banned":
      return `${author} banned ${who}${time}`;
    case "unbanned":
      return `${author} lifted the ban of ${who}`;
    case "muted":
      return `${author} muted ${who}${time}`;
    case "unmuted":
      return `${author} let ${who} speak again`;
    case "role":
      return `${who} is ${event.role} now`;
    case "settings":
      return `${author} changed the settings of the room`;
    case "renamed":
      return `${author} named the room ${event.name}`;
    default:
      return null;
  }
}

/** How many of those who have come are named. */
const NAMED = 4;

/** @param {Item[]} came */
function toldOfAll(came) {
  const names = [...new Set(came.map((item) => item.author))];
  const named = names.length > NAMED + 1 ? names.slice(0, NAMED) : names;
  const more = names.length - named.length;
  const last = more > 0 ? counted(more, "other") : named.pop();
  return `${named.length ? `${named.join(", ")} and ` : ""}${last} joined`;
}

/** @param {Item[]} items one, or some who have joined one after the other */
export function eventNode(items) {
  const item = items[items.length - 1];
  const text = items.length > 1 ? toldOfAll(items) : told(item);
  if (text === null) return null;
  return h(
    "p",
    { class: "event-line", "data-seq": item.seq },
    h("bdi", {}, text),
    " ",
    timeNode(item.at),
  );
}
