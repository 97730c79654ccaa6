// The list at the left: rooms and direct conversations, with their unread messages.
import { keyOf, partner } from "../core/names.js";
import { counted } from "../model/text.js";
import { fill, h, hiddenText, icon } from "./dom.js";
import { isMuted } from "./preferences.js";
import { hrefOf } from "./route.js";

/** @typedef {import("../model/chat.js").Chat} Chat */

export class RoomsPane {
  /**
   * @param {Chat} chat
   * @param {{onJoin: () => void}} actions
   */
  constructor(chat, { onJoin }) {
    this.chat = chat;
    this.list = h("div", { class: "rooms-list" });
    this.element = h(
      "nav",
      { class: "rooms", "aria-label": "Rooms" },
      this.list,
      h("button", { type: "button", class: "quiet wide", onclick: onJoin }, icon("plus"), "Join or create"),
    );
    chat.on("rooms", () => this.render());
    chat.on("room", () => this.render());
    this.scheduled = false;
    this.#draw();
  }

  render() {
    if (this.scheduled) return;
    this.scheduled = true;
    setTimeout(() => {
      this.scheduled = false;
      this.#draw();
    }, 60);
  }

  #draw() {
    const { chat } = this;
    const listed = chat.listed();
    // A direct conversation that has no message yet is only here.
    const current = chat.current;
    const isNew = current?.startsWith("@") && !chat.info(current);
    const rooms = listed.filter((info) => !info.name.startsWith("@"));
    const direct = listed.filter((info) => info.name.startsWith("@"));
    const focused = document.activeElement instanceof HTMLElement
      ? document.activeElement.dataset.room
      : null;
    fill(
      this.list,
      rooms.length > 0 && h("h2", { id: "rooms-head" }, "Rooms"),
      rooms.length > 0 &&
        h("ul", { "aria-labelledby": "rooms-head" }, ...rooms.map((info) => this.#entry(info))),
      (direct.length > 0 || isNew) && h("h2", { id: "direct-head" }, "Direct"),
      (direct.length > 0 || isNew) &&
        h(
          "ul",
          { "aria-labelledby": "direct-head" },
          ...direct.map((info) => this.#entry(info)),
          isNew && current !== null && this.#newDirect(current),
        ),
    );
    if (focused) {
      const again = [...this.list.querySelectorAll("a")].find((link) => link.dataset.room === focused);
      again?.focus();
    }
  }

  /** @param {import("../model/chat.js").RoomInfo} info */
  #entry(info) {
    const { chat } = this;
    const other = partner(info.name, chat.me);
    const isCurrent = keyOf(info.name) === keyOf(chat.current ?? "");
    const isQuiet = isMuted(info.name);
    const sign = other !== null
      ? h("span", { class: `dot ${chat.presenceOf(other)}`, "aria-hidden": "true" })
      : icon(info.isPrivate ? "lock" : "hash");
    return h(
      "li",
      {},
      h(
        "a",
        {
          href: hrefOf(info.name),
          class: `room-link${info.unread ? " unread" : ""}${isQuiet ? " muted" : ""}`,
          "aria-current": isCurrent ? "page" : null,
          "data-room": info.name,
        },
        sign,
        h("bdi", { class: "room-name" }, other !== null ? `@${other}` : info.name),
        info.invited && h("span", { class: "badge quiet-badge" }, " invited"),
        info.mentions > 0 && badge(info.mentions, counted(info.mentions, "mention"), "mention-badge", "@"),
        info.unread > 0 && badge(info.unread, `${info.unread} unread`, isQuiet ? "quiet-badge" : ""),
      ),
    );
  }

  /** @param {string} name */
  #newDirect(name) {
    const title = `@${partner(name, this.chat.me)}`;
    return h(
      "li",
      {},
      h(
        "a",
        { href: hrefOf(name), class: "room-link", "aria-current": "page" },
        h("span", { class: `dot ${this.chat.presenceOf(title.slice(1))}`, "aria-hidden": "true" }),
        h("bdi", { class: "room-name" }, title),
      ),
    );
  }
}

/** @param {number} count @param {string} said @param {string} kind */
function badge(count, said, kind, sign = "") {
  const shown = count > 99 ? "99+" : String(count);
  return h(
    "span",
    { class: `badge ${kind}` },
    h("span", { "aria-hidden": "true" }, sign + shown),
    hiddenText(` ${said} `),
  );
}
