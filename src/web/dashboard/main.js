// The entry of the dashboard: the form, or the cluster.
import { applyTheme } from "../ui/preferences.js";
import { Board } from "./board.js";
import { loginForm } from "./login.js";
import { Page } from "./page.js";

const SENTENCE = "From here only administrators may see the cluster.";

/** @param {string} name */
const meta = (name) => document.querySelector(`meta[name="syncnet-${name}"]`)?.getAttribute("content") ?? "";

/** @type {Board|null} */
let board = null;

/** @param {Element} element */
function show(element) {
  document.body.replaceChildren(element);
}

function ask() {
  board?.stop();
  board = null;
  show(loginForm({ sentence: SENTENCE, onEntered: () => look(true) }));
}

async function logOut() {
  await fetch("/dashboard/logout", { method: "POST" }).catch(() => {});
  ask();
}

/** @param {boolean} hasEntered there is a cookie to give back */
function look(hasEntered) {
  const page = new Page({ onLogOut: hasEntered ? logOut : null });
  board = new Board({
    onView: (view) => page.show(view),
    onTrouble: (words) => page.say(words),
    onClosed: ask,
  });
  show(page.element);
  board.start();
}

applyTheme();
if (meta("state") === "closed") ask();
else look(meta("state") === "entered");
