// The switcher: finds rooms and people by a few letters of their names.
import { keyOf, roomTitle } from "../core/names.js";
import { openDialog } from "./dialog.js";
import { fill, h } from "./dom.js";

/**
 * How well `text` fits what was typed: its letters in their order, the nearer together the better; null: not
 * at all.
 * @param {string} typed
 * @param {string} text
 */
export function fit(typed, text) {
  const [wanted, letters] = [typed.toLowerCase(), text.toLowerCase()];
  const whole = letters.indexOf(wanted);
  if (whole >= 0) return whole === 0 ? 0 : 1 + whole / 100;
  let [at, gaps] = [-1, 0];
  for (const letter of wanted) {
    const next = letters.indexOf(letter, at + 1);
    if (next < 0) return null;
    gaps += next - at - 1;
    at = next;
  }
  return 2 + gaps;
}

/** @param {import("../model/chat.js").Chat} chat @param {(room: string) => void} onOpen */
export function switcher(chat, onOpen) {
  /** @type {Map<string, {room: string, title: string, unread: number}>} */
  const places = new Map();
  for (const info of chat.listed()) {
    places.set(keyOf(info.name), {
      room: info.name,
      title: roomTitle(info.name, chat.me),
      unread: info.unread,
    });
  }
  for (const members of chat.members.values()) {
    for (const { username } of members) {
      if (keyOf(username) === keyOf(chat.me)) continue;
      const room = chat.directTo(username);
      if (!places.has(keyOf(room))) places.set(keyOf(room), { room, title: `@${username}`, unread: 0 });
    }
  }
  const input = h("input", {
    role: "combobox",
    "aria-expanded": "true",
    "aria-controls": "places",
    autocomplete: "off",
  });
  input.setAttribute("aria-label", "Go to");
  input.placeholder = "A room, or @a person";
  const list = h("ul", { id: "places", role: "listbox", "aria-label": "Places", class: "places" });
  /** @type {string[]} */
  let shown = [];
  let at = 0;
  openDialog("Go to", (close) => {
    const go = () => {
      if (shown[at] === undefined) return;
      close();
      onOpen(shown[at]);
    };
    const draw = () => {
      const typed = input.value.trim();
      const fits = [...places.values()].map((place) => ({ place, rank: fit(typed, place.title) }))
        .filter(({ rank }) => rank !== null)
        .sort((a, b) => Number(a.rank) - Number(b.rank) || b.place.unread - a.place.unread)
        .slice(0, 12);
      shown = fits.map(({ place }) => place.room);
      at = Math.min(at, Math.max(0, shown.length - 1));
      fill(
        list,
        ...fits.map(({ place }, index) =>
          h(
            "li",
            {
              role: "option",
              id: `place-${index}`,
              "aria-selected": String(index === at),
              onclick: () => {
                at = index;
                go();
              },
            },
            h("bdi", {}, place.title),
            place.unread > 0 && h("span", { class: "help" }, ` ${place.unread} unread`),
          )
        ),
      );
      input.setAttribute("aria-activedescendant", `place-${at}`);
    };
    input.addEventListener("input", () => {
      at = 0;
      draw();
    });
    input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && shown.length) at = (at + step + shown.length) % shown.length;
      else if (event.key === "Enter" && !event.isComposing) return go();
      else return;
      event.preventDefault();
      draw();
    });
    draw();
    return [input, list];
  });
}
