// The conversation: a bounded window of messages that follows the newest one, or stays at the reader's place.
import { keyOf, partner } from "../core/names.js";
import { DrawnPart } from "../model/drawn_part.js";
import { dayOf, dayText } from "../model/text.js";
import { h, icon } from "./dom.js";
import { Keyed } from "./keyed.js";
import { eventNode, messageNode, waitingNode } from "./message.js";

/**
 * @typedef {import("../model/chat.js").Chat} Chat
 * @typedef {import("../model/timeline.js").Item} Item
 */

/** So near to an end more is loaded, in pixels. */
const NEAR = 700;
/** A picture that takes no longer than this goes unnoticed. */
const FRAME_MS = 16;
/** After a slower one, so many times as long is left for typing before the next. */
const PAUSE = 2;
/** No row is lower, in pixels. */
const ROW = 24;
/** So many rows more than are in view are drawn in any case, so that there is somewhere to scroll to. */
const SPARE = 8;
/** So near to the bottom the newest message counts as in view. */
const AT_BOTTOM = 48;
/** Messages of one author in so short a time stand together. */
const TOGETHER_MS = 5 * 60_000;

export class MessagesPane {
  /**
   * @param {Chat} chat
   * @param {import("./message.js").Actions & {save: (item: Item, text: string) => void}} actions
   */
  constructor(chat, actions) {
    this.chat = chat;
    this.actions = actions;
    this.log = h("div", { class: "log", role: "log", "aria-label": "Messages", tabIndex: 0 });
    this.toEnd = h(
      "button",
      {
        type: "button",
        class: "to-end",
        hidden: true,
        onclick: () => this.goToEnd(),
      },
      icon("down"),
      "Newest messages",
    );
    this.element = h("div", { class: "log-frame" }, this.log, this.toEnd);
    this.rows = new Keyed(this.log, takeAttention);
    this.part = new DrawnPart();
    /** At which ends the next picture has more of the loaded events. */
    this.grows = { older: false, newer: false };
    /** @type {number|"unread"|"end"|null} The place to go to once it is loaded. */
    this.goal = "unread";
    this.editing = 0;
    this.isEditorNew = false;
    this.wasAtBottom = false;
    /** The first seq whose message has the keyboard's attention. */
    this.focusedSeq = 0;
    /** @type {HTMLElement|undefined} The one message that the Tab key reaches. */
    this.reachable = undefined;
    this.scheduled = false;
    /** The next picture comes no sooner. */
    this.drawsAgainAt = 0;
    this.isLoading = false;
    /** The last known position of the log: only a reader who scrolls up stops following. */
    this.lastTop = 0;
    this.log.addEventListener("scroll", () => this.#readerScrolled(), { passive: true });
    this.log.addEventListener("keydown", (event) => this.#key(event));
    this.log.addEventListener("focusin", (event) => this.#focused(event));
    guardFromTouch(this.log);
    new ResizeObserver(() => this.chat.isAtBottom && this.goal === null && this.#toBottom()).observe(
      this.log,
    );
    chat.on("timeline", (room) => keyOf(room) === keyOf(chat.current ?? "") && this.render());
    chat.on("pending", () => this.render());
    addEventListener("focus", () => this.#read());
    document.addEventListener("visibilitychange", () => this.#read());
  }

  /** Another room is open, or one of its messages is to be looked at. @param {number} [seq] */
  show(seq = 0) {
    this.goal = seq || "unread";
    this.editing = 0;
    this.isEditorNew = this.wasAtBottom = false;
    this.rows.clear();
    this.part = new DrawnPart();
    this.chat.isAtBottom = true;
    this.render();
  }

  render() {
    if (this.scheduled) return;
    this.scheduled = true;
    const draw = () =>
      requestAnimationFrame((began) => {
        this.scheduled = false;
        this.#draw();
        // With what the browser does for the picture afterwards.
        afterPaint(() => {
          const tookMs = performance.now() - began;
          if (tookMs > FRAME_MS) this.drawsAgainAt = performance.now() + PAUSE * tookMs;
        });
      });
    const pause = this.drawsAgainAt - performance.now();
    if (pause > 0) setTimeout(draw, pause);
    else draw();
  }

  /** @param {number} seq */
  async jumpTo(seq) {
    const room = this.chat.current;
    const timeline = room && this.chat.timeline(room);
    if (!room || !timeline) return;
    if (!timeline.bySeq.has(seq)) await this.chat.showAround(room, seq);
    const isKept = timeline.bySeq.has(seq);
    if (!isKept) this.chat.emit("notice", { text: "That message is not kept any more.", isError: true });
    this.goal = isKept ? seq : "end";
    this.render();
  }

  async goToEnd() {
    const room = this.chat.current;
    if (!room) return;
    this.goal = "end";
    await this.chat.showEnd(room);
    this.render();
  }

  /** @param {Item} item */
  edit(item) {
    this.editing = item.seq;
    this.isEditorNew = true;
    this.render();
  }

  /** The editor has just been drawn. */
  #beginEdit() {
    const field = this.log.querySelector("textarea");
    if (!field) return;
    this.isEditorNew = false;
    const grow = () => {
      field.style.height = "auto";
      field.style.height = `${Math.min(field.scrollHeight + 2, innerHeight * 0.5)}px`;
    };
    field.addEventListener("input", grow);
    grow();
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
    field.scrollIntoView({ block: "nearest" });
    // The message may be far above the newest one; afterwards the reader is back where they were.
    this.wasAtBottom = this.chat.isAtBottom;
    this.chat.isAtBottom = this.#below() < AT_BOTTOM;
  }

  /** @param {number} direction pages up or down */
  page(direction) {
    this.log.scrollBy({ top: direction * this.log.clientHeight * 0.85 });
  }

  #toBottom() {
    this.log.scrollTop = this.log.scrollHeight;
  }

  /**
   * Chooses the part of the loaded events that is drawn.
   * @param {Item[]} items
   */
  #choosePart(items) {
    const { chat, part, grows } = this;
    this.grows = { older: false, newer: false };
    const place = this.#goalPlace(items);
    if (place >= 0) return part.around(items, place);
    const isFollowing = this.editing === 0 && (this.goal === null ? chat.isAtBottom : true);
    if (!isFollowing) return part.stay(items, grows);
    const screen = Math.ceil(this.log.clientHeight / ROW) + SPARE;
    if (part.follow(items, screen)) this.render();
  }

  /** The place of the event that is to be in view; -1 if that is the newest. @param {Item[]} items */
  #goalPlace(items) {
    const { chat, goal } = this;
    if (this.editing > 0) return items.findIndex((item) => item.seq === this.editing);
    if (goal === "unread" && chat.unreadFrom > 0) return items.findIndex((item) => this.#isUnread(item));
    return typeof goal === "number" ? items.findIndex((item) => item.seq === goal) : -1;
  }

  /** Whether the line of unread messages stands above it. @param {Item} item */
  #isUnread(item) {
    return item.seq >= this.chat.unreadFrom && keyOf(item.author) !== keyOf(this.chat.me);
  }

  /** What is to be shown, from top to bottom. */
  #wanted() {
    const { chat, actions } = this;
    const room = chat.current ?? "";
    const timeline = chat.timeline(room);
    /** @type {import("./keyed.js").Wanted[]} */
    const wanted = [];
    if (!timeline) return wanted;
    const { pins, items } = timeline;
    this.#choosePart(items);
    const { from, to, isFromStart, isToEnd } = this.part;
    const now = Date.now();
    const info = chat.info(room);
    /** What is offered with a message depends on it. */
    const rights = info ? `${info.role} ${info.archived} ${info.isPrivate}` : "";
    if (timeline.isEmpty && !info) {
      const isDirect = partner(room, chat.me) !== null;
      const make = () => isDirect ? startNode(room, chat.me) : enteringNode(room);
      wanted.push({ key: "begin", mark: room, make });
    }
    if (timeline.isAtStart && !timeline.isEmpty && isFromStart) {
      wanted.push({ key: "start", mark: room, make: () => startNode(room, chat.me) });
    }
    /** What stands above the part: a row looks the same wherever the part begins. @type {Item|undefined} */
    const above = items[from - 1];
    let day = above ? dayOf(above.at) : 0;
    /** @type {{author: string, at: number}|null} */
    let before = above?.kind === "message" ? above : null;
    let isUnreadShown = chat.unreadFrom === 0 || items.slice(0, from).some((item) => this.#isUnread(item));
    /** Those who have come one after the other stand in one line. @type {Item[]} */
    let came = [];
    for (const item of items.slice(from, to)) {
      const itemDay = dayOf(item.at);
      if (itemDay !== day) {
        const text = dayText(item.at, now);
        wanted.push({ key: `day ${itemDay}`, mark: text, make: () => lineNode("day", text) });
        day = itemDay;
        before = null;
        came = [];
      }
      if (!isUnreadShown && this.#isUnread(item)) {
        wanted.push({ key: "unread", mark: "", make: () => lineNode("unread-line", "New") });
        isUnreadShown = true;
        before = null;
        came = [];
      }
      if (item.kind !== "message") {
        // The two of a direct conversation were always in it.
        if (item.kind === "joined" && room.startsWith("@")) continue;
        before = null;
        came = item.kind === "joined" ? [...came, item] : [];
        if (came.length > 1) wanted.pop();
        const all = came.length ? came : [item];
        wanted.push({ key: String(all[0].seq), mark: String(all.length), make: () => eventNode(all) });
        continue;
      }
      came = [];
      const isContinued = before !== null && before.author === item.author &&
        item.at - before.at < TOGETHER_MS &&
        item.replyTo === null;
      const isEditing = this.editing === item.seq && !item.deleted;
      // What is typed into it stays, whatever happens to the message meanwhile.
      const mark = isEditing
        ? "edited"
        : `${item.revision} ${isContinued} ${pins.includes(item.seq)} ${rights} ${answered(item, timeline)}`;
      wanted.push({
        key: String(item.seq),
        mark,
        make: () => messageNode(item, { chat, actions, isContinued, isEditing, pins }),
      });
      before = item;
    }
    if (isToEnd && (timeline.isAtEnd || timeline.isEmpty)) {
      for (const message of chat.waiting(room)) {
        const isContinued = before !== null && keyOf(before.author) === keyOf(chat.me);
        const part = chat.outbox.progress.get(message.id) ?? 0;
        const mark = `${message.failed?.reason} ${isContinued} ${chat.status.phase} ${part}`;
        wanted.push({
          key: `waiting ${message.id}`,
          mark,
          make: () => waitingNode(message, { chat, actions, isContinued }),
        });
        before = { author: chat.me, at: message.createdAt };
      }
    }
    return wanted;
  }

  #draw() {
    const { chat, log } = this;
    const isFollowing = chat.isAtBottom;
    const anchor = isFollowing ? null : this.#anchor();
    this.rows.draw(this.#wanted());
    this.#restoreTab();
    const timeline = chat.timeline(chat.current ?? "");
    if (this.goal !== null && timeline && (!timeline.isEmpty || this.rows.rows.size > 0)) this.#reach();
    else if (isFollowing) this.#toBottom();
    else if (anchor) log.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
    if (this.isEditorNew) this.#beginEdit();
    this.#looked();
    // Late layout, such as of the first emoji, must not push the newest message out of view.
    if (chat.isAtBottom) requestAnimationFrame(() => this.chat.isAtBottom && this.#toBottom());
  }

  /** The first message in view, and where it stands. */
  #anchor() {
    const top = this.log.getBoundingClientRect().top;
    for (const child of this.log.children) {
      const box = child.getBoundingClientRect();
      if (box.bottom > top && /** @type {HTMLElement} */ (child).dataset.seq) {
        return { node: child, top: box.top };
      }
    }
    return null;
  }

  /** Goes to the wanted place. */
  #reach() {
    const { log, chat, goal } = this;
    if (goal === "end") {
      this.#toBottom();
      chat.isAtBottom = true;
    } else if (goal === "unread") {
      const line = this.rows.node("unread");
      chat.isAtBottom = !line && Boolean(chat.timeline(chat.current ?? "")?.isAtEnd);
      if (line) log.scrollTop = Math.max(0, line.offsetTop - log.clientHeight / 4);
      else this.#toBottom();
    } else {
      const node = this.rows.node(String(goal));
      if (!node) return;
      chat.isAtBottom = false;
      log.scrollTop = Math.max(0, node.offsetTop - log.clientHeight / 3);
      node.classList.add("found");
      setTimeout(() => node.classList.remove("found"), 2_500);
      node.focus({ preventScroll: true });
    }
    this.goal = null;
  }

