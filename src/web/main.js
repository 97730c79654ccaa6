// The entry of the page: the login, the chat, what is shown.
import { hostForPage } from "./core/directory.js";
import { startNotifying } from "./io/notify.js";
import { openStore } from "./io/store.js";
import { startWorker } from "./io/worker.js";
import { Chat } from "./model/chat.js";
import { counted, sentence } from "./model/text.js";
import { App } from "./ui/app.js";
import { loginPage } from "./ui/login.js";
import { notice, offerReload } from "./ui/notices.js";
import { applyTheme, readJson, write, writeJson } from "./ui/preferences.js";

/** @param {string} name */
const meta = (name) => document.querySelector(`meta[name="syncnet-${name}"]`)?.getAttribute("content") ?? "";

/** @type {Chat|null} */
let chat = null;
/** @type {App|null} */
let app = null;
/** Asks the server which version of the page it has. */
let lookForNewVersion = () => {};

/**
 * The servers to try: that of the page, those that the page names, and those that were listed last time.
 * @returns {{id: string|null, address: import("./core/directory.js").Address}[]}
 */
function servers() {
  const own = meta("server");
  const port = Number(location.port) || (location.protocol === "https:" ? 443 : 80);
  const here = { id: own, address: { host: location.hostname, port } };
  const named = meta("servers").split(", ").map((text) => text.split(" ")).filter((parts) =>
    parts.length === 3
  )
    .map(([id, host, listed]) => ({ id, address: { host, port: Number(listed) } }));
  const kept = (readJson("servers") ?? []).map((/** @type {any} */ server) => ({
    id: server.server_id,
    address: { host: hostForPage(server.host, location.hostname), port: server.tcp_port },
  }));
  const isNew = (
    /** @type {{id: string|null}} */ server,
    /** @type {number} */ at,
    /** @type {{id: string|null}[]} */ all,
  ) => all.findIndex((other) => other.id === server.id) === at;
  return [here, ...named, ...kept].filter(isNew);
}

/** @param {Element} element */
function show(element) {
  for (const child of [...document.body.children]) if (child.tagName !== "DIALOG") child.remove();
  document.body.prepend(element);
}

function stop() {
  app?.stop();
  chat?.stop();
  app = chat = null;
  for (const dialog of document.querySelectorAll("dialog")) dialog.remove();
}

/**
 * What is said above the form, and what to do.
 * @param {import("./core/client.js").Refusal} refusal
 */
function whyNot({ code, reason }) {
  const advice = code === "name_taken"
    ? " If it is yours, type its password and press “Enter”; else choose another one."
    : "";
  return `${reason.charAt(0).toUpperCase()}${sentence(reason).slice(1)}${advice}`;
}

/** @param {string} [reason] @param {string} [name] */
function logIn(reason = "", name = "") {
  stop();
  document.title = "SyncNet";
  show(loginPage({ reason, name, onLogin: (login) => begin(login, false) }));
}

/**
 * @param {import("./core/client.js").Login} login
 * @param {boolean} isKnown this browser was logged in before: the page is shown at once, with or without a server
 */
async function begin(login, isKnown) {
  stop();
  let store;
  try {
    store = await openStore();
  } catch {
    return logIn(
      "This browser keeps nothing for this page, so unsent messages could be lost. Leave its private mode.",
    );
  }
  const kept = await store.kept(login.username, "").catch(() => null);
  const current = new Chat({ login, store, kept, servers: servers(), pageHost: location.hostname });
  chat = current;
  const enter = () => {
    if (app) return;
    app = new App(current, {
      onLogOut: (everywhere) => logOut(current, everywhere),
      onToken: (token) => writeJson("session", { username: current.me, token }),
    });
    show(app.element);
    startNotifying(current, (room, seq) => app?.go(room, seq));
  };
  const giveUp = setTimeout(() => {
    if (!app && chat === current) logIn("No server has answered. Try again in a moment.", login.username);
  }, 20_000);
  current.on("session", ({ username, token, refusal, servers: list }) => {
    if (chat !== current) return;
    if (list) writeJson("servers", list.servers);
    if (username) {
      clearTimeout(giveUp);
      writeJson("session", { username, token });
      enter();
    }
    if (refusal) {
      clearTimeout(giveUp);
      writeJson("session", null);
      logIn(whyNot(refusal), login.username);
    }
  });
  // A server that comes back may be a newer one.
  current.on("connected", () => lookForNewVersion());
  current.start();
  if (isKnown && chat === current) {
    clearTimeout(giveUp);
    enter();
  }
}

/** @param {Chat} current @param {boolean} everywhere */
async function logOut(current, everywhere) {
  const waiting = current.outbox.waiting.length;
  if (
    waiting > 0 &&
    !globalThis.confirm(
      `${counted(waiting, "message is", "messages are")} not sent and will be lost. Log out?`,
    )
  ) {
    return;
  }
  if (current.hasAccount) {
    await current.wire.ask("logout", { everywhere: everywhere || undefined }, { again: false }).catch(
      () => {},
    );
  }
  await current.store.forget(current.me).catch(() => {});
  for (const name of ["session", "drafts", "room"]) write(name, null);
  location.hash = "";
  logIn();
}

applyTheme();
const session = readJson("session");
if (session?.username) begin(session, true);
else logIn();
// A logout in another tab counts here, too.
addEventListener("storage", (event) => {
  if (event.key === "syncnet.session" && event.newValue === null && chat) logIn();
  if (event.key === "syncnet.theme") applyTheme();
});
startWorker(offerReload).then(
  (look) => lookForNewVersion = look,
  (error) => notice({ text: `The page cannot be kept for later: ${error.message}` }),
);
