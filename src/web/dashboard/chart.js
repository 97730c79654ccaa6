// A line for each server, over the last hour or since the server began.
import { h } from "../ui/dom.js";
import { lasting } from "./format.js";
import { s } from "./svg.js";

/** @typedef {import("./board.js").Sample} Sample @typedef {import("./board.js").Point} Point */

const WIDTH = 600;
const HEIGHT = 140;
const HOUR_MS = 3_600_000;
/** The least time that a chart is drawn over. */
const LEAST_MS = 120_000;

/** The least round number that is not below. @param {number} most */
export function ceiling(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return /** @type {number} */ ([1, 2, 5, 10].find((step) => step * power >= most)) * power;
}

/**
 * The points of a server as pieces of a line; the line is broken while the server was not heard.
 * @param {Sample[]} samples
 * @param {(sample: Sample) => number|null|undefined} value
 */
export function pieces(samples, value) {
  /** @type {{at_ms: number, value: number}[][]} */
  const found = [[]];
  for (const sample of samples) {
    const number = value(sample);
    if (number === null || number === undefined) {
      if (found.at(-1)?.length) found.push([]);
    } else found.at(-1)?.push({ at_ms: sample.at_ms, value: number });
  }
  return found.filter((piece) => piece.length > 0);
}

/**
 * @param {{
 *   title: string, servers: string[], samples: Sample[], now_ms: number,
 *   value: (point: Point) => number|null, show: (number: number|null|undefined) => string
 * }} options
 */
export function chart({ title, servers, samples, now_ms, value, show }) {
  /** @param {Sample} sample @param {string} server */
  const of = (sample, server) => sample.servers[server] ? value(sample.servers[server]) : null;
  const all = samples.flatMap((sample) => servers.map((server) => of(sample, server) ?? 0));
  const top = ceiling(Math.max(0, ...all));
  const from = Math.max(now_ms - HOUR_MS, Math.min(samples[0]?.at_ms ?? now_ms, now_ms - LEAST_MS));
  /** @param {number} at_ms */
  const x = (at_ms) => Math.max(0, Math.min(WIDTH, ((at_ms - from) / (now_ms - from)) * WIDTH));
  /** @param {number} number */
  const y = (number) => HEIGHT - (number / top) * (HEIGHT - 8) - 2;
  const lines = servers.flatMap((server, at) =>
    pieces(samples, (sample) => of(sample, server)).map((piece) => {
      const points = piece.map((point) => `${x(point.at_ms).toFixed(1)},${y(point.value).toFixed(1)}`);
      if (points.length === 1) {
        points.push(`${(x(piece[0].at_ms) + 1.5).toFixed(1)},${points[0].split(",")[1]}`);
      }
      return s("polyline", { points: points.join(" "), class: `line line-${at % 6}` });
    })
  );
  const last = samples.at(-1);
  const words = servers.map((server) => `${server} ${show(last ? of(last, server) : null)}`).join(", ");
  const picture = s(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `${title}, last: ${words}`,
      class: "chart",
      preserveAspectRatio: "none",
    },
    s("line", { x1: 0, x2: WIDTH, y1: y(top), y2: y(top), class: "grid" }),
    s("line", { x1: 0, x2: WIDTH, y1: y(top / 2), y2: y(top / 2), class: "grid" }),
    s("line", { x1: 0, x2: WIDTH, y1: y(0), y2: y(0), class: "grid" }),
    ...lines,
  );
  const legend = servers.map((server, at) =>
    h(
      "li",
      {},
      s(
        "svg",
        { viewBox: "0 0 16 4", class: "dash", "aria-hidden": "true" },
        s("line", { x1: 0, x2: 16, y1: 2, y2: 2, class: `line line-${at % 6}` }),
      ),
      `${server} `,
      h("b", {}, show(last ? of(last, server) : null)),
    )
  );
  return h(
    "figure",
    { class: "card" },
    h("figcaption", {}, title, h("span", { class: "top" }, `top: ${show(top)}`)),
    picture,
    h(
      "div",
      { class: "hours", "aria-hidden": "true" },
      h("span", {}, `${lasting(now_ms - from)} ago`),
      h("span", {}, "now"),
    ),
    h("ul", { class: "legend" }, ...legend),
  );
}
