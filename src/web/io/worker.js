// The service worker, if the origin is secure: the page opens without a server. And whether the server has another
// version of the page by now.

/** How often a page that stays open looks for another version, beside after each connection. */
const LOOK_MS = 30 * 60_000;
/** Where the files of this version are: below a hash of all of them. */
const OWN = /\/web\/[^/]+\//.exec(import.meta.url)?.[0] ?? "";

/**
 * Begins to look for another version. What it gives is called to look at once.
 * @param {(reload: () => void) => void} onNewVersion
 * @returns {Promise<() => void>}
 */
export async function startWorker(onNewVersion) {
  const hasWorker = "serviceWorker" in navigator && isSecureContext;
  const lookFor = hasWorker ? await worker(onNewVersion) : () => page(onNewVersion);
  // While no server answers there is nothing to be seen.
  const look = () => void lookFor().catch(() => {});
  setInterval(look, LOOK_MS);
  return look;
}

/** Whether the server has another page than this one. */
async function isOld() {
  const answer = await fetch("/", { cache: "no-cache" });
  return answer.ok && !(await answer.text()).includes(OWN);
}

/** @param {(reload: () => void) => void} onNewVersion */
async function page(onNewVersion) {
  if (await isOld()) onNewVersion(() => location.reload());
}

/** @param {(reload: () => void) => void} onNewVersion @returns {Promise<() => Promise<unknown>>} */
async function worker(onNewVersion) {
  const path = "/sw.js";
  /** The only script address that this page ever makes. */
  const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("syncnet", {
    createScriptURL: (/** @type {string} */ address) => {
      if (address !== path) throw new TypeError("not the service worker");
      return address;
    },
  });
  const registration = await navigator.serviceWorker.register(policy ? policy.createScriptURL(path) : path);
  const takeOver = () => registration.waiting?.postMessage("take over");
  const offer = async () => {
    // The first worker of all waits for nobody.
    if (!registration.waiting || !registration.active) return;
    // A page that was opened since has the new version and the old worker.
    if (!(await isOld())) return takeOver();
    onNewVersion(() => {
      // Another tab may have let it take over already.
      if (!registration.waiting) return location.reload();
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      takeOver();
    });
  };
  const offerSoon = () => void offer().catch(() => {});
  registration.addEventListener("updatefound", () => {
    registration.installing?.addEventListener("statechange", offerSoon);
  });
  offerSoon();
  return () => registration.update();
}
