// The ring of the servers, with the leader marked.
import { s } from "./svg.js";

/** @typedef {import("./board.js").Row} Row */

const SIZE = 320;
const RADIUS = 100;

/** What a screen reader is told. @param {Row[]} servers @param {string|null} leader */
export function ringText(servers, leader) {
  const away = servers.filter((server) => server.role === "OFFLINE").map((server) => server.server_id);
  const leads = leader ? `${leader} leads` : "no server leads";
  return `Ring: ${leads}${away.length ? `; not heard: ${away.join(", ")}` : ""}`;
}

/** @param {Row[]} servers by ring position @param {string|null} leader */
export function ring(servers, leader) {
  const middle = SIZE / 2;
  const places = servers.map((_, at) => {
    const angle = (at / servers.length) * 2 * Math.PI - Math.PI / 2;
    return { x: middle + RADIUS * Math.cos(angle), y: middle + RADIUS * Math.sin(angle) };
  });
  const nodes = servers.map((server, at) => {
    const { x, y } = places[at];
    const isLeader = server.server_id === leader;
    const kind = isLeader ? "leader" : server.role.toLowerCase();
    const name = server.server_id.length > 12 ? `${server.server_id.slice(0, 11)}…` : server.server_id;
    return s(
      "g",
      { class: `node ${kind}` },
      s("circle", { cx: x, cy: y, r: isLeader ? 30 : 24 }),
      s("text", { x, y: y + 5, class: "place" }, String(server.ring_position)),
      s("text", { x, y: y + (isLeader ? 48 : 42), class: "name" }, name),
      ...(isLeader ? [s("text", { x, y: y - 36, class: "crown" }, "leads")] : []),
    );
  });
  return s(
    "svg",
    { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": ringText(servers, leader), class: "ring" },
    s("circle", { cx: middle, cy: middle, r: RADIUS, class: "track" }),
    ...nodes,
  );
}
