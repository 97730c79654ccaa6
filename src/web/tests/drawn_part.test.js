import { DrawnPart, FEW, FOLLOWED, STEP } from "../model/drawn_part.js";
import { itemOf } from "../model/timeline.js";
import { assert, assertEquals } from "./assert.js";

const SCREEN = 40;

/** @param {number} first @param {number} last */
function events(first, last, kind = "message") {
  return Array.from(
    { length: last - first + 1 },
    (_, at) => itemOf({ seq: first + at, kind, author: "ann" }),
  );
}

/** @param {DrawnPart} part */
const seqs = (part) => [part.firstSeq, part.lastSeq];

Deno.test("a flood is drawn by the screen, and what stands above it comes later, a step at a time", () => {
  const part = new DrawnPart();
  let items = events(1, 900);
  assert(part.follow(items, SCREEN));
  assertEquals(seqs(part), [861, 900]);
  assert(part.follow(items, SCREEN));
  assertEquals(seqs(part), [861 - STEP, 900]);
  while (part.follow(items, SCREEN));
  assertEquals(seqs(part), [900 - FOLLOWED + 1, 900]);
  // A few more: as many leave at the top.
  items = events(1, 900 + FEW);
  assertEquals(part.follow(items, SCREEN), false);
  assertEquals(part.to - part.from, FOLLOWED);
  items = events(1, 900 + 2 * FEW + 1);
  assert(part.follow(items, SCREEN));
  assertEquals(part.to - part.from, SCREEN);
});

Deno.test("no picture has more new events than a screen or a step, whatever happens", () => {
  const part = new DrawnPart();
  let [first, last, drawn] = [1, 50, /** @type {Set<number>} */ (new Set())];
  const check = (/** @type {import("../model/timeline.js").Item[]} */ items) => {
    const now = new Set(items.slice(part.from, part.to).map((item) => item.seq));
    const added = [...now].filter((seq) => !drawn.has(seq)).length;
    assert(added <= Math.max(SCREEN, 2 * STEP) + FEW, `${added} at once`);
    assert(part.isToEnd === (part.to === items.length) && part.isFromStart === (part.from === 0));
    drawn = now;
  };
  let random = 7;
  for (let picture = 0; picture < 3_000; picture++) {
    random = (random * 1103515245 + 12345) % 2 ** 31;
    last += random % 5 === 0 ? random % 300 : random % 12;
    if (last - first > 900) first = last - 400;
    const items = events(first, last);
    switch (random % 7) {
      case 0:
        part.stay(items, { older: true, newer: false });
        break;
      case 1:
        part.stay(items, { older: false, newer: true });
        break;
      case 2:
        part.around(items, random % items.length);
        break;
      default:
        part.follow(items, SCREEN);
    }
    check(items);
  }
});

Deno.test("who reads stays where they are, and sees more as they come near an end", () => {
  const part = new DrawnPart();
  const items = events(101, 500);
  part.around(items, 200);
  assertEquals(seqs(part), [301 - STEP, 300 + STEP]);
  assertEquals([part.isFromStart, part.isToEnd], [false, false]);
  part.around(items, 190);
  assertEquals(seqs(part), [301 - STEP, 300 + STEP]);
  part.stay(items, { older: true, newer: false });
  assertEquals(seqs(part), [301 - 2 * STEP, 300 + STEP]);
  // Older ones arrive, and newer ones leave.
  part.stay(events(1, 320), { older: false, newer: true });
  assertEquals(seqs(part), [301 - 2 * STEP, 320]);
  assert(part.isToEnd);
  // None of it is loaded any more.
  part.stay(events(1_000, 1_200), { older: false, newer: false });
  assertEquals(seqs(part), [1_200 - STEP + 1, 1_200]);
});

Deno.test("those who have come one after the other are one row", () => {
  const part = new DrawnPart();
  const items = [...events(1, 100), ...events(101, 400, "joined"), ...events(401, 405)];
  part.follow(items, 10);
  assertEquals(seqs(part), [97, 405]);
  const other = new DrawnPart();
  other.around(items, 250);
  assertEquals(other.firstSeq, 101);
  other.follow([], 10);
  assertEquals(seqs(other), [0, 0]);
});
