// A file in a message: pictures are shown in a frame whose size is known before they arrive, so that nothing
// moves; all else is a name, a size and a button.
import { download, shownType } from "../io/files.js";
import { clean, sizeText } from "../model/text.js";
import { fill, h, icon } from "./dom.js";

/** Larger pictures are only fetched when asked for. */
const PREVIEW_BYTES = 8 * 1000 * 1000;
/** So many pictures are kept in memory. */
const KEPT = 40;

/** Addresses of blobs, by file; the last used last. @type {Map<string, string>} */
const kept = new Map();

/**
 * @typedef {import("../model/chat.js").Chat} Chat
 * @typedef {{file_id: string, name: string, size: number, content_type?: string}} FileInfo
 */

/** Fetches pictures when they come into view. */
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    target.dispatchEvent(new Event("seen"));
  }
}, { rootMargin: "300px" });

/** @param {FileInfo} file @param {Chat} chat */
async function addressOf(file, chat) {
  const known = kept.get(file.file_id);
  if (known) {
    kept.delete(file.file_id);
    kept.set(file.file_id, known);
    return known;
  }
  const blob = await download((msgType, data) => chat.wire.ask(msgType, data), file.file_id);
  const address = URL.createObjectURL(blob);
  kept.set(file.file_id, address);
  for (const [id, old] of kept) {
    if (kept.size <= KEPT) break;
    kept.delete(id);
    URL.revokeObjectURL(old);
  }
  return address;
}

/** @param {FileInfo} file @param {Chat} chat */
export function fileCard(file, chat) {
  const name = clean(file.name) || "file";
  const isPicture = shownType(file.content_type).startsWith("image/");
  const problem = h("span", { class: "problem", role: "alert" });
  const save = h("button", {
    type: "button",
    class: "small",
    onclick: async () => {
      save.disabled = true;
      try {
        const blob = await download(
          (msgType, data) => chat.wire.ask(msgType, data),
          file.file_id,
          (part) => save.textContent = `${Math.floor(part * 100)} %`,
        );
        const address = URL.createObjectURL(blob);
        h("a", { href: address, download: name }).click();
        setTimeout(() => URL.revokeObjectURL(address), 60_000);
      } catch (error) {
        problem.textContent = /** @type {Error} */ (error).message;
      }
      save.disabled = false;
      save.textContent = "Download";
    },
  }, "Download");
  const line = h(
    "p",
    { class: "file-name" },
    icon("file"),
    h("bdi", {}, name),
    h("span", { class: "file-size" }, ` ${sizeText(file.size)} `),
    save,
    problem,
  );
  return h("div", { class: "file" }, isPicture && picture(file, name, chat), line);
}

/** @param {FileInfo} file @param {string} name @param {Chat} chat */
function picture(file, name, chat) {
  const frame = h("div", { class: "picture" });
  const show = async () => {
    try {
      const address = await addressOf(file, chat);
      const image = h("img", { src: address, alt: name });
      image.onerror = () => fill(frame, h("span", { class: "help" }, "This picture cannot be shown."));
      fill(
        frame,
        h("button", {
          type: "button",
          class: "picture-button",
          title: "Show it large",
          onclick: () => large(address, name),
        }, image),
      );
    } catch (error) {
      fill(frame, h("span", { class: "help" }, /** @type {Error} */ (error).message));
    }
  };
  if (file.size > PREVIEW_BYTES) {
    fill(frame, h("button", { type: "button", class: "small", onclick: show }, "Show the picture"));
  } else {
    frame.addEventListener("seen", show, { once: true });
    seen.observe(frame);
  }
  return frame;
}

/** @param {string} address @param {string} name */
function large(address, name) {
  const dialog = h(
    "dialog",
    { class: "large-picture", "aria-label": name, onclick: () => dialog.close() },
    h("img", { src: address, alt: name }),
    h("button", { type: "button", class: "small" }, "Close"),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
