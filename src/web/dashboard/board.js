// Asks the server for its figures once a second, and keeps older samples.
//
// No DOM: what is shown is told to a listener.

const ASK_EVERY_MS = 1_000;
const PATIENCE_MS = 5_000;
/** Samples of an hour. */
const SAMPLES = 360;

/**
 * @typedef {{
 *   server_id: string, host: string, port: number, ring_position: number, role: string,
 *   heartbeat_age_ms: number|null, lag: number|null, term?: number, last_index?: number, commit_index?: number,
 *   applied_index?: number, clients?: number, uptime_ms?: number, messages_per_s?: number,
 *   commits_per_s?: number, commit_ms?: number|null, memory_bytes?: number, data_bytes?: number,
 *   disk_bytes?: number, disk_free_bytes?: number, note?: string, version?: string
 * }} Row
 * @typedef {{messages_per_s: number, commit_ms: number|null, clients: number, memory_bytes: number}} Point
 * @typedef {{at_ms: number, servers: Record<string, Point>}} Sample
 * @typedef {{at_ms: number, term: number, leader_id: string, cause: string|null}} Election
 * @typedef {{level: "critical"|"warning", text: string, advice: string}} Warning
 * @typedef {{
 *   server_id: string, cluster_name: string, now_ms: number, term: number, leader_id: string|null,
 *   servers: Row[], elections: Election[], sample_ms: number, samples: Sample[], warnings: Warning[]
 * }} View
 */

/**
 * Adds new samples to the known ones, and drops those older than an hour.
 * @param {Sample[]} known
 * @param {Sample[]} fresh
 */
export function join(known, fresh) {
  const last = known.at(-1)?.at_ms ?? 0;
  return [...known, ...fresh.filter((sample) => sample.at_ms > last)].slice(-SAMPLES);
}

export class Board {
  /**
   * @param {{
   *   onView: (view: View) => void, onTrouble: (words: string) => void, onClosed: () => void,
   *   ask?: typeof fetch
   * }} options
   */
  constructor({ onView, onTrouble, onClosed, ask = (...words) => fetch(...words) }) {
    this.onView = onView;
    this.onTrouble = onTrouble;
    this.onClosed = onClosed;
    this.ask = ask;
    /** @type {Sample[]} */
    this.samples = [];
    this.timer = 0;
  }

  start() {
    this.look().catch(() => {});
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = -1;
  }

  async look() {
    try {
      const since = this.samples.at(-1)?.at_ms ?? 0;
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const answer = await this.ask(`/dashboard/data?since=${since}`, { signal });
      if (answer.status === 403 || answer.status === 401) return this.onClosed();
      if (!answer.ok) throw new Error(`it says ${answer.status}`);
      /** @type {View} */
      const view = await answer.json();
      this.samples = join(this.samples, view.samples);
      this.onView({ ...view, samples: this.samples });
    } catch (error) {
      const why = error instanceof Error && error.message.startsWith("it says") ? `: ${error.message}` : "";
      this.onTrouble(`This server does not answer${why}.`);
    }
    if (this.timer >= 0) this.timer = setTimeout(() => this.look(), ASK_EVERY_MS);
  }
}
