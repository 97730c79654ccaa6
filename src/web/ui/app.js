// The page after the login: its parts, and what connects them.
import { keyOf, partner, renamedTo, roomTitle } from "../core/names.js";
import { plain } from "../model/markdown.js";
import { clean } from "../model/text.js";
import { avatar } from "./avatar.js";
import { Composer } from "./composer.js";
import { confirm } from "./dialog.js";
import { append, fill, h, icon, iconButton } from "./dom.js";
import { joinDialog } from "./join_dialog.js";
import { keyListener, keysDialog } from "./keys.js";
import { inviteDialog, MembersPane } from "./members_pane.js";
import { MessagesPane } from "./messages_pane.js";
import { notice } from "./notices.js";
import { moveRoom, read, write } from "./preferences.js";
import { pinsDialog, roomDialog } from "./room_dialog.js";
import { RoomsPane } from "./rooms_pane.js";
import { hrefOf, routeOf } from "./route.js";
import { SearchPane } from "./search_pane.js";
import { settingsDialog } from "./settings_dialog.js";
import { statusLine } from "./status_line.js";
import { switcher } from "./switcher.js";
import { takeDrops } from "./drops.js";

/** @typedef {import("../model/chat.js").Chat} Chat */

/** Whether people stand beside the conversation; else they lie above it (css/layout.css). */
const wide = matchMedia("(width > 62rem)");

/** What stands beside a conversation while nothing is searched. */
const usualSide = () => wide.matches ? read("side") ?? "members" : "none";

export class App {
  /**
   * @param {Chat} chat
   * @param {{onLogOut: (everywhere: boolean) => void, onToken: (token: string) => void}} actions
   */
  constructor(chat, actions) {
    this.chat = chat;
    this.actions = actions;
    this.stopped = new AbortController();
    this.rooms = new RoomsPane(chat, { onJoin: () => this.#join() });
    this.messages = new MessagesPane(chat, this.#messageActions());
    this.members = new MembersPane(chat, {
      onDirect: (name) => this.go(chat.directTo(name)),
      onMention: (name) => this.composer.mention(name),
    });
    /** @type {SearchPane} */
    this.search = new SearchPane(chat, {
      onOpen: () => this.element.dataset.side = "search",
      onClose: () => this.#showUsualSide(),
    });
    this.composer = new Composer(chat, {
      onEditLast: () => this.#editLast(),
      onPage: (direction) => this.messages.page(direction),
      onEnd: () => this.messages.goToEnd(),
    });
    this.head = h("header", { class: "room-head" });
    this.typing = h("p", { class: "typing", "aria-live": "off" });
    this.conversation = h("div", { class: "conversation" });
    this.main = h("main", {}, this.conversation);
    /** @type {HTMLElement} */
    this.element = this.#layout();
    this.opened = "";
    /** The state of presence that the servers were told. */
    this.said = "online";
    /** What the head shows, so that it is only drawn anew when that changes. */
    this.headMark = "";
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.awayTimer = undefined;
    this.#connect();
    this.#draw();
    this.#follow();
  }

  stop() {
    this.stopped.abort();
  }

  /** @param {string} room @param {number} [seq] */
  go(room, seq) {
    const href = hrefOf(room, seq);
    if (location.hash === href) this.#follow();
    else location.hash = href;
  }

  #layout() {
    return h(
      "div",
      { class: "app", "data-side": usualSide(), "data-view": "list" },
      h(
        "div",
        { class: "sidebar" },
        h(
          "header",
          { class: "brand" },
          h("span", { class: "brand-name" }, "SyncNet"),
          iconButton("settings", "Settings", {
            onclick: () => settingsDialog(this.chat, { ...this.actions, onKeys: keysDialog }),
          }),
        ),
        h("div", { class: "search-box", role: "search" }, icon("search"), this.search.input),
        this.rooms.element,
        h("div", { class: "me" }, avatar(this.chat.me), h("bdi", {}, this.chat.me)),
      ),
      this.main,
      this.members.element,
      this.search.element,
      h("footer", { class: "foot" }, statusLine(this.chat)),
    );
  }

  #connect() {
    const { chat } = this;
    const { signal } = this.stopped;
    chat.on("room", () => this.#draw());
    chat.on("rooms", () => this.#drawHead());
    chat.on("renamed", (renamed) => this.#renamed(renamed));
    chat.on("typing", () => this.#drawTyping());
    chat.on("timeline", () => this.#drawHead());
    chat.on("notice", notice);
    addEventListener("hashchange", () => this.#follow(), { signal });
    // A link to what is open changes no address; on a phone the list may cover the room.
    this.element.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a") : null;
      if (link && link.getAttribute("href") === location.hash) this.#follow();
    });
    wide.addEventListener("change", () => this.search.element.hidden && this.#showUsualSide(), { signal });
    // What lies above the conversation goes when that is touched.
    this.main.addEventListener("pointerdown", (event) => {
      const isHead = event.target instanceof Node && this.head.contains(event.target);
      if (!wide.matches && !isHead) this.#foldSide();
    });
    addEventListener("online", () => chat.wire.input({ type: "hurry" }), { signal });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) chat.wire.input({ type: "hurry" });
      this.#presence(document.hidden);
    }, { signal });
    this.element.addEventListener("leave", () => this.composer.focus());
    takeDrops(this.main, signal, (files) => chat.current !== null && this.composer.attach(files));
    addEventListener(
      "keydown",
      keyListener({
        nextUnread: () => {
          const next = chat.nextByPriority();
          if (next) this.go(next.name);
        },
        nth: (place) => {
          const info = chat.listed()[place];
          if (info) this.go(info.name);
        },
        step: (direction) => this.#step(direction),
        switcher: () => switcher(chat, (room) => this.go(room)),
        search: () => {
          this.search.input.focus();
          this.search.input.select();
        },
        help: keysDialog,
        escape: () => {
          this.search.close();
          if (!wide.matches) this.#foldSide();
          this.composer.focus();
        },
      }),
      { signal },
    );
  }

  /** A user who has not looked for some minutes is away. @param {boolean} isHidden */
  #presence(isHidden) {
    clearTimeout(this.awayTimer);
    const say = (/** @type {string} */ state) => {
      if (this.said === state) return;
      this.said = state;
      this.chat.wire.ask("set_presence", { state }).catch(() => {});
    };
    if (isHidden) this.awayTimer = setTimeout(() => say("away"), 3 * 60_000);
    else if (this.said === "away") say("online");
  }

  /** Opens what the address names. */
  #follow() {
    const route = routeOf(location.hash);
    if (!route) {
      const last = read("room");
      this.element.dataset.view = "list";
      if (last && innerWidth > 700 && location.hash === "") this.go(last);
      return;
    }
    this.#open(route.room, route.seq);
  }

  /** @param {string} room @param {number} seq @param {Record<string, unknown>} [extra] */
  async #open(room, seq, extra) {
    this.element.dataset.view = "room";
    if (!wide.matches) this.#foldSide();
    const isOpen = keyOf(this.chat.current ?? "") === keyOf(room);
    if (!isOpen) {
      write("room", room);
      this.opened = room;
      const opening = this.chat.open(room, extra);
      this.messages.show(seq);
      this.composer.show(room);
      if (matchMedia("(pointer: fine)").matches) this.composer.focus();
      await opening;
    }
    if (seq) this.messages.jumpTo(seq);
  }

