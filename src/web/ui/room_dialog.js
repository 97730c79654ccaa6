// The dialog of the open room: its topic, its pins, and what its moderators may change.
import { partner } from "../core/names.js";
import { plain } from "../model/markdown.js";
import { counted, timeText } from "../model/text.js";
import { choice, confirm, field, form, openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { isMuted, setMuted } from "./preferences.js";

/** @typedef {import("../model/chat.js").Chat} Chat @typedef {import("../model/chat.js").RoomInfo} RoomInfo */

/**
 * @param {Chat} chat
 * @param {{onChange: () => void}} actions
 */
export function roomDialog(chat, { onChange }) {
  const room = chat.current ?? "";
  const info = chat.info(room);
  if (!info) return;
  const isDirect = partner(room, chat.me) !== null;
  const quiet = h("input", {
    type: "checkbox",
    checked: isMuted(room),
    onchange: () => {
      setMuted(room, quiet.checked);
      onChange();
    },
  });
  openDialog(isDirect ? `@${partner(room, chat.me)}` : room, (close) => [
    h(
      "p",
      { class: "help" },
      isDirect
        ? "A direct conversation: only the two of you see it."
        : `${info.isPrivate ? "A private room" : "A public room"}, ${
          counted(info.memberCount || 1, "member")
        }. You are ${info.role}.${info.archived ? " It is archived: nothing in it can be changed." : ""}`,
    ),
    choice("Quiet: no notifications from here", quiet),
    chat.may(info, "Topic") && topicForm(chat, info, close),
    chat.may(info, "Ban") && unbanForm(chat, room),
    chat.may(info, "Archive") && ownerForm(chat, info, close),
    !isDirect && h(
      "div",
      { class: "menu" },
      chat.may(info, "Leave") && h("button", {
        type: "button",
        class: "wide danger",
        onclick: () => {
          close();
          confirm(
            "Leave the room",
            `You will not get what is said in ${room} any more.`,
            "Leave",
            () => chat.leave(room),
          );
        },
      }, "Leave the room"),
      chat.may(info, "DeleteRoom") && h("button", {
        type: "button",
        class: "wide danger",
        onclick: () => {
          close();
          const text = `All messages and files of ${room} are deleted for everybody. This cannot be undone.`;
          confirm(
            "Delete the room",
            text,
            "Delete the room for ever",
            () => chat.ask("delete_room", { room }).then((answer) => answer && chat.refreshRooms()),
          );
        },
      }, "Delete the room"),
    ),
  ]);
}

/**
 * Asks, and closes the dialog unless it is refused: what it shows is not new any more.
 * @param {Chat} chat
 * @param {() => void} close
 * @param {string} msgType
 * @param {Record<string, unknown>} data
 */
async function change(chat, close, msgType, data) {
  if (await chat.ask(msgType, data)) close();
}

/** @param {Chat} chat @param {RoomInfo} info @param {() => void} close */
function topicForm(chat, { name: room, topic }, close) {
  const input = h("input", { value: topic, dir: "auto", maxlength: 256 });
  return form([
    field("Topic", input),
    h("button", { type: "submit" }, "Set the topic"),
  ], () => change(chat, close, "topic", { room, topic: input.value.trim() }));
}

/** Who is banned is no member, so there is no other place for it. @param {Chat} chat @param {string} room */
function unbanForm(chat, room) {
  const name = h("input", {
    autocapitalize: "none",
    spellcheck: "false",
    autocomplete: "off",
    maxlength: 32,
  });
  return h(
    "details",
    {},
    h("summary", {}, "Lift a ban"),
    form([
      field("Name of the banned user", name),
      h("button", { type: "submit" }, "Lift the ban"),
    ], async () => {
      const username = name.value.trim();
      if (!username || !await chat.ask("unban", { room, username })) return;
      name.value = "";
      chat.emit("notice", { text: `${username} may enter ${room} again.` });
    }),
  );
}

/** @param {Chat} chat @param {RoomInfo} info @param {() => void} close */
function ownerForm(chat, info, close) {
  const room = info.name;
  const isPrivate = h("input", { type: "checkbox", checked: info.isPrivate });
  const archived = h("input", { type: "checkbox", checked: info.archived });
  const slow = h("input", { type: "number", min: 0, max: 86400, value: "", placeholder: "as it is" });
  const name = h("input", { value: room, maxlength: 32 });
  const password = h("input", { type: "password", autocomplete: "new-password", minlength: 8 });
  return h(
    "details",
    {},
    h("summary", {}, "For the owner"),
    form([
      choice("Only by invitation", isPrivate),
      choice("Archived: nothing can be changed", archived),
      field("Seconds between two messages of one person", slow),
      h("button", { type: "submit" }, "Save"),
    ], () => {
      /** @type {Record<string, unknown>} */
      const settings = { room, private: isPrivate.checked, archived: archived.checked };
      if (slow.value !== "") settings.slow_s = Number(slow.value);
      change(chat, close, "room_settings", settings);
    }),
    chat.may(info, "Rename") && form([
      field("New name", name),
      h("button", { type: "submit" }, "Rename"),
    ], () => change(chat, close, "rename_room", { room, name: name.value.trim() })),
    form([
      field("Password that opens the room", password),
      h("button", { type: "submit" }, "Set the password"),
    ], () => change(chat, close, "room_password", { room, password: password.value || null })),
  );
}

/** @param {import("../model/chat.js").Chat} chat @param {(seq: number) => void} onJump */
export async function pinsDialog(chat, onJump) {
  const room = chat.current ?? "";
  const timeline = chat.timeline(room);
  if (!timeline) return;
  const events = await Promise.all(timeline.pins.map(async (seq) => {
    const known = timeline.bySeq.get(seq);
    if (known) return { seq, author: known.author, body: known.body, at: known.at };
    const answer = await chat.wire.ask("history", { room, after: seq - 1, limit: 1 }).catch(() => null);
    const event = answer?.events[0];
    return event && { seq, author: event.author, body: event.body ?? "", at: event.created_at * 1000 };
  }));
  openDialog("Pinned messages", (close) => [
    events.length === 0 && h("p", { class: "help" }, "Nothing is pinned here. Pin what others should find."),
    h(
      "ul",
      { class: "pins" },
      ...events.filter(Boolean).map((event) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "found-room",
              onclick: () => {
                close();
                onJump(event.seq);
              },
            },
            h("bdi", { class: "reply-author" }, event.author),
            h("span", { class: "help" }, ` ${timeText(event.at)} `),
            h("bdi", {}, plain(event.body, 200)),
          ),
        )
      ),
    ),
  ]);
}
