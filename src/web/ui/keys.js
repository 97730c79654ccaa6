// The keys, in one table: what they do and what the help says of them come from here.
import { openDialog } from "./dialog.js";
import { h } from "./dom.js";

/**
 * @typedef {{nextUnread: () => void, nth: (place: number) => void, step: (direction: number) => void,
 *   switcher: () => void, search: () => void, help: () => void, escape: () => void}} Commands
 * @typedef {{keys: string, text: string, fits?: (event: KeyboardEvent) => boolean,
 *   run?: (commands: Commands, event: KeyboardEvent) => void}} Key
 */

/** @param {KeyboardEvent} event */
const isCommand = (event) => event.ctrlKey || event.metaKey;

/** Those without `run` are handled where they are typed. @type {Key[]} */
export const KEYS = [
  {
    keys: "Alt+A",
    text: "Next room with something new: mentions, direct messages, then the rest",
    fits: (event) => event.altKey && !isCommand(event) && event.code === "KeyA",
    run: (commands) => commands.nextUnread(),
  },
  {
    keys: "Alt+1 … Alt+9",
    text: "The first to ninth room of the list",
    fits: (event) => event.altKey && !isCommand(event) && /^Digit[1-9]$/.test(event.code),
    run: (commands, event) => commands.nth(Number(event.code.slice(5)) - 1),
  },
  {
    keys: "Alt+↑, Alt+↓",
    text: "The room above or below",
    fits: (event) =>
      event.altKey && !isCommand(event) && (event.key === "ArrowUp" || event.key === "ArrowDown"),
    run: (commands, event) => commands.step(event.key === "ArrowUp" ? -1 : 1),
  },
  {
    keys: "Ctrl+K",
    text: "Go to a room or a person by a few letters",
    fits: (event) => isCommand(event) && !event.shiftKey && !event.altKey && event.code === "KeyK",
    run: (commands) => commands.switcher(),
  },
  {
    keys: "Ctrl+Shift+F",
    text: "Search",
    fits: (event) => isCommand(event) && event.shiftKey && event.code === "KeyF",
    run: (commands) => commands.search(),
  },
  { keys: "Enter, Shift+Enter", text: "Send; a new line" },
  { keys: "↑ in an empty message", text: "Edit your last message" },
  { keys: "PgUp, PgDn", text: "Through the history" },
  { keys: "End in an empty message", text: "To the newest message" },
  { keys: "@ or : and letters, Tab", text: "Complete a name or an emoji" },
  {
    keys: "↑, ↓ among the messages",
    text: "From one to the next; then R answers, E edits, P pins, Tab leads to all",
  },
  {
    keys: "Escape",
    text: "Close what is open; back to writing",
    fits: (event) => event.key === "Escape",
    run: (commands) => commands.escape(),
  },
  {
    keys: "?",
    text: "This list, where you do not write",
    fits: (event) => event.key === "?" && !isCommand(event) && !isWriting(event.target),
    run: (commands) => commands.help(),
  },
];

/** @param {EventTarget|null} target */
function isWriting(target) {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement;
}

/** @param {Commands} commands @returns {(event: KeyboardEvent) => void} */
export function keyListener(commands) {
  return (event) => {
    // A dialog has the keys while it is open.
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    const key = KEYS.find((candidate) => candidate.fits?.(event));
    if (!key?.run) return;
    event.preventDefault();
    key.run(commands, event);
  };
}

export function keysDialog() {
  openDialog("Keyboard shortcuts", () => [
    h(
      "dl",
      { class: "keys" },
      ...KEYS.flatMap(({ keys, text }) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, text)]),
    ),
  ], { kind: "wide" });
}
