// The children of an element by key. One is made anew only when its mark has changed, so what has the focus,
// is being pressed or is being read stays where it is while others come and go.

/** @typedef {{key: string, mark: string, make: () => HTMLElement|null}} Wanted */

export class Keyed {
  /**
   * @param {HTMLElement} parent which has no other children
   * @param {((old: HTMLElement, fresh: HTMLElement) => (() => void)|null)|null} [takeOver] gives what is to be
   *   done once `fresh` stands in the place of `old`; without it the old one stays, and gets the content of the
   *   fresh one
   */
  constructor(parent, takeOver = null) {
    this.parent = parent;
    this.takeOver = takeOver;
    /** @type {Map<string, {node: HTMLElement, mark: string}>} */
    this.rows = new Map();
  }

  clear() {
    this.rows.clear();
    this.parent.replaceChildren();
  }

  /** @param {string} key */
  node(key) {
    return this.rows.get(key)?.node;
  }

  /** @param {Wanted[]} wanted from top to bottom */
  draw(wanted) {
    const keys = new Set(wanted.map(({ key }) => key));
    // First, so that the others need not be moved: a node that moves is laid out anew and loses the focus.
    for (const [key, { node }] of this.rows) if (!keys.has(key)) node.remove();
    const rows = new Map();
    /** @type {ChildNode|null} */
    let place = this.parent.firstChild;
    for (const { key, mark, make } of wanted) {
      let row = this.rows.get(key);
      if (!row || row.mark !== mark) {
        const node = make();
        if (row && node && !this.takeOver) {
          renew(row.node, node);
          row.mark = mark;
        } else {
          const then = row && node ? this.takeOver?.(row.node, node) : null;
          if (then) queueMicrotask(then);
          if (row && row.node === place) place = row.node.nextSibling;
          row?.node.remove();
          if (!node) continue;
          row = { node, mark };
        }
      }
      rows.set(key, row);
      if (row.node === place) place = place.nextSibling;
      else this.parent.insertBefore(row.node, place);
    }
    this.rows = rows;
  }
}

/**
 * Of an entry with one link or button: that keeps the focus and a pointer that is down on it.
 * @param {HTMLElement} old
 * @param {HTMLElement} fresh
 */
function renew(old, fresh) {
  old.className = fresh.className;
  const [target, source] = [old.firstElementChild, fresh.firstElementChild];
  if (!target || !source) return;
  for (const { name } of [...target.attributes]) {
    if (!source.hasAttribute(name)) target.removeAttribute(name);
  }
  for (const { name, value } of source.attributes) target.setAttribute(name, value);
  target.replaceChildren(...source.childNodes);
}
