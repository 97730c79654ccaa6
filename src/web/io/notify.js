// What tells people of news while they look elsewhere: notifications, the title, the icon.
import { isMuted, read } from "../ui/preferences.js";
import { roomTitle } from "../core/names.js";
import { plain } from "../model/markdown.js";
import { clean } from "../model/text.js";

/**
 * @typedef {import("../model/chat.js").Chat} Chat
 */

/** @param {Chat} chat @param {(room: string, seq: number) => void} onOpen */
export function startNotifying(chat, onOpen) {
  const link = /** @type {HTMLLinkElement|null} */ (document.querySelector('link[rel="icon"]'));
  const icon = link?.href ?? "";
  const badge = () => {
    const loud = chat.listed().filter((info) => info.joined && !isMuted(info.name));
    const urgent = loud.reduce(
      (sum, info) => sum + (info.name.startsWith("@") ? info.unread : info.mentions),
      0,
    );
    const any = loud.some((info) => info.unread > 0);
    const place = chat.current ? `${roomTitle(chat.current, chat.me)} · SyncNet` : "SyncNet";
    document.title = urgent ? `(${urgent}) ${place}` : any ? `• ${place}` : place;
    const wanted = urgent ? icon.replace("icon.svg", "icon-unread.svg") : icon;
    if (link && link.href !== wanted) link.href = wanted;
  };
  let isDue = false;
  const badgeSoon = () => {
    if (isDue) return;
    isDue = true;
    setTimeout(() => {
      isDue = false;
      badge();
    }, 60);
  };
  chat.on("rooms", badgeSoon);
  chat.on("room", badge);
  chat.on("message", ({ event, info }) => {
    const level = read("notify") ?? "off";
    const isUrgent = info.name.startsWith("@") || chat.isMentioned(event.mentions ?? []);
    const isLookedAt = document.hasFocus() && chat.current === info.name && chat.isAtBottom;
    if (level === "off" || (level === "mentions" && !isUrgent) || isLookedAt || isMuted(info.name)) return;
    // Of several tabs, only one notifies.
    if (!chat.outbox.isOwner || !("Notification" in globalThis) || Notification.permission !== "granted") {
      return;
    }
    const place = info.name.startsWith("@") ? "" : ` in ${info.name}`;
    const note = new Notification(`${clean(event.author)}${place}`, {
      body: clean(plain(event.body, 200)),
      tag: `${info.name}/${event.seq}`,
      icon,
    });
    note.onclick = () => {
      window.focus();
      onOpen(info.name, event.seq);
      note.close();
    };
  });
}
