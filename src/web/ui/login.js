// The login: a name, and a password for users with an account.
import { isName } from "../core/names.js";
import { h } from "./dom.js";

/**
 * @param {{reason?: string, name?: string, onLogin: (login: import("../core/client.js").Login) => void}} options
 */
export function loginPage({ reason = "", name = "", onLogin }) {
  const nameInput = h("input", {
    id: "login-name",
    name: "username",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: 32,
    required: true,
    value: name,
  });
  const passwordInput = h("input", {
    id: "login-password",
    type: "password",
    name: "password",
    autocomplete: "current-password",
    "aria-describedby": "login-help",
  });
  const problem = h("p", { class: "problem", role: "alert" }, reason);
  /** @param {boolean} register */
  const submit = (register) => {
    const username = nameInput.value.trim();
    const password = passwordInput.value;
    if (!isName(username)) {
      problem.textContent = "A name is 1 to 32 letters, digits, dots, dashes or underscores.";
      nameInput.focus();
      return;
    }
    if (register && [...password].length < 8) {
      problem.textContent = "To register, choose a password of at least 8 characters.";
      passwordInput.focus();
      return;
    }
    problem.textContent = "";
    form.setAttribute("aria-busy", "true");
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    onLogin(password ? { username, password, register } : { username });
  };
  const form = h(
    "form",
    {
      class: "login-form",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        submit(false);
      },
    },
    h("label", { for: "login-name" }, "Name"),
    nameInput,
    h("label", { for: "login-password" }, "Password"),
    passwordInput,
    h("p", { id: "login-help", class: "help" }, "Leave it empty to come in as a guest."),
    problem,
    h(
      "div",
      { class: "form-buttons" },
      h("button", { type: "submit", class: "primary" }, "Enter"),
      h("button", { type: "button", onclick: () => submit(true) }, "Register"),
    ),
  );
  queueMicrotask(() => nameInput.focus());
  return h(
    "main",
    { class: "login" },
    h("h1", {}, "SyncNet"),
    h("p", { class: "lead" }, "The chat of your own servers."),
    form,
  );
}
