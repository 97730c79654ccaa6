// A round sign for a person: the first letters of the name, in a colour that is always the same for it.
import { placeOf } from "../model/text.js";
import { h } from "./dom.js";

/** How many colours css/base.css has for people. */
const COLOURS = 8;

/** @param {string} name */
export function colourClass(name) {
  return `person-${placeOf(name, COLOURS)}`;
}

/** @param {string} name */
export function avatar(name) {
  const letters = name.replace(/[^\p{L}\p{N}]/gu, "").slice(0, 2) || "?";
  return h("span", { class: `avatar ${colourClass(name)}`, "aria-hidden": "true" }, letters);
}
