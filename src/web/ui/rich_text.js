// DOM nodes of what model/markdown.js has read.
import { parse } from "../model/markdown.js";
import { h } from "./dom.js";

/**
 * @typedef {import("../model/markdown.js").Inline} Inline
 * @typedef {import("../model/markdown.js").Block} Block
 * @typedef {{isMe: (name: string) => boolean, isKnown: (name: string) => boolean}} People
 */

/** @param {string} text @param {People} people */
export function richText(text, people) {
  const fragment = document.createDocumentFragment();
  for (const block of parse(text, people.isKnown)) fragment.appendChild(blockNode(block, people));
  return fragment;
}

/** @param {Block} block @param {People} people @returns {Node} */
function blockNode(block, people) {
  switch (block.type) {
    case "paragraph":
      return h("p", { dir: "auto" }, ...inlineNodes(block.children, people));
    case "pre":
      return h("pre", { dir: "ltr", tabIndex: 0 }, h("code", {}, block.text));
    case "quote":
      return h("blockquote", {}, ...block.children.map((child) => blockNode(child, people)));
    case "list": {
      const items = block.items.map((item) => h("li", { dir: "auto" }, ...inlineNodes(item, people)));
      return block.ordered ? h("ol", { start: block.start }, ...items) : h("ul", {}, ...items);
    }
  }
}

/** @param {Inline[]} parts @param {People} people @returns {Node[]} */
function inlineNodes(parts, people) {
  return parts.map((part) => {
    switch (part.type) {
      case "text":
        return document.createTextNode(part.text);
      case "break":
        return h("br");
      case "code":
        return h("code", {}, part.text);
      case "strong":
        return h("strong", {}, ...inlineNodes(part.children, people));
      case "em":
        return h("em", {}, ...inlineNodes(part.children, people));
      case "strike":
        return h("s", {}, ...inlineNodes(part.children, people));
      case "link":
        return h(
          "a",
          { href: part.href, target: "_blank", rel: "noopener noreferrer", title: part.href },
          ...inlineNodes(part.children, people),
        );
      case "mention": {
        const isForMe = people.isMe(part.name);
        return h("span", { class: isForMe ? "mention mention-me" : "mention" }, `@${part.name}`);
      }
    }
  });
}
