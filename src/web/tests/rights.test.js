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
        assertEquals(may(room, permission), cell === "1", `${permission} ${JSON.stringify(room)}`);
        cells++;
      }
    }
  }
  assertEquals(cells, PERMISSIONS.length * 6 * ROLES.length);
  assertEquals(may(null, "Say"), false);
});

Deno.test("order is kept with those below only", () => {
  assertEquals(outranks("moderator", "member"), true);
  assertEquals(outranks("moderator", "moderator"), false);
  assertEquals(outranks("owner", "moderator"), true);
  assertEquals(outranks("member", "muted"), true);
});
