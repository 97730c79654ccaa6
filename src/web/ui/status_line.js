// The status line: the server, and whether what is shown is up to date.
import { fill, h } from "./dom.js";

/** @param {import("../model/chat.js").Chat} chat */
export function statusLine(chat) {
  const element = h("div", { class: "status", role: "status", "aria-label": "Connection" });
  const draw = () => {
    const { phase, serverId, majority, leader, isCut } = chat.status;
    const waiting = chat.outbox.waiting.filter((message) => !message.failed).length;
    const kept = waiting > 0 ? ` · ${waiting === 1 ? "1 message waits" : `${waiting} messages wait`}` : "";
    let [kind, text] = ["good", `Connected to ${serverId}`];
    if (isCut) {
      [kind, text] = ["wait", `reconnecting · what you write is kept and sent${kept}`];
    } else if (!majority || (phase === "up" && !leader)) {
      [kind, text] = ["bad", `no majority: read only${serverId ? ` · ${serverId}` : ""}${kept}`];
    } else if (phase === "connecting") {
      [kind, text] = ["wait", serverId ? `${serverId} is gone, reconnecting` : "reconnecting"];
    } else if (phase === "down") {
      [kind, text] = ["wait", `reconnecting · what you write is kept and sent${kept}`];
    }
    if (element.textContent === text && element.classList.contains(kind)) return;
    element.className = `status ${kind}`;
    fill(element, h("span", { class: "status-dot", "aria-hidden": "true" }), text);
  };
  chat.on("status", draw);
  chat.on("pending", draw);
  draw();
  return element;
}
