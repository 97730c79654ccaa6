import { may, outranks, PERMISSIONS } from "../model/rights.js";
import { assertEquals } from "./assert.js";

const TABLE = Deno.readTextFileSync(new URL("../../../tests/cases/rights.txt", import.meta.url));
const ROLES = ["banned", "stranger", "invited", "muted", "member", "moderator", "owner"];

Deno.test("the page offers what the servers allow", () => {
  const rows = TABLE.split("\n").filter((line) => line.includes(" | ")).map((line) => line.split(/[ |]+/));
  let cells = 0;
  for (const permission of PERMISSIONS) {
    const row = rows.find(([name]) => name === permission) ?? [];
    for (let place = 0; place < 6; place++) {
      for (const [at, cell] of [...row[1 + place]].entries()) {
        const room = {
          name: place % 3 === 2 ? "@ann+ben" : "room",
          isPrivate: place % 3 === 1,
          archived: place >= 3,
          role: ROLES[at],
        };
        const said = `${permission} ${JSON.stringify(room)}`;
        assertEquals(may(room, permission, false), cell === "1", said);
        // Of administrators the table says what they may where they are nobody, if the room is not archived.
        if (place % 3 || (place === 0 && cell === "1")) {
          assertEquals(may(room, permission, true), cell === "1", said);
        } else if (place === 0) assertEquals(may(room, permission, true), row[7] === "1", said);
        cells++;
      }
    }
  }
  assertEquals(cells, PERMISSIONS.length * 6 * ROLES.length);
  assertEquals(may(null, "Say", true), false);
});

Deno.test("order is kept with those below only", () => {
  const room = (/** @type {string} */ role, isPrivate = false) => ({
    name: "room",
    isPrivate,
    archived: false,
    role,
  });
  assertEquals(outranks(room("moderator"), "member", false), true);
  assertEquals(outranks(room("moderator"), "moderator", false), false);
  assertEquals(outranks(room("owner"), "moderator", false), true);
  assertEquals(outranks(room("member"), "muted", false), true);
  assertEquals(outranks(room("member"), "moderator", true), true);
  assertEquals(outranks(room("member"), "owner", true), false);
  assertEquals(outranks(room("member", true), "moderator", true), false);
  assertEquals(outranks(null, "member", true), false);
});
