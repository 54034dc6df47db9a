// The service worker of the demo's page: shows what this browser's own push service brings, already
// decrypted by the browser (RFC 8291), and hands it to the pages that are open.
"use strict";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => event.waitUntil((async () => {
  const text = event.data ? event.data.text() : "";
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  for (const page of pages) page.postMessage(text);
  let message = {};
  try { message = JSON.parse(text); } catch { /* shown as it is */ }
  await self.registration.showNotification("jmap-push-proxy", {
    body: message["@type"] === "StateChange"
      ? "Something is new in " + Object.keys(message.changed).join(", ")
      : message["@type"] ?? text,
    tag: "jmap-push-proxy",
  });
})()));
