// The cases that src/protocol/mentions.rs is held to, too.
import { assertEquals } from "./assert.js";
import { parse } from "../model/markdown.js";

/** @typedef {import("../model/markdown.js").Inline} Inline */
/** @typedef {import("../model/markdown.js").Block} Block */

/** @param {Inline[]} parts @returns {string[]} */
const inParts = (parts) =>
  parts.flatMap((part) => {
    if (part.type === "mention") return [part.name];
    return "children" in part ? inParts(part.children) : [];
  });

/** @param {Block[]} blocks @returns {string[]} */
const inBlocks = (blocks) =>
  blocks.flatMap((block) => {
    if (block.type === "paragraph") return inParts(block.children);
    if (block.type === "list") return block.items.flatMap(inParts);
    return block.type === "quote" ? inBlocks(block.children) : [];
  });

const { names, cases } = JSON.parse(
  Deno.readTextFileSync(new URL("../../../tests/cases/mentions.json", import.meta.url)),
);
const known = new Set(names.map((/** @type {string} */ name) => name.toLowerCase()));

Deno.test("the shared cases of mentions hold", () => {
  for (const { text, mentions } of cases) {
    const found = inBlocks(parse(text, (name) => known.has(name.toLowerCase())));
    assertEquals(found, mentions, JSON.stringify(text));
  }
});
