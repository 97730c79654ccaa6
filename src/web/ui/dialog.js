// Questions and forms above the page.
import { h, iconButton } from "./dom.js";

/** Not what an arrow key would change at once. */
const FIRST = "input:not([type=radio]), textarea, .primary";

let count = 0;

/**
 * Opens a dialog; its content is made with a function that closes it.
 * @param {string} title
 * @param {(close: () => void) => (Node|string|null|false)[]} content
 * @param {{kind?: string, focus?: string, onClose?: () => void}} [options] `focus`: what has the focus first
 */
export function openDialog(title, content, { kind = "", focus = FIRST, onClose = () => {} } = {}) {
  const before = document.activeElement;
  const id = `dialog-${++count}`;
  const dialog = h("dialog", { class: `dialog ${kind}`, "aria-labelledby": id });
  const close = () => dialog.close();
  const head = h(
    "div",
    { class: "dialog-head" },
    h("h2", { id }, title),
    iconButton("close", "Close", { onclick: close }),
  );
  dialog.append(head, ...content(close).filter((child) => child !== null && child !== false));
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
    onClose();
  });
  // A click beside it closes it.
  dialog.addEventListener("mousedown", (event) => {
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const isInside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (!isInside) close();
  });
  document.body.append(dialog);
  dialog.showModal();
  const first = dialog.querySelector(focus);
  if (first instanceof HTMLElement) first.focus();
  return { dialog, close };
}

/**
 * Asks before something is done.
 * @param {string} title
 * @param {string} text
 * @param {string} action the name of the button that does it
 * @param {() => void} onYes
 */
export function confirm(title, text, action, onYes) {
  openDialog(title, (close) => [
    h("p", { dir: "auto" }, text),
    h(
      "div",
      { class: "form-buttons" },
      h("button", { type: "button", onclick: close }, "Cancel"),
      h("button", {
        type: "button",
        class: "danger primary",
        onclick: () => {
          close();
          onYes();
        },
      }, action),
    ),
  ]);
}

/**
 * A form whose fields are labelled inputs.
 * @param {(Node|string|null|false)[]} children
 * @param {() => void} onSubmit
 */
export function form(children, onSubmit) {
  const element = h("form", {
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      onSubmit();
    },
  });
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

/** @param {string} label @param {HTMLInputElement|HTMLSelectElement|HTMLTextAreaElement} input */
export function field(label, input) {
  input.id ||= `field-${++count}`;
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input);
}

/** @param {string} label @param {HTMLInputElement} input */
export function choice(label, input) {
  return h("label", { class: "choice" }, input, h("span", {}, label));
}
