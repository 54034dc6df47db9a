"""A web app in a headless Chromium that is told by Web Push (RFC 8291, RFC 8620 §7.2).

    web_push_page.py ORIGIN USER PASSWORD PAGE URL

The page, served at PAGE (host:port), makes keys by WebCrypto and subscribes through the proxy at ORIGIN,
with URL as its push service's. What came to that is read from standard input, a body in base64url a line:
the page's service worker decrypts it by WebCrypto, gets it as its `push` event and hands it to the page,
which shows a verification's code to the proxy. Each is printed as a line of JSON, decrypted.

There is no push service that Chromium would believe, so that its place between URL and the event is taken
by the DevTools protocol; decrypting, which Chromium itself does there, is the service worker's.
"""
import base64
import http.server
import json
import signal
import sys
import threading

from chromium import Chromium

origin, user, password, page, url = sys.argv[1:6]

# RFC 8188 §2: salt (16), record size (4), length of the key id (1), the key id, which is the sender's public
# key (RFC 8291 §4); one record, closed by 2 and padding.
WORKER = """
const bytes = (...parts) => new Uint8Array(parts.flatMap((part) =>
  [...(typeof part === "string" ? new TextEncoder().encode(part) : new Uint8Array(part))]));
const derive = async (secret, salt, info, octets) => {
  const key = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt, info };
  return crypto.subtle.deriveBits(how, key, 8 * octets);
};
const decrypt = async ({ body, privateKey, p256dh, auth }) => {
  const salt = body.slice(0, 16), keyId = body.slice(21, 21 + body[20]);
  const curve = { name: "ECDH", namedCurve: "P-256" };
  const sender = await crypto.subtle.importKey("raw", keyId, curve, false, []);
  const shared = await crypto.subtle.deriveBits({ ...curve, public: sender }, privateKey, 256);
  const secret = await derive(shared, auth, bytes("WebPush: info\\0", p256dh, keyId), 32);
  const key = await derive(secret, salt, bytes("Content-Encoding: aes128gcm\\0"), 16);
  const iv = await derive(secret, salt, bytes("Content-Encoding: nonce\\0"), 12);
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  const record = body.slice(21 + body[20]);
  const padded = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, aes, record));
  return new TextDecoder().decode(padded.slice(0, padded.lastIndexOf(2)));
};
self.onactivate = (event) => event.waitUntil(clients.claim());
self.onmessage = (event) => event.waitUntil(decrypt(event.data).then(
  (opened) => event.source.postMessage({ opened }),
  (error) => event.source.postMessage({ opened: String(error) }),
));
self.onpush = (event) => event.waitUntil((async () => {
  for (const client of await clients.matchAll()) client.postMessage({ pushed: event.data.json() });
})());
"""

SCRIPT = """
const AUTHORIZATION = %(authorization)s;
const encode = (octets) => btoa(String.fromCharCode(...new Uint8Array(octets)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const decode = (text) => Uint8Array.from(
  atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt());
const call = async (session, method, how) => {
  const answer = await fetch(session.apiUrl, {
    method: "POST",
    headers: { Authorization: AUTHORIZATION, "Content-Type": "application/json" },
    body: JSON.stringify({ using: ["urn:ietf:params:jmap:core"], methodCalls: [[method, how, "0"]] }),
  });
  return (await answer.json()).methodResponses[0][1];
};
let session, keys;
const subscribe = async () => {
  await navigator.serviceWorker.register("/worker.js");
  await navigator.serviceWorker.ready;
  navigator.serviceWorker.addEventListener("message", async ({ data: { pushed } }) => {
    if (!pushed) return;
    if (pushed["@type"] === "PushVerification") {
      const { pushSubscriptionId, verificationCode } = pushed;
      const update = { [pushSubscriptionId]: { verificationCode } };
      pushed.shown = await call(session, "PushSubscription/set", { update });
    }
    report(JSON.stringify(pushed));
  });
  const asked = await fetch(%(origin)s + "/.well-known/jmap", { headers: { Authorization: AUTHORIZATION } });
  session = await asked.json();
  const curve = { name: "ECDH", namedCurve: "P-256" };
  const pair = await crypto.subtle.generateKey(curve, false, ["deriveBits"]);
  const p256dh = await crypto.subtle.exportKey("raw", pair.publicKey);
  const auth = crypto.getRandomValues(new Uint8Array(16));
  keys = { privateKey: pair.privateKey, p256dh, auth };
  const create = { page: { deviceClientId: "chromium", url: %(url)s, types: null,
    keys: { p256dh: encode(p256dh), auth: encode(auth) } } };
  return call(session, "PushSubscription/set", { create });
};
const open = async (body) => {
  const opened = new Promise((done) => navigator.serviceWorker.addEventListener(
    "message", ({ data }) => done(data.opened), { once: true }));
  navigator.serviceWorker.controller.postMessage({ ...keys, body: decode(body) });
  return opened;
};
"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_worker = self.path == "/worker.js"
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_worker else "text/html")
        self.end_headers()
        self.wfile.write(WORKER.encode() if is_worker else b"<!doctype html><title>webmail</title>")

    def log_message(self, *_):
        pass


host, port = page.rsplit(":", 1)
server = http.server.ThreadingHTTPServer((host, int(port)), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
# Ended by SIGTERM, it takes the browser with it.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
script = SCRIPT % {
    "authorization": json.dumps(f"Basic {credentials}"),
    "origin": json.dumps(origin),
    "url": json.dumps(url),
}
with Chromium() as browser:
    browser.open(f"http://{page}/")
    browser.ask("ServiceWorker.enable")
    browser.run(script)
    print(json.dumps(browser.run("subscribe()")), flush=True)
    registrations = []
    while not registrations:
        registrations = browser.event("ServiceWorker.workerRegistrationUpdated")["registrations"]
    for line in sys.stdin:
        opened = browser.run(f"open({json.dumps(line.strip())})")
        browser.ask(
            "ServiceWorker.deliverPushMessage", origin=f"http://{page}",
            registrationId=registrations[0]["registrationId"], data=opened,
        )
        print(browser.next_call(), flush=True)
