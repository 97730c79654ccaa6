// The service worker, if the origin is secure: the page opens without a server, and learns of a new version.

/** @param {(reload: () => void) => void} onNewVersion */
export async function startWorker(onNewVersion) {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  const path = "/sw.js";
  /** The only script address that this page ever makes. */
  const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("syncnet", {
    createScriptURL: (/** @type {string} */ address) => {
      if (address !== path) throw new TypeError("not the service worker");
      return address;
    },
  });
  const registration = await navigator.serviceWorker.register(policy ? policy.createScriptURL(path) : path);
  const wasControlled = Boolean(navigator.serviceWorker.controller);
  const offer = () => {
    if (!registration.waiting || !wasControlled) return;
    onNewVersion(() => {
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      registration.waiting?.postMessage("take over");
    });
  };
  registration.addEventListener("updatefound", () => {
    registration.installing?.addEventListener("statechange", offer);
  });
  offer();
  // A page stays open for weeks.
  setInterval(() => registration.update().catch(() => {}), 30 * 60_000);
}
