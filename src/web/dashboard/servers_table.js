// A row for each server.
import { h } from "../ui/dom.js";
import { count, lasting, milliseconds, rate, size } from "./format.js";

/** @typedef {import("./board.js").Row} Row */

/** @type {[string, (row: Row) => string][]} */
const COLUMNS = [
  ["Term", (row) => count(row.term)],
  ["Applied", (row) => count(row.applied_index)],
  ["Lag", (row) => count(row.lag)],
  ["Clients", (row) => count(row.clients)],
  ["Messages/s", (row) => rate(row.messages_per_s)],
  ["Commits/s", (row) => rate(row.commits_per_s)],
  ["Commit time", (row) => milliseconds(row.commit_ms)],
  ["Heartbeat", (row) => milliseconds(row.heartbeat_age_ms)],
  ["Memory", (row) => size(row.memory_bytes)],
  ["Data", (row) => size(row.data_bytes)],
  ["Disk free", (row) => size(row.disk_free_bytes)],
  ["Up", (row) => (row.uptime_ms === undefined ? "–" : lasting(row.uptime_ms))],
];

/** @param {Row[]} servers @param {string} asked the server that tells all this */
export function serversTable(servers, asked) {
  const rows = servers.map((row) =>
    h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        row.server_id,
        row.server_id === asked && h("span", { class: "here" }, "this one"),
      ),
      h("td", {}, h("span", { class: `role ${row.role.toLowerCase()}` }, row.role)),
      ...COLUMNS.map(([, show]) => h("td", { class: "number" }, show(row))),
    )
  );
  return h(
    "table",
    { "aria-label": "Servers" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "Server"),
        h("th", { scope: "col" }, "Role"),
        ...COLUMNS.map(([name]) => h("th", { scope: "col", class: "number" }, name)),
      ),
    ),
    h("tbody", {}, ...rows),
  );
}
