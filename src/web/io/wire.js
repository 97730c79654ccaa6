// The state of core/client.js under a WebSocket, a clock and a timer.
import { ClientState } from "../core/client.js";
import { sentence } from "../model/text.js";

/**
 * @typedef {import("../core/client.js").Input} Input
 * @typedef {import("../core/client.js").Update} Update
 * @typedef {import("../core/client.js").Refusal} Refusal
 * @typedef {Record<string, any>} Data
 */

/** How late a timer may be before lines that arrived meanwhile are read first. */
const LATE_MS = 300;
/** How long an answer is waited for, servers changing included. */
const ASK_MS = 15_000;

/** What a server refused. */
export class RefusedError extends Error {
  /** @param {Refusal} refusal */
  constructor(refusal) {
    super(sentence(refusal.reason || refusal.code));
    this.code = refusal.code;
    this.retryAfterMs = refusal.retry_after_ms ?? 0;
  }
}

export class Wire {
  /**
   * @param {ConstructorParameters<typeof ClientState>[0]} config
   * @param {(update: Update) => void} onUpdate
   * @param {(isOpen: boolean) => void} [onSocket] a connection is there, or gone
   */
  constructor(config, onUpdate, onSocket = () => {}) {
    this.state = new ClientState(config);
    this.onUpdate = onUpdate;
    this.onSocket = onSocket;
    /** @type {WebSocket|null} */
    this.socket = null;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
    this.closed = false;
    this.nextTag = 1;
    /** @type {Map<number, {resolve: (data: Data) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
  }

  /** @param {Input} input */
  input(input) {
    if (this.closed) return;
    this.state.handle(performance.now(), input);
    for (let output = this.state.pollOutput(); output; output = this.state.pollOutput()) {
      switch (output.type) {
        case "connect":
          this.#connect(output.address);
          break;
        case "disconnect":
          this.#disconnect();
          break;
        case "write":
          this.socket?.send(output.text);
          break;
        case "update":
          this.#update(output.update);
          break;
      }
    }
    this.#setTimer();
  }

  /**
   * Asks a server, and the next one if it is lost.
   * @param {string} msgType
   * @param {Data} data
   * @param {{again?: boolean, slow?: boolean}} [how] `again`: harmless when asked twice
   * @returns {Promise<Data>}
   */
  ask(msgType, data, { again = true, slow = false } = {}) {
    const tag = this.nextTag++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(tag);
        this.input({ type: "cancel", tag });
        reject(new RefusedError({ code: "unavailable", reason: "No server has answered; try again." }));
      }, ASK_MS);
      const done = () => clearTimeout(timer);
      this.waiting.set(tag, {
        resolve: (answer) => (done(), resolve(answer)),
        reject: (error) => (done(), reject(error)),
      });
      this.input({ type: "ask", tag, msgType, data, again, slow });
    });
  }

  /** Ends it for good. */
  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.#disconnect();
  }

  /** @param {Update} update */
  #update(update) {
    if (update.type === "answered" || update.type === "askRefused") {
      const waiting = this.waiting.get(update.tag);
      this.waiting.delete(update.tag);
      if (update.type === "answered") waiting?.resolve(update.data);
      else waiting?.reject(new RefusedError(update.refusal));
      return;
    }
    this.onUpdate(update);
  }

  /** @param {import("../core/directory.js").Address} address */
  #connect(address) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const host = address.host.includes(":") && !address.host.startsWith("[")
      ? `[${address.host}]`
      : address.host;
    /** @type {WebSocket} */
    let socket;
    try {
      socket = new WebSocket(`${scheme}://${host}:${address.port}/ws`);
    } catch (error) {
      queueMicrotask(() => this.input({ type: "connectFailed", reason: String(error) }));
      return;
    }
    let isOpen = false;
    this.socket = socket;
    socket.onopen = () => {
      isOpen = true;
      this.onSocket(true);
      this.input({ type: "connected" });
    };
    socket.onmessage = (message) => this.input({ type: "received", text: message.data });
    socket.onclose = () => {
      if (this.socket === socket) this.socket = null;
      this.onSocket(false);
      if (isOpen) this.input({ type: "disconnected", reason: "the connection was lost" });
      else this.input({ type: "connectFailed", reason: "it cannot be reached" });
    };
  }

  #disconnect() {
    const { socket } = this;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    if (!this.closed) this.onSocket(false);
  }

  #setTimer() {
    clearTimeout(this.timer);
    const dueMs = this.state.nextTimeoutMs();
    if (this.closed || dueMs === Infinity) return;
    this.timer = setTimeout(() => {
      const isLate = performance.now() - dueMs > LATE_MS;
      if (isLate) this.timer = setTimeout(() => this.input({ type: "timeout" }), 50);
      else this.input({ type: "timeout" });
    }, Math.max(0, dueMs - performance.now()));
  }
}