  /** The log was scrolled, by the reader or by the page. */
  #readerScrolled() {
    if (this.goal !== null) return;
    const isUp = this.log.scrollTop < this.lastTop - 1;
    if (isUp && this.#below() >= AT_BOTTOM && this.chat.isAtBottom) {
      this.chat.isAtBottom = false;
      this.render();
    }
    this.#looked();
  }

  /** How much of the log is below what is in view, in pixels. */
  #below() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight;
  }

  /** Takes note of what is in view now: what is read, and whether more is to be loaded. */
  #looked() {
    const { log, chat } = this;
    this.lastTop = log.scrollTop;
    if (this.goal !== null) return;
    const room = chat.current ?? "";
    const timeline = chat.timeline(room);
    if (!timeline) return;
    const below = this.#below();
    const { part } = this;
    if (!timeline.isAtEnd || !part.isToEnd) chat.isAtBottom = false;
    else if (below < AT_BOTTOM) chat.isAtBottom = true;
    this.toEnd.hidden = chat.isAtBottom || below < log.clientHeight / 2 && timeline.isAtEnd && part.isToEnd;
    this.#read();
    const [isNearTop, isNearEnd] = [log.scrollTop < NEAR, below < NEAR];
    this.grows = {
      older: isNearTop && !part.isFromStart,
      newer: isNearEnd && !part.isToEnd,
    };
    if (!chat.isAtBottom && (this.grows.older || this.grows.newer)) this.render();
    if (this.isLoading || timeline.isEmpty) return;
    const load = isNearTop && part.isFromStart && !timeline.isAtStart
      ? chat.loadOlder(room)
      : isNearEnd && part.isToEnd && !timeline.isAtEnd
      ? chat.loadNewer(room)
      : null;
    if (!load) return;
    this.isLoading = true;
    load.finally(() => this.isLoading = false);
  }

  /** Marks what is in view as read, if the page has the focus. */
  #read() {
    const { chat, log } = this;
    if (document.hidden || !document.hasFocus() || this.goal !== null || !log.isConnected) return;
    const room = chat.current ?? "";
    const timeline = chat.timeline(room);
    if (!timeline || timeline.isEmpty) return;
    if (chat.isAtBottom) return chat.readUpTo(room, timeline.last);
    const bottom = log.getBoundingClientRect().bottom;
    for (let node = log.lastElementChild; node; node = node.previousElementSibling) {
      const seq = Number(/** @type {HTMLElement} */ (node).dataset.seq ?? 0);
      if (seq && node.getBoundingClientRect().bottom <= bottom) return chat.readUpTo(room, seq);
    }
  }

  // --- the keyboard
  // ------------------------------------------------------------------------------------------

  #messages() {
    return /** @type {HTMLElement[]} */ ([...this.log.querySelectorAll("article")]);
  }

  /** One message can be reached with the Tab key: the one that had the focus last, or the newest. */
  #restoreTab() {
    const nodes = this.#messages();
    const one = nodes.find((node) => Number(node.dataset.seq) === this.focusedSeq) ?? nodes[nodes.length - 1];
    if (one) this.#makeReachable(one);
  }

  /** @param {HTMLElement} article */
  #makeReachable(article) {
    if (this.reachable === article) return;
    for (
      const [node, tab]
        of /** @type {[HTMLElement|undefined, number][]} */ ([[this.reachable, -1], [article, 0]])
    ) {
      if (!node) continue;
      node.tabIndex = tab;
      for (const button of node.querySelectorAll("button")) button.tabIndex = tab;
    }
    this.reachable = article;
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const article = /** @type {HTMLElement} */ (event.target).closest("article");
    if (!(article instanceof HTMLElement)) return;
    this.focusedSeq = Number(article.dataset.seq ?? 0);
    this.#makeReachable(article);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (target instanceof HTMLTextAreaElement) return this.#editorKey(event, target);
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const nodes = this.#messages();
    const at = nodes.findIndex((node) => node.contains(target));
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step && nodes.length) {
      event.preventDefault();
      const next = at < 0 ? nodes.length - 1 : Math.min(nodes.length - 1, Math.max(0, at + step));
      nodes[next].focus();
      return;
    }
    if (at < 0 || target !== nodes[at]) return;
    const item = this.chat.timeline(this.chat.current ?? "")?.bySeq.get(Number(nodes[at].dataset.seq));
    if (!item || item.deleted) return;
    const isOwn = keyOf(item.author) === keyOf(this.chat.me);
    const room = this.chat.info(this.chat.current ?? "");
    /** @type {{[key: string]: [import("../model/rights.js").Permission, (item: Item) => void]}} */
    const acts = { r: ["Say", this.actions.reply], p: ["Pin", this.actions.pin] };
    if (isOwn) acts.e = ["Edit", this.actions.edit];
    const [permission, act] = acts[event.key] ?? [];
    if (permission && this.chat.may(room, permission)) {
      event.preventDefault();
      act?.(item);
    }
  }

  /** @param {KeyboardEvent} event @param {HTMLTextAreaElement} field */
  #editorKey(event, field) {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      this.#endEdit();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      const item = this.chat.timeline(this.chat.current ?? "")?.bySeq.get(this.editing);
      const text = field.value.trim();
      if (item && text && text !== item.body) this.actions.save(item, text);
      this.#endEdit();
    }
  }

  #endEdit() {
    this.editing = 0;
    if (this.wasAtBottom) this.goal = "end";
    this.wasAtBottom = false;
    this.render();
    this.log.dispatchEvent(new CustomEvent("leave", { bubbles: true }));
  }
}

