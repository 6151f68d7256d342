/**
 * Makes the page work without a network: keeps its files when it is first opened, and answers from
 * them. `site` stands before this text: the files, and their version, which changes with any of them.
 */
/* global site */
const prefix = `deno-vit ${self.registration.scope} `;
const name = prefix + site.version;

self.addEventListener("install", (event) => event.waitUntil(keep()));
self.addEventListener("activate", (event) => event.waitUntil(takeOver()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) {
    event.respondWith(answer(event.request));
  }
});

async function keep() {
  const cache = await caches.open(name);
  await cache.addAll(site.files.map((file) => new Request(file, { cache: "reload" })));
  await self.skipWaiting();
}

async function takeOver() {
  for (const key of await caches.keys()) {
    if (key.startsWith(prefix) && key !== name) await caches.delete(key);
  }
  await self.clients.claim();
}

async function answer(request) {
  const cache = await caches.open(name);
  return await cache.match(request, { ignoreSearch: true }) ?? await fetch(request);
}
