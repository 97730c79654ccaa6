// The list at the left: rooms and direct conversations, with their unread messages.
import { keyOf, partner } from "../core/names.js";
import { counted } from "../model/text.js";
import { h, hiddenText, icon } from "./dom.js";
import { Keyed } from "./keyed.js";
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
    this.sections = [section("Rooms", "rooms-head"), section("Direct", "direct-head")];
    const list = h(
      "div",
      { class: "rooms-list" },
      ...this.sections.flatMap(({ head, list }) => [head, list]),
    );
    this.element = h(
      "nav",
      { class: "rooms", "aria-label": "Rooms" },
      list,
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
    const all = chat.listed().map((info) => this.#entry(info));
    // A direct conversation that has no message yet is only here.
    const current = chat.current;
    if (current?.startsWith("@") && !chat.info(current)) all.push(this.#newDirect(current));
    for (const [at, { head, list, entries }] of this.sections.entries()) {
      const shown = all.filter(({ key }) => key.startsWith("@") === (at === 1));
      head.hidden = list.hidden = shown.length === 0;
      entries.draw(shown);
    }
  }

  /** @param {import("../model/chat.js").RoomInfo} info @returns {import("./keyed.js").Wanted} */
  #entry(info) {
    const { chat } = this;
    const other = partner(info.name, chat.me);
    const isCurrent = keyOf(info.name) === keyOf(chat.current ?? "");
    const isQuiet = isMuted(info.name);
    const presence = other !== null ? chat.presenceOf(other) : "";
    const { name, isPrivate, invited, mentions, unread } = info;
    const mark = JSON.stringify([name, isCurrent, isQuiet, presence, isPrivate, invited, mentions, unread]);
    const sign = () =>
      other !== null
        ? h("span", { class: `dot ${presence}`, "aria-hidden": "true" })
        : icon(isPrivate ? "lock" : "hash");
    const make = () =>
      h(
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
          sign(),
          h("bdi", { class: "room-name" }, other !== null ? `@${other}` : info.name),
          info.invited && h("span", { class: "badge quiet-badge" }, " invited"),
          info.mentions > 0 && badge(info.mentions, counted(info.mentions, "mention"), "mention-badge", "@"),
          info.unread > 0 && badge(info.unread, `${info.unread} unread`, isQuiet ? "quiet-badge" : ""),
        ),
      );
    return { key: keyOf(name), mark, make };
  }

  /** @param {string} name @returns {import("./keyed.js").Wanted} */
  #newDirect(name) {
    const title = `@${partner(name, this.chat.me)}`;
    const presence = this.chat.presenceOf(title.slice(1));
    const make = () =>
      h(
        "li",
        {},
        h(
          "a",
          { href: hrefOf(name), class: "room-link", "aria-current": "page" },
          h("span", { class: `dot ${presence}`, "aria-hidden": "true" }),
          h("bdi", { class: "room-name" }, title),
        ),
      );
    return { key: keyOf(name), mark: `new ${presence}`, make };
  }
}

/** @param {string} title @param {string} id */
function section(title, id) {
  const list = h("ul", { "aria-labelledby": id, hidden: true });
  return { head: h("h2", { id, hidden: true }, title), list, entries: new Keyed(list) };
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
