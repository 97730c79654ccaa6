import { assert, assertEquals } from "./assert.js";
import { Directory } from "../core/directory.js";
import { directRoom, partner, roomTitle } from "../core/names.js";
import { fromBase64, shownType, toBase64 } from "../io/files.js";
import { Sha256 } from "../io/sha256.js";
import { byteLength, clean, pieces, sentence, spanText, timeParts, timeText } from "../model/text.js";
import { KEPT, Timeline } from "../model/timeline.js";
import { choicesFor } from "../ui/complete.js";
import { draft, setDraft } from "../ui/preferences.js";
import { hrefOf, routeOf } from "../ui/route.js";
import { fit } from "../ui/switcher.js";

/** @param {string} text */
const bytes = (text) => new TextEncoder().encode(text);

Deno.test("SHA-256 gives the digests of the standard, however the bytes come", () => {
  const digest = (/** @type {string} */ text) => new Sha256().update(bytes(text)).hex();
  assertEquals(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assertEquals(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assertEquals(
    digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  );
  const million = new Sha256();
  for (let at = 0; at < 1000; at++) million.update(bytes("a".repeat(1000)));
  assertEquals(million.hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
});

Deno.test("base64 goes there and back", () => {
  const all = Uint8Array.from({ length: 70_000 }, (_, at) => at % 256);
  assertEquals([...fromBase64(toBase64(all))], [...all]);
});

Deno.test("types with scripts are saved and not shown", () => {
  assertEquals(shownType("image/png; x=y"), "image/png");
  for (const type of ["image/svg+xml", "text/html", "application/pdf", undefined]) {
    assertEquals(shownType(type), "application/octet-stream");
  }
});

Deno.test("direct conversations", () => {
  assertEquals(directRoom("bob", "Alice"), "@Alice,bob");
  assertEquals(partner("@Alice,bob", "alice"), "bob");
  assertEquals(partner("lobby", "alice"), null);
  assertEquals(roomTitle("@Alice,bob", "BOB"), "@Alice");
});

Deno.test("names lose what would turn them around", () => {
  assertEquals(clean("a\u202egnp.exe\u0000"), "agnp.exe");
});

Deno.test("a long text is cut into pieces that servers take, and nothing is lost", () => {
  const text = "wörter und noch mehr ".repeat(2_000).trim();
  const cut = pieces(text, 16_384);
  assert(cut.length > 1 && cut.every((piece) => byteLength(piece) <= 16_384));
  assertEquals(cut.join(" "), text);
  assertEquals(pieces("", 10), []);
  assert(pieces("😀".repeat(100), 10).join("").length === 200);
});

Deno.test("addresses of rooms", () => {
  assertEquals(routeOf(hrefOf("@a,b", 12)), { room: "@a,b", seq: 12 });
  assertEquals(routeOf("#/lobby"), { room: "lobby", seq: 0 });
  assertEquals([routeOf("#lobby"), routeOf("#/%"), routeOf("")], [null, null, null]);
});

Deno.test("completion", () => {
  assertEquals(choicesFor("hi @bo", ["bob", "alice"])?.choices[0].text, "@bob ");
  assertEquals(choicesFor("mail a@bo", ["bob"]), null);
  assertEquals(choicesFor(":tad", [])?.choices[0].text, "🎉 ");
  assertEquals(choicesFor("12:30", []), null);
});

Deno.test("the switcher prefers what begins so", () => {
  const rank = (/** @type {string} */ text) => Number(fit("lo", text) ?? 99);
  assert(rank("lobby") < rank("hello"));
  assert(rank("hello") < rank("l-x-o"));
  assertEquals(fit("zz", "lobby"), null);
});

Deno.test("servers that list themselves as this machine are where the page is from", () => {
  const directory = new Directory([{ id: "server1", address: { host: "tower", port: 8000 } }], 1, "tower");
  const server = (/** @type {number} */ number, /** @type {string} */ host) => ({
    server_id: `server${number}`,
    host,
    tcp_port: 7999 + number,
    alive: true,
    is_leader: false,
  });
  directory.learn([server(2, "127.0.0.1"), server(3, "0.0.0.0")], { host: "tower", port: 8000 });
  assertEquals(directory.addressOf("server2"), { host: "tower", port: 8001 });
  assertEquals(directory.addressOf("server3"), { host: "tower", port: 8002 });
});

Deno.test("near servers are tried first more often, and of those as near the ones with few clients", () => {
  const here = { host: "tower", port: 8000 };
  const server = (/** @type {number} */ number, /** @type {number} */ clients) => ({
    server_id: `server${number}`,
    host: "tower",
    tcp_port: 7999 + number,
    alive: true,
    is_leader: false,
    clients,
  });
  const servers = [server(1, 0), server(2, 500), server(3, 3)];
  for (const { near, far } of [{ near: 8002, far: null }, { near: 8001, far: 8002 }]) {
    const directory = new Directory([{ id: "server1", address: here }], 7, "tower");
    directory.learn(servers, here);
    if (far) directory.answersIn({ host: "tower", port: far }, 180);
    let toNear = 0;
    for (let round = 0; round < 1_000; round++) {
      // What was measured outlasts the next list.
      directory.learn(servers, here);
      directory.works(here);
      if (directory.choose()?.port === near) toNear++;
    }
    assert(toNear > 650 && toNear < 850, `${toNear}`);
  }
});

/** @param {number} seq @param {Record<string, unknown>} [more] */
const event = (seq, more = {}) => ({
  seq,
  kind: "message",
  author: "a",
  created_at: seq,
  body: `m${seq}`,
  ...more,
});
/** @param {number} from @param {number} to */
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => event(from + at));

Deno.test("a timeline grows at both ends and is bounded", () => {
  const timeline = new Timeline();
  timeline.last = 100;
  timeline.replace(range(50, 60));
  assert(!timeline.isAtEnd && !timeline.isAtStart);
  timeline.happened(event(101));
  assertEquals([timeline.hi, timeline.last], [60, 101], "what is far away is only known of");
  timeline.prepend(range(40, 49));
  timeline.append(range(61, 101));
  assert(timeline.isAtEnd);
  assertEquals([timeline.items[0].seq, timeline.items.length], [40, 62]);
  for (let seq = 102; seq < 2_000; seq++) timeline.happened(event(seq));
  assert(timeline.trimStart() && timeline.items.length <= KEPT && timeline.isAtEnd);
  assertEquals(timeline.lo, timeline.items[0].seq);
});

Deno.test("edits, deletions, reactions and pins change what is there", () => {
  const timeline = new Timeline();
  timeline.happened(event(1));
  timeline.happened({ seq: 2, kind: "edited", author: "a", target: 1, body: "new" });
  timeline.happened({ seq: 3, kind: "reaction", author: "b", target: 1, emoji: "👍" });
  timeline.happened({ seq: 4, kind: "pinned", author: "b", target: 1 });
  const item = timeline.items[0];
  assertEquals([item.body, item.edited, [...(item.reactions.get("👍") ?? [])], timeline.pins], ["new", true, [
    "b",
  ], [1]]);
  timeline.happened({ seq: 5, kind: "reaction", author: "b", target: 1, emoji: "👍", remove: true });
  assertEquals(item.reactions.size, 0);
  const kept = new Timeline();
  kept.restore(timeline.toEvents(), timeline.hi);
  assertEquals([kept.items[0].body, kept.hi], ["new", 5]);
  timeline.happened({ seq: 6, kind: "deleted", author: "a", target: 1 });
  assertEquals([item.deleted, item.body], [true, ""]);
  assertEquals([timeline.items.length, timeline.hi], [1, 6]);
});

Deno.test("a time is its parts", () => {
  for (const at of [Date.UTC(2026, 1, 3, 4, 5), Date.UTC(2026, 1, 3, 16, 5)]) {
    assertEquals(timeParts(at).join(""), timeText(at));
    assert(/^\d\d:\d\d$/.test(timeParts(at)[0]), timeParts(at)[0]);
  }
});

Deno.test("how long a ban lasts", () => {
  assertEquals([86_400, 172_800, 3_600, 90, 60].map(spanText), [
    "1 day",
    "2 days",
    "1 hour",
    "90 seconds",
    "1 minute",
  ]);
});

Deno.test("drafts of rooms with the names of members of every object", () => {
  for (const room of ["constructor", "__proto__", "toString"]) assertEquals(draft(room), "");
  setDraft("__proto__", "one");
  setDraft("constructor", "two");
  assertEquals(draft("__proto__"), "one");
  assertEquals(draft("Constructor"), "two");
  setDraft("__proto__", "");
  assertEquals(draft("__proto__"), "");
  setDraft("constructor", "");
});

Deno.test("what a server refuses is a sentence", () => {
  assertEquals(sentence("a file may have 26214400 bytes"), "a file may have 26.2 MB.");
  assertEquals(sentence("tess has no right to do this"), "tess has no right to do this.");
  assertEquals(sentence("Really?"), "Really?");
  assertEquals(sentence(""), "");
});