  /** @param {import("../core/rooms.js").Renamed} renamed */
  #renamed(renamed) {
    moveRoom(renamed);
    this.composer.rename(renamed);
    this.opened = renamedTo(renamed, this.opened) ?? this.opened;
    // Neither a reload nor a room that is about to be opened may look for the old name, which may be another's.
    const route = routeOf(location.hash);
    const name = route && renamedTo(renamed, route.room);
    if (name) history.replaceState(null, "", hrefOf(name, route.seq));
  }

  /** What is gone is not opened again by a reload, which would make a new room of its name. */
  #forget() {
    if (keyOf(read("room") ?? "") === keyOf(this.opened)) write("room", null);
    if (keyOf(routeOf(location.hash)?.room ?? "") === keyOf(this.opened)) {
      history.replaceState(null, "", "#/");
    }
    this.opened = "";
  }

  /** @param {number} direction */
  #step(direction) {
    const listed = this.chat.listed();
    const at = listed.findIndex((info) => keyOf(info.name) === keyOf(this.chat.current ?? ""));
    const next = listed[(at + direction + listed.length) % listed.length];
    if (next) this.go(next.name);
  }

  #join() {
    joinDialog(this.chat, (room, extra = {}) => {
      if (Object.keys(extra).length > 0) this.#open(room, 0, extra);
      this.go(room);
    });
  }

  /** @returns {ConstructorParameters<typeof MessagesPane>[1]} */
  #messageActions() {
    const { chat } = this;
    return {
      reply: (item) => this.composer.reply(item),
      edit: (item) => this.messages.edit(item),
      save: (item, body) => chat.change("edit", item.seq, { body }),
      remove: (item) => {
        confirm(
          "Delete this message?",
          plain(item.body, 200),
          "Delete",
          () => chat.change("delete", item.seq),
        );
      },
      react: (item, emoji) => {
        const mine = [...(item.reactions.get(emoji) ?? [])].some((name) => keyOf(name) === keyOf(chat.me));
        chat.change("react", item.seq, { emoji, remove: mine || undefined });
      },
      pin: (item) => {
        const isPinned = chat.timeline(chat.current ?? "")?.pins.includes(item.seq);
        chat.change(isPinned ? "unpin" : "pin", item.seq);
      },
      jump: (seq) => this.messages.jumpTo(seq),
      again: (message) => chat.outbox.again(message),
      cancel: (message) => chat.outbox.cancel(message),
      discard: (message) => chat.outbox.discard(message),
    };
  }

  #editLast() {
    const items = this.chat.timeline(this.chat.current ?? "")?.items ?? [];
    if (!this.chat.may(this.chat.info(this.chat.current ?? ""), "Edit")) return;
    const own = items.findLast((item) =>
      item.kind === "message" && !item.deleted && keyOf(item.author) === keyOf(this.chat.me)
    );
    if (own) this.messages.edit(own);
  }

  #draw() {
    const { chat } = this;
    if (!chat.current) {
      if (this.opened) this.#forget();
      if (this.conversation.dataset.shows !== "welcome") this.#welcome();
      return;
    }
    if (this.conversation.dataset.shows !== "room") {
      fill(this.conversation, this.head, this.messages.element, this.typing, this.composer.element);
      this.conversation.dataset.shows = "room";
    }
    this.#drawHead();
    this.#drawTyping();
  }

  #welcome() {
    this.conversation.dataset.shows = "welcome";
    this.element.dataset.view = "list";
    fill(
      this.conversation,
      h(
        "div",
        { class: "welcome" },
        h("h1", {}, `Hello, ${this.chat.me}`),
        h("p", {}, "Rooms and direct conversations stand at the left."),
        h("button", { type: "button", class: "primary", onclick: () => this.#join() }, "Find a room"),
        h("p", { class: "help" }, "Ctrl+K goes to a room or a person. ? shows all keys."),
        h(
          "p",
          { class: "help" },
          "What is sent here is on the disks of most servers before it counts as sent.",
        ),
      ),
    );
  }

  #drawHead() {
    const { chat } = this;
    const room = chat.current;
    if (!room) return;
    const info = chat.info(room);
    const other = partner(room, chat.me);
    const pins = chat.timeline(room)?.pins.length ?? 0;
    const hasNews = chat.hasNewsElsewhere();
    const mark = JSON.stringify([
      room,
      hasNews,
      info?.topic,
      info?.isPrivate,
      info?.role,
      info?.archived,
      pins,
      other && chat.presenceOf(other),
      info !== null,
    ]);
    if (this.headMark === mark) return;
    this.headMark = mark;
    const focused =
      document.activeElement instanceof HTMLElement && this.head.contains(document.activeElement)
        ? document.activeElement.getAttribute("aria-label")
        : null;
    fill(
      this.head,
      iconButton("menu", hasNews ? "Show rooms, with unread messages" : "Show rooms", {
        class: `icon-button only-narrow${hasNews ? " has-news" : ""}`,
        onclick: () => this.element.dataset.view = "list",
      }),
      h(
        "h1",
        {},
        other === null && icon(info?.isPrivate ? "lock" : "hash"),
        other !== null && h("span", { class: `dot ${chat.presenceOf(other)}`, "aria-hidden": "true" }),
        h("bdi", {}, roomTitle(room, chat.me)),
      ),
      h("p", { class: "topic", dir: "auto", title: clean(info?.topic ?? "") }, clean(info?.topic ?? "")),
    );
    append(this.head, [
      pins > 0 && h(
        "button",
        {
          type: "button",
          class: "small",
          onclick: () => pinsDialog(chat, (seq) => this.messages.jumpTo(seq)),
        },
        icon("pin"),
        `${pins} pinned`,
      ),
      this.chat.may(info, "Invite") &&
      iconButton("invite", "Invite", { onclick: () => inviteDialog(chat) }),
      info !== null && iconButton("info", "About this room", {
        onclick: () => roomDialog(chat, { onChange: () => this.rooms.render() }),
      }),
      iconButton("people", "Show or hide people", { onclick: () => this.#togglePeople() }),
    ]);
    if (focused) {
      /** @type {HTMLElement|null} */ (this.head.querySelector(`[aria-label="${focused}"]`))?.focus();
    }
  }

  #togglePeople() {
    const next = this.element.dataset.side === "members" ? "none" : "members";
    this.element.dataset.side = next;
    if (wide.matches) write("side", next);
  }

  #showUsualSide() {
    this.element.dataset.side = usualSide();
  }

  /** The search keeps its words. */
  #foldSide() {
    this.element.dataset.side = "none";
    this.search.element.hidden = true;
  }

  #drawTyping() {
    const names = this.chat.typers();
    const text = names.length === 0
      ? ""
      : names.length === 1
      ? `${names[0]} is typing…`
      : names.length === 2
      ? `${names[0]} and ${names[1]} are typing…`
      : "Several people are typing…";
    if (this.typing.textContent !== text) this.typing.textContent = text;
  }
}
