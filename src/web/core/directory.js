// Which servers there are, which one to try next, and how long to wait before that (src/client/directory.rs).
import { BACK_OFF_FIRST_MS, BACK_OFF_MAX_MS, SERVERS_MAX } from "./limits.js";

/**
 * @typedef {{host: string, port: number}} Address
 * @typedef {{server_id: string, host: string, tcp_port: number, alive: boolean, is_leader: boolean, clients?: number}} ServerInfo
 * @typedef {{address: Address, id: string|null, configured: boolean, alive: boolean, clients: number,
 *   tookMs: number|null, tried: boolean}} Known
 */

/** Times of answers that differ by less tell nothing: machines are busy, and networks waver. */
const NEAR_MS = 50;

/** Numbers for jitter: the same seed gives the same ones (mulberry32). */
export class Jitter {
  /** @param {number} seed */
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /**
   * A whole number below `end`, or 0.
   * @param {number} end
   */
  below(end) {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * Math.max(1, end));
  }
}

/** @param {string} host */
function isLoopback(host) {
  return host === "localhost" || host === "::1" || host === "[::1]" || host.startsWith("127.");
}

/** @param {string} host */
function isWildcard(host) {
  return host === "" || host === "0.0.0.0" || host === "::" || host === "[::]";
}

/**
 * The host as the page can reach it: a server that lists itself as "this machine" is on the page's host. The
 * same rule as the server's policy has (src/server/http/origin.rs), which would not allow another host.
 * @param {string} host
 * @param {string} pageHost
 */
export function hostForPage(host, pageHost) {
  return isLoopback(host) || isWildcard(host) ? pageHost : host;
}

/** @param {Address} a @param {Address} b */
export function isSame(a, b) {
  return a.host === b.host && a.port === b.port;
}

/** The known servers, and how far the search for a working one is. */
export class Directory {
  /**
   * @param {{id: string|null, address: Address}[]} configured in the order to try them at first
   * @param {number} seed
   * @param {string} pageHost
   */
  constructor(configured, seed, pageHost) {
    /** @type {Known[]} */
    this.known = [];
    this.jitter = new Jitter(seed);
    this.pageHost = pageHost;
    this.attempts = 0;
    this.everWorked = false;
    for (const { id, address } of configured) this.#add(address, id, true);
  }

  /** @param {string} id */
  addressOf(id) {
    return this.known.find((known) => known.id === id)?.address ?? null;
  }

  /**
   * The server at `address` has said who it is.
   * @param {Address} address
   * @param {string} id
   */
  identify(address, id) {
    this.known = this.known.filter((known) =>
      isSame(known.address, address) || known.configured || known.id !== id
    );
    this.#add(address, id, false);
  }

  /**
   * Replaces what was listed before; what is configured and the server in use stay.
   * @param {ServerInfo[]} servers
   * @param {Address} through
   */
  learn(servers, through) {
    const old = this.known;
    this.known = old.filter((known) => known.configured || isSame(known.address, through));
    for (const server of servers) {
      const same = this.known.find((known) => known.id === server.server_id);
      if (same) {
        same.alive = server.alive;
        same.clients = server.clients ?? 0;
        continue;
      }
      if (!server.tcp_port) continue;
      const address = { host: hostForPage(server.host, this.pageHost), port: server.tcp_port };
      const known = this.#add(address, server.server_id, false);
      if (!known) continue;
      known.alive = server.alive;
      known.clients = server.clients ?? 0;
      const before = old.find((other) => isSame(other.address, address));
      known.tried ||= before?.tried ?? false;
      known.tookMs ??= before?.tookMs ?? null;
    }
  }

  /**
   * The server at `address` was this long about an answer.
   * @param {Address} address
   * @param {number|null} tookMs
   */
  answersIn(address, tookMs) {
    const known = this.known.find((other) => isSame(other.address, address));
    if (known) known.tookMs = tookMs ?? known.tookMs;
  }

  /**
   * The server to try next: of two that are drawn the nearer one, or the one with fewer clients. It counts as tried in this round.
   * @returns {Address|null}
   */
  choose() {
    if (this.roundIsOver()) this.known.forEach((known) => known.tried = false);
    const untried = this.known.filter((known) => !known.tried);
    const alive = untried.filter((known) => known.alive);
    const candidates = alive.length ? alive : untried;
    if (!candidates.length) return null;
    const draw = () => candidates[this.everWorked ? this.jitter.below(candidates.length) : 0];
    const [one, other] = [draw(), draw()];
    const steps = (/** @type {Known} */ known) => Math.floor((known.tookMs ?? 0) / NEAR_MS);
    const isBetter = steps(other) - steps(one) || other.clients - one.clients;
    const chosen = isBetter < 0 ? other : one;
    chosen.tried = true;
    return chosen.address;
  }

  roundIsOver() {
    return this.known.every((known) => known.tried);
  }

  /** Counts an attempt and gives the pause before it. */
  pauseMs() {
    const attempt = this.attempts++;
    if (attempt === 0) return 0;
    const full = Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** Math.min(attempt - 1, 10));
    return full / 2 + this.jitter.below(full / 2 + 1);
  }

  /**
   * The connection to `address` works: the next search starts afresh, with this server last.
   * @param {Address} address
   */
  works(address) {
    this.everWorked = true;
    this.attempts = 0;
    for (const known of this.known) known.tried = isSame(known.address, address);
  }

  /**
   * @param {Address} address
   * @param {string|null} id
   * @param {boolean} configured
   */
  #add(address, id, configured) {
    let known = this.known.find((other) => isSame(other.address, address));
    if (!known) {
      if (this.known.length >= SERVERS_MAX) return null;
      known = { address, id: null, configured: false, alive: true, clients: 0, tookMs: null, tried: false };
      this.known.push(known);
    }
    if (id) known.id = id;
    known.configured ||= configured;
    return known;
  }
}
