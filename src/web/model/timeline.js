// The loaded part of a room: a window of events without a hole, changed by edits, deletions and reactions. It
// is bounded; what leaves it at one end can be loaded again.

/**
 * @typedef {object} Item
 * @property {number} seq
 * @property {string} kind
 * @property {string} author
 * @property {number} at milliseconds since 1970
 * @property {string} body
 * @property {number|null} replyTo
 * @property {{file_id: string, name: string, size: number, content_type?: string}|null} file
 * @property {boolean} edited
 * @property {boolean} deleted
 * @property {Map<string, Set<string>>} reactions names by emoji
 * @property {string[]} mentions
 * @property {string|null} clientMsgId
 * @property {string|null} displayName
 * @property {Record<string, any>} event as it came
 * @property {number} revision grows with every change
 *
 * @typedef {Record<string, any>} Event
 */

/** So many events are kept; a window that grows over it loses a third at its other end. */
export const KEPT = 600;

/** Kinds that change other messages and show nothing of their own. */
const CHANGES = new Set(["edited", "deleted", "reaction", "pinned", "unpinned"]);

/** @param {Event} event @returns {Item} */
export function itemOf(event) {
  const reactions = new Map();
  for (const [emoji, names] of Object.entries(event.reactions ?? {})) reactions.set(emoji, new Set(names));
  return {
    seq: event.seq,
    kind: event.kind,
    author: event.author,
    at: (event.created_at ?? 0) * 1000,
    body: event.body ?? "",
    replyTo: event.reply_to ?? null,
    file: event.file ?? null,
    edited: Boolean(event.edited),
    deleted: Boolean(event.deleted),
    reactions,
    mentions: event.mentions ?? [],
    clientMsgId: event.client_msg_id ?? null,
    displayName: event.display_name ?? null,
    event,
    revision: 0,
  };
}

export class Timeline {
  constructor() {
    /** @type {Item[]} By `seq`. */
    this.items = [];
    /** @type {Map<number, Item>} */
    this.bySeq = new Map();
    /** The window: the places of its first and last event; empty if `hi < lo`. */
    this.lo = 1;
    this.hi = 0;
    /** The first event that the room has not forgotten, and the last that is known of. */
    this.first = 1;
    this.last = 0;
    /** @type {number[]} The pinned messages, the newest pin first. */
    this.pins = [];
    /** Grows with every change. */
    this.revision = 0;
  }

  get isEmpty() {
    return this.hi < this.lo;
  }

  /** Whether the window ends with the newest event. */
  get isAtEnd() {
    return this.hi >= this.last;
  }

  get isAtStart() {
    return this.lo <= this.first || (this.isEmpty && this.last === 0);
  }

  /**
   * Replaces the window by these events.
   * @param {Event[]} events
   */
  replace(events) {
    this.items = [];
    this.bySeq.clear();
    this.lo = events.length ? events[0].seq : this.last + 1;
    this.hi = this.lo - 1;
    this.append(events);
  }

  /**
   * The window is what was kept of an earlier one, which ended with `end`.
   * @param {Event[]} events without those that only changed others
   * @param {number} end
   */
  restore(events, end) {
    this.items = events.map(itemOf);
    this.bySeq = new Map(this.items.map((item) => [item.seq, item]));
    this.lo = events[0].seq;
    this.hi = end;
    this.last = Math.max(this.last, end);
    this.revision++;
  }

  /** @param {Event[]} events newer ones, right behind the window */
  append(events) {
    for (const event of events) {
      if (event.seq !== this.hi + 1) continue;
      this.hi = event.seq;
      this.last = Math.max(this.last, event.seq);
      this.#insert(event, this.items.length);
    }
    this.revision++;
  }

  /** @param {Event[]} events older ones, right before the window */
  prepend(events) {
    for (const event of events.toReversed()) {
      if (event.seq !== this.lo - 1) continue;
      this.lo = event.seq;
      this.#insert(event, 0);
    }
    this.revision++;
  }

  /**
   * An event that has just happened. It is shown if the window ends with the newest event; its effect on
   * messages in the window is shown in any case.
   * @param {Event} event
   */
  happened(event) {
    const fits = this.hi === event.seq - 1;
    // Events that the server has forgotten in between are no hole.
    if (!fits && this.isAtEnd && event.seq > this.hi) this.replace([]);
    this.last = Math.max(this.last, event.seq);
    if (fits || this.isEmpty) {
      if (this.isEmpty) this.lo = event.seq;
      this.hi = event.seq;
      this.#insert(event, this.items.length);
    }
    this.#apply(event);
    this.revision++;
  }

  /** Gives up the oldest that is too much. @returns {boolean} whether anything went */
  trimStart() {
    if (this.items.length <= KEPT) return false;
    const gone = this.items.splice(0, this.items.length - Math.floor((KEPT * 2) / 3));
    for (const item of gone) this.bySeq.delete(item.seq);
    this.lo = this.items[0].seq;
    this.revision++;
    return true;
  }

  /** Gives up the newest that is too much; the window does not end with the newest event any more. */
  trimEnd() {
    if (this.items.length <= KEPT) return false;
    const gone = this.items.splice(Math.floor((KEPT * 2) / 3));
    for (const item of gone) this.bySeq.delete(item.seq);
    this.hi = this.items[this.items.length - 1].seq;
    this.revision++;
    return true;
  }

  /** @param {string} clientMsgId @param {string} author */
  hasOwn(clientMsgId, author) {
    for (let at = this.items.length - 1; at >= 0; at--) {
      const item = this.items[at];
      if (item.clientMsgId === clientMsgId && item.author.toLowerCase() === author.toLowerCase()) return true;
    }
    return false;
  }

  /** The events of the window, as they would come from a server now. */
  toEvents() {
    return this.items.map((item) => ({
      ...item.event,
      body: item.body,
      edited: item.edited,
      deleted: item.deleted,
      reactions: Object.fromEntries([...item.reactions].map(([emoji, names]) => [emoji, [...names]])),
    }));
  }

  /** @param {Event} event @param {number} at */
  #insert(event, at) {
    if (CHANGES.has(event.kind)) return;
    const item = itemOf(event);
    this.items.splice(at, 0, item);
    this.bySeq.set(item.seq, item);
  }

  /** @param {Event} event */
  #apply(event) {
    const item = this.bySeq.get(event.target);
    if (event.kind === "pinned" || event.kind === "unpinned") {
      this.pins = this.pins.filter((seq) => seq !== event.target);
      if (event.kind === "pinned") this.pins.unshift(event.target);
    }
    if (!item) return;
    switch (event.kind) {
      case "edited":
        // Only the newest edit carries its text.
        if (event.body !== undefined && event.body !== null) item.body = event.body;
        item.edited = true;
        break;
      case "deleted":
        item.deleted = true;
        item.body = "";
        item.file = null;
        item.reactions.clear();
        break;
      case "reaction": {
        const names = item.reactions.get(event.emoji) ?? new Set();
        if (event.remove) names.delete(event.author);
        else names.add(event.author);
        if (names.size) item.reactions.set(event.emoji, names);
        else item.reactions.delete(event.emoji);
        break;
      }
    }
    item.revision++;
  }
}
