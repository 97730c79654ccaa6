// Short notices that disappear by themselves, and the offer to load a new version.
import { h } from "./dom.js";

const SHOWN_MS = 7_000;

const area = h("div", {
  class: "notices",
  role: "region",
  "aria-label": "Notices",
  "aria-live": "polite",
});

/** An open dialog covers all that is not in it. */
function showArea() {
  const dialogs = document.querySelectorAll("dialog[open]");
  const place = dialogs[dialogs.length - 1] ?? document.body;
  if (area.parentElement === place) return;
  place.append(area);
  place.addEventListener("close", () => document.body.append(area), { once: true });
}

/** @param {{text: string, isError?: boolean}} note */
export function notice({ text, isError = false }) {
  showArea();
  const element = h(
    "div",
    { class: `notice${isError ? " error" : ""}`, role: isError ? "alert" : "note" },
    text,
  );
  area.append(element);
  setTimeout(() => element.remove(), SHOWN_MS);
}

/** A server has another version of the page. @param {() => void} onReload */
export function offerReload(onReload) {
  if (area.querySelector(".reload")) return;
  showArea();
  area.append(
    h(
      "div",
      { class: "notice reload", role: "note" },
      "A new version of this page is there. ",
      h("button", { type: "button", class: "small", onclick: onReload }, "Reload"),
    ),
  );
}