/** Once the browser has painted the frame. @param {() => void} then */
function afterPaint(then) {
  const channel = new MessageChannel();
  channel.port1.onmessage = then;
  channel.port2.postMessage(null);
}

/**
 * A finger that shows the buttons of a message does not press the one that appears under it.
 * @param {HTMLElement} log
 */
function guardFromTouch(log) {
  /** @type {Element|null} */
  let unseen = null;
  log.addEventListener("pointerdown", (event) => {
    const bar = event.target instanceof Element ? event.target.closest(".actions") : null;
    const isShown = bar !== null && getComputedStyle(bar).opacity !== "0";
    unseen = event.pointerType === "touch" && !isShown ? bar : null;
  }, { capture: true });
  log.addEventListener("click", (event) => {
    if (unseen === null || !(event.target instanceof Node) || !unseen.contains(event.target)) return;
    event.preventDefault();
    event.stopPropagation();
    unseen.closest("article")?.focus();
    unseen = null;
  }, { capture: true });
}

/**
 * A message is drawn anew: a picker that is open stays so, and the keyboard stays where it was.
 * @param {HTMLElement} old
 * @param {HTMLElement} fresh
 * @returns {(() => void)|null} puts the focus back once `fresh` is in its place
 */
function takeAttention(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const bar = old.querySelector(".actions:has(.picker)");
  if (bar) fresh.querySelector(".actions")?.replaceWith(bar);
  // An editor takes the focus itself.
  if (!(focused instanceof HTMLElement) || fresh.querySelector("textarea")) return null;
  const name = nameOf(focused);
  const buttons = [...fresh.querySelectorAll("button")];
  const place = fresh.contains(focused)
    ? focused
    : buttons.find((button) => nameOf(button) === name) ?? fresh;
  return () => place.focus({ preventScroll: true });
}

/** @param {Element} button */
function nameOf(button) {
  return button.getAttribute("aria-label") ?? button.textContent;
}

/** @param {string} kind @param {string} text */
function lineNode(kind, text) {
  return h("div", { class: `line ${kind}`, role: "separator", "aria-label": text }, h("span", {}, text));
}

/**
 * What a message shows of the one that it answers changes with that.
 * @param {Item} item
 * @param {import("../model/timeline.js").Timeline} timeline
 */
function answered(item, timeline) {
  return item.replyTo === null ? "" : timeline.bySeq.get(item.replyTo)?.revision ?? "unknown";
}

/** Until a server has let the user in. @param {string} room */
function enteringNode(room) {
  return h("p", { class: "start-line" }, `Entering ${room}…`);
}

/** @param {string} room @param {string} me */
function startNode(room, me) {
  const other = partner(room, me);
  const text = other === null
    ? `This is the beginning of ${room}.`
    : `This is the beginning of your conversation with ${other}.`;
  return h("p", { class: "start-line" }, text);
}
