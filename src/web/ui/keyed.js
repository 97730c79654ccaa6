// The children of an element by key. One is made anew only when its mark has changed, so what has the focus,
// is being pressed or is being read stays where it is while others come and go.

/** @typedef {{key: string, mark: string, make: () => HTMLElement|null}} Wanted */

export class Keyed {
  /** @param {HTMLElement} parent which has no other children */
  constructor(parent) {
    this.parent = parent;
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

  /**
   * @param {Wanted[]} wanted from top to bottom
   * @param {(old: HTMLElement, fresh: HTMLElement) => (() => void)|null} [takeOver] gives what is to be done
   *   once `fresh` stands in the place of `old`
   */
  draw(wanted, takeOver = takeFocus) {
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
        const then = row && node ? takeOver(row.node, node) : null;
        if (then) queueMicrotask(then);
        if (row && row.node === place) place = row.node.nextSibling;
        row?.node.remove();
        if (!node) continue;
        row = { node, mark };
      }
      rows.set(key, row);
      if (row.node === place) place = place.nextSibling;
      else this.parent.insertBefore(row.node, place);
    }
    this.rows = rows;
  }
}

/** @param {HTMLElement} old @param {HTMLElement} fresh */
function takeFocus(old, fresh) {
  if (!old.contains(document.activeElement)) return null;
  return () => /** @type {HTMLElement|null} */ (fresh.querySelector("a, button"))?.focus();
}
