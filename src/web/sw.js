// The service worker: lets the page open while no server answers. The page itself is taken from the cache
// only if no server answers, so an old page never talks to a new server. The files name their content and are
// taken from the cache first. A server of another version sends another worker, with another cache.
const VERSION = "%VERSION%";
const FILES = "%FILES%".split(" ");
const CACHE = `syncnet-${VERSION}`;
const PAGE_MS = 3_000;

/** @param {Request} request */
async function page(request) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(PAGE_MS) });
    const isThisVersion = answer.ok && (await answer.clone().text()).includes(`/web/${VERSION}/`);
    if (isThisVersion) await cache.put("/", answer.clone());
    return answer;
  } catch {
    return (await cache.match("/")) ?? Response.error();
  }
}

/** @param {Request} request */
async function file(request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(request)) ?? fetch(request);
}

addEventListener("install", (/** @type {any} */ event) => {
  const fill = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(["/", ...FILES]);
  };
  event.waitUntil(fill());
});

addEventListener("activate", (/** @type {any} */ event) => {
  const clean = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("syncnet-") && name !== CACHE) await caches.delete(name);
    }
    await /** @type {any} */ (self).clients.claim();
  };
  event.waitUntil(clean());
});

addEventListener("message", (event) => {
  if (event.data === "take over") /** @type {any} */ (self).skipWaiting();
});

addEventListener("fetch", (/** @type {any} */ event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (request.mode === "navigate" && pathname === "/") event.respondWith(page(request));
  else if (pathname.startsWith(`/web/${VERSION}/`)) event.respondWith(file(request));
});
