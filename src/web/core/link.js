// One connection as the state sees it: what is asked and unanswered, and whether the server is silent
// (src/client/link.rs).
import { ANSWER_MS, IDLE_SILENCE_MS, SILENCE_MS } from "./limits.js";

/**
 * The purpose of a request on its way.
 * @typedef {{kind: "login"|"directory"|"ping"|"chat"} | {kind: "join", room: import("./rooms.js").Room} | {kind: "ask", tag: number}} Pending
 */

export class Link {
  /**
   * @param {import("./directory.js").Address} address
   * @param {number} nowMs
   */
  constructor(address, nowMs) {
    this.address = address;
    /** @type {string|null} Known once logged in. */
    this.serverId = null;
    this.upMs = nowMs;
    this.settled = false;
    /** @type {Map<number, {about: Pending, askedMs: number, slow: boolean}>} In the order of asking. */
    this.pending = new Map();
    this.heardMs = nowMs;
    /** @type {number|null} */
    this.pingedMs = null;
    /** @type {number|null} How long the last answer took to a request that needs nothing but the server itself. */
    this.tookMs = null;
  }

  /**
   * @param {number} requestId
   * @param {Pending} about
   * @param {number} nowMs
   * @param {boolean} slow the server says nothing meanwhile, since it hashes a password
   */
  asked(requestId, about, nowMs, slow = false) {
    if (about.kind === "ping") this.pingedMs = nowMs;
    this.pending.set(requestId, { about, askedMs: nowMs, slow });
  }

  /** @param {number} requestId */
  answered(requestId) {
    const pending = this.pending.get(requestId);
    this.pending.delete(requestId);
    if (pending && ["ping", "directory"].includes(pending.about.kind)) {
      this.tookMs = Math.max(0, this.heardMs - pending.askedMs);
    }
    return pending?.about ?? null;
  }

  /** @param {number} nowMs */
  heard(nowMs) {
    this.heardMs = nowMs;
    this.pingedMs = null;
  }

  /** Whether the server works on something that takes long. */
  isBusy() {
    return [...this.pending.values()].some((pending) => pending.slow);
  }

  /**
   * @param {number} nowMs
   * @param {number} replyMs the patience after a ping
   * @returns {"fine"|"ask"|"silent"|"overdue"}
   */
  health(nowMs, replyMs) {
    if (this.pingedMs !== null) {
      if (nowMs >= this.pingedMs + replyMs) return "silent";
    } else if (nowMs >= this.#pingAtMs()) {
      return "ask";
    }
    return nowMs >= this.#overdueAtMs() ? "overdue" : "fine";
  }

  /** @param {number} replyMs */
  nextTimeoutMs(replyMs) {
    const silenceMs = this.pingedMs !== null ? this.pingedMs + replyMs : this.#pingAtMs();
    return Math.min(silenceMs, this.#overdueAtMs());
  }

  silentSinceMs() {
    return Math.max(this.heardMs, this.#oldestAskedMs() ?? 0);
  }

  #oldestAskedMs() {
    for (const { about, askedMs } of this.pending.values()) if (about.kind !== "ping") return askedMs;
    return null;
  }

  #pingAtMs() {
    const owes = this.#oldestAskedMs() !== null;
    const silenceMs = this.isBusy() ? ANSWER_MS : owes ? SILENCE_MS : IDLE_SILENCE_MS;
    return this.silentSinceMs() + silenceMs;
  }

  #overdueAtMs() {
    const oldest = this.#oldestAskedMs();
    return oldest === null ? Infinity : oldest + ANSWER_MS;
  }
}
