import { assert, assertEquals } from "./assert.js";
import { inline, parse, plain, safeHref } from "../model/markdown.js";

/** @param {import("../model/markdown.js").Inline[]} parts @returns {string} */
const shape = (parts) =>
  parts.map((part) => {
    if (part.type === "text") return part.text;
    if (part.type === "break") return "|";
    if (part.type === "code") return `<code:${part.text}>`;
    if (part.type === "mention") return `<@${part.name}>`;
    if (part.type === "link") return `<${part.href}:${shape(part.children)}>`;
    return `<${part.type}:${shape(part.children)}>`;
  }).join("");

for (
  const [text, expected] of [
    ["plain", "plain"],
    ["a **b** c", "a <strong:b> c"],
    ["*a* _b_ ~~c~~", "<em:a> <em:b> <strike:c>"],
    ["**bold *and* more**", "<strong:bold <em:and> more>"],
    ["2 * 3 * 4", "2 * 3 * 4"],
    ["__b__ and __init__.py", "<strong:b> and __init__.py"],
    ["snake_case__name__x", "snake_case__name__x"],
    ["snake_case_name", "snake_case_name"],
    ["\\*not\\*", "*not*"],
    ["`*a*` b", "<code:*a*> b"],
    ["a\nb", "a|b"],
    ["see https://a.org/x_(y).", "see <https://a.org/x_(y):https://a.org/x_(y)>."],
    ["(https://a.org)", "(<https://a.org/:https://a.org>)"],
    ["[t](https://a.org)", "<https://a.org/:t>"],
    ["[t](javascript:alert(1))", "[t](javascript:alert(1))"],
    ["hi @bob, and a@b.c", "hi <@bob>, and a@b.c"],
    ["@bob.", "<@bob>."],
    ["**", "**"],
    ["****", "****"],
  ]
) {
  Deno.test(`inline: ${text}`, () => assertEquals(shape(inline(text)), expected));
}

Deno.test("blocks", () => {
  const kinds = parse("a\n\n- x\n- y\n1. z\n> q\n```js\n<b>\n```\nend").map((block) => block.type);
  assertEquals(kinds, ["paragraph", "list", "list", "quote", "pre", "paragraph"]);
  assertEquals(parse("```\nnever closed").map((block) => block.type), ["paragraph"]);
});

Deno.test("only addresses that do no harm are followed", () => {
  for (
    const bad of [
      "javascript:alert(1)",
      "data:text/html,x",
      "https://",
      "vbscript:x",
      " https://a",
      "https://a\u202eb",
    ]
  ) {
    assertEquals(safeHref(bad), null, bad);
  }
  assertEquals(safeHref("HTTPS://A.org"), "https://a.org/");
});

Deno.test("what is long and nested is read in reasonable time", () => {
  const began = performance.now();
  for (
    const text of [
      "*".repeat(16_000),
      "[".repeat(16_000),
      "> ".repeat(8_000),
      "_a ".repeat(5_000),
      "`".repeat(15_999),
      "**a ".repeat(4_000),
      "https://".repeat(2_000),
      "- ".repeat(8_000),
    ]
  ) {
    parse(text);
  }
  assert(performance.now() - began < 10_000, "quadratic where it must not be");
});

Deno.test("a text without its marks, in one line", () => {
  assertEquals(plain("**a** `b` [c](https://d.org)\n\n- e\n- f\n> g", 100), "a b c e, f g");
  assertEquals(plain("```\nlet x = 1;\n```", 100), "let x = 1;");
  assertEquals(plain("👍".repeat(50), 3), "👍👍👍…");
  assertEquals(plain("", 3), "");
});
