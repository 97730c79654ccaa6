// The dashboard as it is shown.
import { hostForPage } from "../core/directory.js";
import { fill, h } from "../ui/dom.js";
import { chart } from "./chart.js";
import { CAUSES, clock, count, milliseconds, rate, size } from "./format.js";
import { ring } from "./ring.js";
import { serversTable } from "./servers_table.js";

/** @typedef {import("./board.js").View} View @typedef {import("./board.js").Warning} Warning */

/** The head of the page. @param {View} view */
function summary(view) {
  const heard = view.servers.filter((row) => row.role !== "OFFLINE").length;
  const worst = view.warnings[0]?.level ?? "good";
  const words = view.warnings.length === 0
    ? "All is well"
    : worst === "critical"
    ? "Nobody can write"
    : "It works, and needs a look";
  return h(
    "p",
    { class: `verdict ${worst}`, role: "status", "aria-label": "Verdict" },
    h("strong", {}, words),
    ` ${heard} of ${view.servers.length} servers, `,
    view.leader_id ? `${view.leader_id} leads in term ${view.term}` : `no leader in term ${view.term}`,
  );
}

/** The head of the page while the server that it asks says nothing. */
function nothingKnown() {
  return h(
    "p",
    { class: "verdict unknown", role: "status", "aria-label": "Verdict" },
    h("strong", {}, "How the cluster is now is not known here"),
  );
}

/**
 * The same page of the other servers.
 * @param {View} view
 * @param {{protocol: string, hostname: string}} place
 */
export function otherPages(view, { protocol, hostname }) {
  return view.servers.filter((row) => row.server_id !== view.server_id).map((row) => {
    const host = hostForPage(row.host, hostname);
    const named = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    return { server: row.server_id, href: `${protocol}//${named}:${row.port}/dashboard` };
  });
}

/** @param {Warning[]} warnings */
function warningList(warnings) {
  if (warnings.length === 0) return [h("p", { class: "quiet" }, "None.")];
  return [
    h(
      "ul",
      { class: "warnings" },
      ...warnings.map((warning) =>
        h("li", { class: warning.level }, h("strong", {}, warning.text), " ", warning.advice)
      ),
    ),
  ];
}

/** @param {View} view */
function elections(view) {
  if (view.elections.length === 0) return h("p", { class: "quiet" }, "None since this server started.");
  return h(
    "table",
    { "aria-label": "Elections" },
    h(
      "thead",
      {},
      h("tr", {}, ...["Time", "Term", "Leader", "Why"].map((name) => h("th", { scope: "col" }, name))),
    ),
    h(
      "tbody",
      {},
      ...view.elections.slice(0, 8).map((election) =>
        h(
          "tr",
          {},
          h("td", {}, clock(election.at_ms)),
          h("td", {}, count(election.term)),
          h("td", {}, election.leader_id),
          h("td", {}, CAUSES[election.cause ?? ""] ?? "not told yet"),
        )
      ),
    ),
  );
}

/** @param {View} view */
function charts(view) {
  const servers = view.servers.map((row) => row.server_id);
  const shared = { servers, samples: view.samples, now_ms: view.now_ms };
  return [
    chart({ ...shared, title: "Messages a second", value: (point) => point.messages_per_s, show: rate }),
    chart({ ...shared, title: "Commit time", value: (point) => point.commit_ms, show: milliseconds }),
    chart({ ...shared, title: "Clients", value: (point) => point.clients, show: count }),
    chart({ ...shared, title: "Memory", value: (point) => point.memory_bytes, show: size }),
  ];
}

export class Page {
  /** @param {{onLogOut: (() => void)|null}} options */
  constructor({ onLogOut }) {
    this.title = h("h1", {}, "SyncNet cluster");
    this.summary = h("div", {});
    this.trouble = h("p", { class: "trouble", role: "status", "aria-label": "Connection" });
    this.warnings = h("div", {});
    this.servers = sideways("All columns of the servers");
    this.ring = h("div", {});
    this.elections = sideways("All columns of the elections");
    this.charts = h("div", { class: "charts" });
    /** @type {View|null} What the server said last. */
    this.view = null;
    this.element = h(
      "div",
      { class: "dashboard" },
      h(
        "header",
        {},
        this.title,
        h(
          "nav",
          { "aria-label": "Pages" },
          h("a", { href: "/" }, "Chat"),
          onLogOut && h("button", { type: "button", onclick: onLogOut }, "Log out"),
        ),
      ),
      h(
        "main",
        {},
        this.summary,
        this.trouble,
        h("section", { "aria-label": "Warnings", class: "card" }, h("h2", {}, "Warnings"), this.warnings),
        h(
          "section",
          { "aria-labelledby": "servers", class: "card" },
          h("h2", { id: "servers" }, "Servers"),
          this.servers,
        ),
        h(
          "div",
          { class: "pair" },
          h(
            "section",
            { "aria-labelledby": "ring", class: "card" },
            h("h2", { id: "ring" }, "Ring"),
            this.ring,
          ),
          h(
            "section",
            { "aria-labelledby": "elections", class: "card" },
            h("h2", { id: "elections" }, "Elections"),
            this.elections,
          ),
        ),
        h("section", { "aria-labelledby": "hour" }, h("h2", { id: "hour" }, "The last hour"), this.charts),
      ),
    );
  }

  /** Changes only what differs: the focus and what a screen reader reads stay. @param {View} view */
  show(view) {
    this.view = view;
    this.element.classList.remove("stale");
    document.title = `${
      view.warnings.length ? `(${view.warnings.length}) ` : ""
    }${view.cluster_name} – SyncNet cluster`;
    this.title.textContent = `${view.cluster_name}`;
    this.trouble.textContent = "";
    replace(this.summary, summary(view));
    replace(this.warnings, ...warningList(view.warnings));
    replace(this.servers, serversTable(view.servers, view.server_id));
    replace(this.ring, ring(view.servers, view.leader_id));
    replace(this.elections, elections(view));
    replace(this.charts, ...charts(view));
  }

  /** What is shown is not new any more; the other servers may know more. @param {string} words */
  say(words) {
    const { view } = this;
    this.element.classList.add("stale");
    const since = view ? ` What stands here is from ${clock(view.now_ms)}.` : "";
    if (this.trouble.textContent?.startsWith(`${words}${since}`)) return;
    const pages = view ? otherPages(view, location) : [];
    const links = pages.flatMap(({ server, href }) => [" ", h("a", { href }, server)]);
    fill(this.trouble, `${words}${since}`, links.length > 0 && " Ask another one:", ...links);
    if (!view) return;
    document.title = `(?) ${view.cluster_name} – SyncNet cluster`;
    replace(this.summary, nothingKnown());
  }
}

/** A place for what may be wider than a phone: it is scrolled by keyboard too. @param {string} name */
function sideways(name) {
  return h("div", { class: "wide", tabIndex: 0, role: "group", "aria-label": name });
}

/** Replaces the children of `place` if they differ. @param {Element} place @param {...Element} fresh */
function replace(place, ...fresh) {
  const isSame = place.children.length === fresh.length &&
    fresh.every((element, at) => element.isEqualNode(place.children[at]));
  if (!isSame) fill(place, ...fresh);
}
