// Settings of this browser, and the account.
import { choice, field, form, openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { read, setTheme, theme, write } from "./preferences.js";

/**
 * @param {import("../model/chat.js").Chat} chat
 * @param {{onLogOut: (everywhere: boolean) => void, onToken: (token: string) => void, onKeys: () => void}} actions
 */
export function settingsDialog(chat, actions) {
  openDialog("Settings", (close) => [
    h(
      "fieldset",
      {},
      h("legend", {}, "Theme"),
      ...(/** @type {const} */ (["light", "dark", "system"])).map((name) =>
        choice(
          name[0].toUpperCase() + name.slice(1),
          h("input", {
            type: "radio",
            name: "theme",
            value: name,
            checked: theme() === name,
            onchange: () => setTheme(name),
          }),
        )
      ),
    ),
    notifications(),
    h(
      "fieldset",
      {},
      h("legend", {}, "Account"),
      h(
        "p",
        { class: "help" },
        `You are ${chat.me}${chat.hasAccount ? "." : ", a guest. Log out and register to keep the name."}`,
      ),
      chat.hasAccount && passwordForm(chat, actions.onToken),
    ),
    h(
      "fieldset",
      {},
      h("legend", {}, "Sessions"),
      h(
        "div",
        { class: "form-buttons" },
        h("button", { type: "button", onclick: () => (close(), actions.onLogOut(false)) }, "Log out"),
        chat.hasAccount && h(
          "button",
          { type: "button", class: "danger", onclick: () => (close(), actions.onLogOut(true)) },
          "Log out everywhere",
        ),
      ),
    ),
    h(
      "button",
      { type: "button", class: "quiet wide", onclick: () => (close(), actions.onKeys()) },
      "Keyboard shortcuts",
    ),
  ], { focus: "input:checked" });
}

function notifications() {
  const help = h("p", { class: "help" });
  const explain = () => {
    if (!("Notification" in globalThis) || !isSecureContext) {
      help.textContent = "This browser shows notifications for pages with TLS or on this machine only.";
    } else if (Notification.permission === "denied") {
      help.textContent = "The browser forbids them for this page; allow them in its settings.";
    } else help.textContent = "Rooms can be made quiet one by one.";
  };
  explain();
  const select = h("select", {
    onchange: async () => {
      write("notify", select.value);
      if (select.value !== "off" && "Notification" in globalThis) await Notification.requestPermission();
      explain();
    },
  });
  const kept = read("notify") ?? "off";
  for (
    const [value, text] of [
      ["off", "None"],
      ["mentions", "Mentions and direct messages"],
      ["all", "All messages"],
    ]
  ) {
    select.append(h("option", { value, selected: value === kept }, text));
  }
  return h("fieldset", {}, h("legend", {}, "Notifications"), field("Notify me of", select), help);
}

/** @param {import("../model/chat.js").Chat} chat @param {(token: string) => void} onToken */
function passwordForm(chat, onToken) {
  const old = h("input", { type: "password", autocomplete: "current-password", required: true });
  const next = h("input", { type: "password", autocomplete: "new-password", minlength: 8, required: true });
  return h(
    "details",
    {},
    h("summary", {}, "Change the password"),
    form([
      field("Old password", old),
      field("New password", next),
      h("p", { class: "help" }, "Other sessions end with it."),
      h("button", { type: "submit" }, "Change the password"),
    ], async () => {
      const answer = await chat.ask("change_password", { old: old.value, new: next.value }, {
        again: false,
        slow: true,
      });
      if (!answer) return;
      old.value = next.value = "";
      if (answer.token) onToken(answer.token);
      chat.emit("notice", { text: "The password is changed." });
    }),
  );
}
