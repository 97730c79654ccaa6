// Files that are dropped on the page. Wherever they fall they are taken: a browser would leave the page for
// them.

/**
 * @param {HTMLElement} place is marked while files are above the page
 * @param {AbortSignal} signal ends it
 * @param {(files: File[]) => void} take
 */
export function takeDrops(place, signal, take) {
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  const mark = (/** @type {boolean} */ isAbove) => place.classList.toggle("dropping", isAbove);
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(true);
  }, { signal });
  addEventListener("dragleave", (event) => {
    // Only out of the window; from one part of the page to the next it names the part.
    if (event.relatedTarget === null) mark(false);
  }, { signal });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(false);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length && !document.querySelector("dialog[open]")) take(files);
  }, { signal });
}
