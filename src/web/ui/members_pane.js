// The members of the open room, and what the user can do with them.
import { keyOf, partner } from "../core/names.js";
import { clean } from "../model/text.js";
import { avatar } from "./avatar.js";
import { confirm, field, form, openDialog } from "./dialog.js";
import { h, hiddenText } from "./dom.js";
import { Keyed } from "./keyed.js";

/**
 * @typedef {import("../model/chat.js").Chat} Chat
 * @typedef {import("../model/chat.js").Member} Member
 */

const STATES = /** @type {const} */ (["online", "away", "offline"]);

export class MembersPane {
  /**
   * @param {Chat} chat
   * @param {{onDirect: (name: string) => void, onMention: (name: string) => void}} actions
   */
  constructor(chat, actions) {
    this.chat = chat;
    this.actions = actions;
    this.groups = STATES.map((state) => {
      const [head, list] = [h("h2"), h("ul")];
      return { state, head, entries: new Keyed(list), section: h("section", { hidden: true }, head, list) };
    });
    this.element = h(
      "aside",
      { class: "members", "aria-label": "Members" },
      ...this.groups.map(({ section }) => section),
    );
    chat.on("members", () => this.#draw());
    chat.on("room", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const { chat } = this;
    const members = this.#members();
    for (const { state, head, entries, section } of this.groups) {
      const here = members.filter((member) => chat.presenceOf(member.username) === state);
      here.sort((a, b) => a.username.localeCompare(b.username, undefined, { sensitivity: "base" }));
      section.hidden = here.length === 0;
      const title = `${state[0].toUpperCase()}${state.slice(1)} — ${here.length}`;
      if (head.textContent !== title) head.textContent = title;
      entries.draw(here.map((member) => ({
        key: keyOf(member.username),
        mark: JSON.stringify([member.username, member.role, member.bot, member.created_by]),
        make: () => this.#entry(member, state),
      })));
    }
  }

  /** The two of a direct conversation that has no message yet. @returns {Member[]} */
  #both() {
    const { chat } = this;
    const other = partner(chat.current ?? "", chat.me);
    return other === null
      ? []
      : [chat.me, other].map((username) => ({ username, role: "member", online: false }));
  }

  /** @param {Member} member @param {typeof STATES[number]} state */
  #entry(member, state) {
    const isMe = keyOf(member.username) === keyOf(this.chat.me);
    const role = member.role === "member" ? "" : member.role;
    return h(
      "li",
      { class: `member ${state}` },
      h(
        "button",
        { type: "button", class: "member-button", onclick: () => this.#menu(member.username) },
        avatar(member.username),
        h("span", { class: `dot ${state}`, "aria-hidden": "true" }),
        h("bdi", { class: "member-name" }, clean(member.username)),
        isMe && h("span", { class: "tag" }, " you"),
        member.bot && h("span", { class: "tag" }, " bot"),
        role && h("span", { class: "tag" }, ` ${role}`),
        hiddenText(` ${state}`),
      ),
    );
  }

  /** @returns {Member[]} */
  #members() {
    return this.chat.members.get(keyOf(this.chat.current ?? "")) ?? this.#both();
  }

  /** @param {string} username */
  #menu(username) {
    const { chat, actions } = this;
    const member = this.#members().find((one) => one.username === username);
    if (!member) return;
    const room = chat.current ?? "";
    const info = chat.info(room);
    const isMe = keyOf(username) === keyOf(chat.me);
    const mayModerate = !isMe && chat.may(info, "Kick") && chat.outranks(info, member.role);
    openDialog(username, (close) => {
      /** @param {string} text @param {() => void} act */
      const item = (text, act, danger = false) =>
        h("button", {
          type: "button",
          class: danger ? "wide danger" : "wide",
          onclick: () => {
            close();
            act();
          },
        }, text);
      /** @param {string} msgType @param {Record<string, unknown>} [more] */
      const moderate = (msgType, more = {}) => () => chat.ask(msgType, { room, username, ...more });
      /** @param {string} msgType @param {string} text */
      const tell = (msgType, text) => async () => {
        if (await chat.ask(msgType, { username })) chat.emit("notice", { text });
      };
      /** @param {string} role */
      const setRole = (role) => {
        close();
        const ask = () => chat.ask("set_role", { room, username, role });
        if (role !== "owner") return ask();
        const text = `A room has one owner. ${username} becomes the owner of ${room}, and you a moderator.`;
        confirm("Hand the room over?", text, "Hand it over", ask);
      };
      return [
        h(
          "p",
          { class: "help" },
          `${chat.presenceOf(username)}, ${member.role}`,
          member.created_by ? `, made by ${member.created_by}` : "",
        ),
        h(
          "div",
          { class: "menu" },
          !isMe ? item("Write directly", () => actions.onDirect(username)) : "",
          item("Mention", () => actions.onMention(username)),
          !isMe
            ? item("Block direct messages", tell("block", `${username} cannot write to you directly.`), true)
            : "",
          !isMe
            ? item("Allow direct messages again", tell("unblock", `${username} can write to you directly.`))
            : "",
        ),
        mayModerate && h(
          "div",
          { class: "menu" },
          h("h3", {}, "Keep order"),
          chat.may(info, "SetRole") ? roleForm(member, setRole) : "",
          member.role === "muted"
            ? item("Let speak again", moderate("unmute"))
            : item("Mute for an hour", moderate("mute", { seconds: 3600 })),
          item("Remove from the room", moderate("kick"), true),
          item("Ban for a day", moderate("ban", { seconds: 86_400 }), true),
          item("Ban for good", moderate("ban"), true),
          h("p", { class: "help" }, "“About this room” lifts a ban."),
        ),
      ];
    }, { focus: ".menu button" });
  }
}

/** @param {Member} member @param {(role: string) => void} onChange */
function roleForm(member, onChange) {
  const select = h("select");
  for (const role of ["member", "moderator", "owner"]) {
    select.append(h("option", { value: role, selected: role === member.role }, role));
  }
  const button = h("button", { type: "submit", class: "small" }, "Set the role");
  return form([field("Role", select), button], () => onChange(select.value));
}

/** @param {Chat} chat */
export function inviteDialog(chat) {
  const name = h("input", {
    autocapitalize: "none",
    spellcheck: "false",
    autocomplete: "off",
    maxlength: 32,
    required: true,
  });
  const problem = h("p", { class: "problem", role: "alert" });
  const room = chat.current ?? "";
  openDialog("Invite", (close) => [
    form([
      field("Name of the guest", name),
      h("p", { class: "help" }, "They find the room in their list and enter it when they like."),
      problem,
      h(
        "div",
        { class: "form-buttons" },
        h("button", { type: "submit", class: "primary" }, "Send invitation"),
      ),
    ], async () => {
      const username = name.value.trim();
      if (!username) return;
      try {
        const answer = await chat.wire.ask("invite", { room, username });
        close();
        chat.emit("notice", { text: `${username} is invited to ${room}. ${answer.warning ?? ""}`.trim() });
      } catch (error) {
        problem.textContent = /** @type {Error} */ (error).message;
      }
    }),
  ]);
}
