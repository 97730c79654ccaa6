// What the dashboard shows of the server's figures.
import { Board, join } from "../dashboard/board.js";
import { ceiling, pieces } from "../dashboard/chart.js";
import { count, lasting, milliseconds, rate, size } from "../dashboard/format.js";
import { otherPages } from "../dashboard/page.js";
import { ringText } from "../dashboard/ring.js";
import { assertEquals } from "./assert.js";

Deno.test("numbers are written as people read them", () => {
  assertEquals([count(12345), count(null), rate(0), rate(0.25), rate(41.6)], [
    "12,345",
    "–",
    "0",
    "0.3",
    "42",
  ]);
  assertEquals([size(0), size(900), size(1536), size(5 * 2 ** 30)], ["–", "900 B", "1.5 KiB", "5.0 GiB"]);
  assertEquals([milliseconds(0.25), milliseconds(41.6), milliseconds(2500)], ["0.3 ms", "42 ms", "2.5 s"]);
  assertEquals([lasting(59_000), lasting(3_540_000), lasting(7_200_000), lasting(260_000_000)], [
    "59 s",
    "59 min",
    "2 h",
    "3 days",
  ]);
});

Deno.test("a scale ends at a round number", () => {
  assertEquals([0, 0.3, 1, 1.1, 4, 6, 99, 100, 101].map(ceiling), [1, 0.5, 1, 2, 5, 10, 100, 100, 200]);
});

/** @param {number} at_ms @param {number} [clients] @returns {import("../dashboard/board.js").Sample} */
const sample = (at_ms, clients) => ({
  at_ms,
  servers: clients === undefined
    ? {}
    : { a: { messages_per_s: 0, commit_ms: null, clients, memory_bytes: 0 } },
});

Deno.test("a line is broken where a server was not heard", () => {
  const samples = [sample(1, 5), sample(2, 6), sample(3), sample(4), sample(5, 7), sample(6)];
  const found = pieces(samples, (one) => one.servers.a?.clients);
  assertEquals(found, [[{ at_ms: 1, value: 5 }, { at_ms: 2, value: 6 }], [{ at_ms: 5, value: 7 }]]);
  assertEquals(pieces([], () => 1), []);
});

Deno.test("an hour of samples is kept, each once", () => {
  let known = join([], [sample(1), sample(2)]);
  known = join(known, [sample(2), sample(3)]);
  assertEquals(known.map((one) => one.at_ms), [1, 2, 3]);
  const many = Array.from({ length: 1000 }, (_, at) => sample(10 + at));
  assertEquals(join(known, many).length, 360);
});

Deno.test("the ring says who leads and who is not heard", () => {
  const row = (/** @type {string} */ server_id, /** @type {string} */ role) => /** @type {any} */ ({
    server_id,
    role,
  });
  assertEquals(ringText([row("a", "LEADER"), row("b", "FOLLOWER")], "a"), "Ring: a leads");
  assertEquals(
    ringText([row("a", "FOLLOWER"), row("b", "OFFLINE")], null),
    "Ring: no server leads; not heard: b",
  );
});

Deno.test("only what is new is asked for, and the door may be shut", async () => {
  /** @type {string[]} */
  const asked = [];
  /** @type {string[]} */
  const heard = [];
  const answers = [
    new Response(JSON.stringify({ samples: [sample(7)] })),
    new Response("", { status: 503 }),
    new Response("", { status: 403 }),
  ];
  const board = new Board({
    onView: (view) => heard.push(`view ${view.samples.length}`),
    onTrouble: (words) => heard.push(words),
    onClosed: () => heard.push("closed"),
    ask: (url) => {
      asked.push(String(url));
      return Promise.resolve(/** @type {Response} */ (answers.shift()));
    },
  });
  board.stop();
  for (let at = 0; at < 3; at += 1) await board.look();
  assertEquals(asked, ["/dashboard/data?since=0", "/dashboard/data?since=7", "/dashboard/data?since=7"]);
  assertEquals(heard, [
    "view 1",
    "This server does not answer: it says 503.",
    "closed",
  ]);
});

Deno.test("the other servers have the same page", () => {
  const servers = [
    { server_id: "a", host: "127.0.0.1", port: 8000 },
    { server_id: "b", host: "127.0.0.1", port: 8001 },
    { server_id: "c", host: "::2", port: 8002 },
  ];
  const view = /** @type {any} */ ({ server_id: "a", servers });
  assertEquals(otherPages(view, { protocol: "http:", hostname: "box" }), [
    { server: "b", href: "http://box:8001/dashboard" },
    { server: "c", href: "http://[::2]:8002/dashboard" },
  ]);
});
