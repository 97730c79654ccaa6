// The login form for people at other machines.
import { h } from "../ui/dom.js";

/** @param {{sentence: string, onEntered: () => void}} options */
export function loginForm({ sentence, onEntered }) {
  const name = h("input", {
    id: "login-name",
    name: "username",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: 32,
    required: true,
  });
  const password = h("input", {
    id: "login-password",
    type: "password",
    name: "password",
    autocomplete: "current-password",
    required: true,
  });
  const problem = h("p", { class: "problem", role: "alert" });
  const button = h("button", { type: "submit", class: "primary" }, "Enter");

  async function enter() {
    problem.textContent = "";
    button.disabled = true;
    try {
      const answer = await fetch("/dashboard/login", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ username: name.value.trim(), password: password.value }),
      });
      if (answer.ok) return onEntered();
      const { error } = await answer.json();
      problem.textContent = error?.reason ? `${error.reason}.` : `The server says ${answer.status}.`;
    } catch {
      problem.textContent = "The server does not answer. Try again in a moment.";
    } finally {
      button.disabled = false;
    }
    password.value = "";
    password.focus();
  }

  const form = h(
    "form",
    {
      class: "login-form",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        enter();
      },
    },
    h("label", { for: "login-name" }, "Name"),
    name,
    h("label", { for: "login-password" }, "Password"),
    password,
    problem,
    h("div", { class: "form-buttons" }, button),
  );
  queueMicrotask(() => name.focus());
  return h(
    "main",
    { class: "login" },
    h("h1", {}, "SyncNet cluster"),
    h("p", { class: "lead" }, sentence),
    form,
  );
}
