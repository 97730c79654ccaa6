// Which of several tabs of one user sends what waits: one, by a Web Lock. If the origin is not secure there
// are no locks, and a lease in localStorage takes their place. If two tabs ever send at once all the same,
// the ids keep each message single, and the order is kept, since both send from the first one on.

const LEASE_MS = 3_000;

/**
 * Calls `own` once this tab is the one. The lock goes to another tab when this one is closed.
 * @param {string} name
 * @param {() => void} own
 * @param {() => void} lose
 * @returns {() => void} gives it up
 */
export function becomeOwner(name, own, lose) {
  return navigator.locks ? byLock(name, own) : byLease(name, own, lose);
}

/** @param {string} name @param {() => void} own */
function byLock(name, own) {
  /** @type {() => void} */
  let release = () => {};
  const controller = new AbortController();
  navigator.locks.request(name, { signal: controller.signal }, () => {
    own();
    return new Promise((resolve) => release = () => resolve(undefined));
  }).catch(() => {});
  return () => {
    controller.abort();
    release();
  };
}

/** @param {string} name @param {() => void} own @param {() => void} lose */
function byLease(name, own, lose) {
  const me = crypto.getRandomValues(new Uint32Array(2)).join("-");
  let mine = false;
  const look = () => {
    const [holder, until] = (localStorage.getItem(name) ?? " 0").split(" ");
    const isFree = holder === me || Number(until) < Date.now();
    if (isFree) localStorage.setItem(name, `${me} ${Date.now() + LEASE_MS}`);
    if (isFree && !mine) own();
    if (!isFree && mine) lose();
    mine = isFree;
  };
  look();
  const timer = setInterval(look, LEASE_MS / 3);
  const release = () => {
    clearInterval(timer);
    if (mine) localStorage.removeItem(name);
    mine = false;
  };
  addEventListener("pagehide", release, { once: true });
  return release;
}
