// Entering a room that is not in the list, creating one, or writing to a person.
import { isName, keyOf } from "../core/names.js";
import { counted } from "../model/text.js";
import { fill, h, icon } from "./dom.js";
import { choice, field, form, openDialog } from "./dialog.js";

/**
 * @param {import("../model/chat.js").Chat} chat
 * @param {(room: string, extra?: Record<string, unknown>) => void} onOpen
 */
export function joinDialog(chat, onOpen) {
  const name = h("input", {
    autocapitalize: "none",
    spellcheck: "false",
    autocomplete: "off",
    maxlength: 33,
    required: true,
  });
  const isPrivate = h("input", { type: "checkbox" });
  const password = h("input", { type: "password", autocomplete: "off" });
  const problem = h("p", { class: "problem", role: "alert" });
  const found = h("div", { class: "found-rooms" });
  openDialog("Join or create a room", (close) => {
    /** @param {string} room @param {Record<string, unknown>} [extra] */
    const open = (room, extra) => {
      close();
      onOpen(room, extra);
    };
    const submit = () => {
      const typed = name.value.trim();
      if (typed.startsWith("@") && isName(typed.slice(1))) return open(chat.directTo(typed.slice(1)));
      if (!isName(typed)) {
        problem.textContent = "A name is 1 to 32 letters, digits, dots, dashes or underscores.";
        return;
      }
      /** @type {Record<string, unknown>} */
      const extra = {};
      if (isPrivate.checked) extra.private = true;
      if (password.value) extra.password = password.value;
      open(typed, extra);
    };
    chat.browse().then((rooms) => {
      if (!rooms.length) return;
      /** @type {HTMLElement[]} */
      const entries = rooms.slice(0, 100).map((/** @type {Record<string, any>} */ room) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "found-room", onclick: () => open(room.room) },
            icon(room.private ? "lock" : "hash"),
            h("bdi", { class: "room-name" }, room.room),
            h(
              "span",
              { class: "help" },
              room.invited ? " you are invited" : ` ${counted(room.members, "member")}`,
            ),
            room.topic && h("bdi", { class: "help topic" }, room.topic),
          ),
        )
      );
      fill(found, h("h3", {}, "Open to you"), h("ul", {}, ...entries));
      // What is typed narrows the list down, too.
      const narrow = () => {
        const typed = keyOf(name.value.trim());
        entries.forEach((entry, at) => entry.hidden = !keyOf(rooms[at].room).includes(typed));
        found.hidden = entries.every((entry) => entry.hidden);
      };
      name.addEventListener("input", narrow);
      narrow();
    });
    return [
      form([
        field("Room", name),
        h("p", { class: "help" }, "A new name makes a new room. @name opens a direct conversation."),
        choice("Private", isPrivate),
        h("details", {}, h("summary", {}, "It has a password"), field("Its password", password)),
        problem,
        h("div", { class: "form-buttons" }, h("button", { type: "submit", class: "primary" }, "Join")),
      ], submit),
      found,
    ];
  });
}
