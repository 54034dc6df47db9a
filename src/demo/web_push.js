// The page's part about Web Push: two ways to be told without a connection, side by side. One goes through
// the demo's own push service and is decrypted here, so that it can be looked at; the other through the
// browser's push service, which decrypts for the service worker. Uses what page.html declares.
"use strict";

const VAPID = "urn:ietf:params:jmap:webpush-vapid";
const DEVICE = sessionStorage.device ??= crypto.randomUUID?.() ?? String(Math.random());

// ---- RFC 8291: keys, and what they open --------------------------------------------------------------

const octets = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const utf8 = (text) => new TextEncoder().encode(text);
const joined = (...parts) => new Uint8Array(parts.flatMap((part) => [...part]));

async function newKeys() {
  const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, false, ["deriveBits"]);
  const p256dh = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { privateKey: pair.privateKey, p256dh, auth: crypto.getRandomValues(new Uint8Array(16)) };
}

async function hkdf(secret, salt, info, length) {
  const key = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  return crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, 8 * length);
}

// salt 16 | record size 4 | length of the key 1 | sender's key | AES-128-GCM of: plaintext | 2 | zeros
async function decrypt(keys, body) {
  const end = 21 + body[20];
  const [salt, senderKey, record] = [body.slice(0, 16), body.slice(21, end), body.slice(end)];
  const sender = await crypto.subtle.importKey("raw", senderKey, { name: "ECDH", namedCurve: "P-256" }, false, []);
  const shared = await crypto.subtle.deriveBits({ name: "ECDH", public: sender }, keys.privateKey, 256);
  const material = await hkdf(shared, keys.auth, joined(utf8("WebPush: info\0"), keys.p256dh, senderKey), 32);
  const key = await hkdf(material, salt, utf8("Content-Encoding: aes128gcm\0"), 16);
  const iv = await hkdf(material, salt, utf8("Content-Encoding: nonce\0"), 12);
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  const plain = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, aes, record));
  const last = plain.findLastIndex((octet) => octet !== 0);
  if (plain[last] !== 2) throw new Error("the message is cut off");
  return new TextDecoder().decode(plain.slice(0, last));
}

// RFC 8292: the token's claims, if it is signed by the key that the Session names.
async function readVapid(authorization, applicationServerKey) {
  const [, token, k] = /^vapid t=([^,]+), ?k=(.+)$/.exec(authorization) ?? [];
  if (k !== applicationServerKey) throw new Error("not signed by the proxy's key");
  const [header, claims, signature] = token.split(".");
  const key = await crypto.subtle.importKey("raw", octets(k), { name: "ECDSA", namedCurve: "P-256" }, false, ["verify"]);
  const signed = await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, octets(signature), utf8(header + "." + claims));
  if (!signed) throw new Error("the signature is wrong");
  return JSON.parse(new TextDecoder().decode(octets(claims)));
}

// ---- PushSubscription (RFC 8620 §7.2) ----------------------------------------------------------------

const shown = (way) => document.querySelector(`[data-way=${way}]`);

function showStep(way, what, began) {
  shown(way).querySelector("ol").append(element("li", {}, what,
    element("span", { className: "chip", textContent: milliseconds(performance.now() - began) })));
}

// What a step gives, once it is shown with the time it took.
async function step(way, what, doing) {
  const began = performance.now();
  const result = await doing();
  showStep(way, what, began);
  return result;
}

const asked = {};                 // when each way's subscription was last asked for

async function createSubscription(way, url, keys) {
  const deviceClientId = way + " " + DEVICE;
  const [{ list }] = await call(["PushSubscription/get", { properties: ["deviceClientId"] }, "0"]);
  const destroy = list.filter((old) => old.deviceClientId === deviceClientId).map((old) => old.id);
  asked[way] = performance.now();
  const [set] = await call(["PushSubscription/set", { destroy, create: { new: { deviceClientId, url, keys } } }, "0"]);
  if (!set.created?.new) throw new Error(set.notCreated?.new?.description ?? set.description ?? set.type);
  return set.created.new.id;
}

async function verify(way, { pushSubscriptionId: id, verificationCode }) {
  const [set] = await step(way, "verified: the code was set", () =>
    call(["PushSubscription/set", { update: { [id]: { verificationCode } } }, "0"]));
  if (!set.updated || !(id in set.updated)) throw new Error("the code was not accepted");
  showStatus("live", "subscribed", way);
}

// A message that has been decrypted.
async function receivePush(way, text, details = []) {
  const message = JSON.parse(text);
  const latency = unpushed && message.changed?.[unpushed.accountId] ? performance.now() - unpushed.at : null;
  if (latency !== null) unpushed = null;
  showEvent({ event: message["@type"], data: text }, message, latency, $("pushes"));
  $("pushes").firstChild.append(...details);
  if (message["@type"] !== "PushVerification") return;
  showStep(way, "a PushVerification has come, with a code", asked[way]);
  await verify(way, message);
}

async function subscribing(way, subscribe) {
  const { signal } = watching;
  const button = shown(way).querySelector("button");
  shown(way).querySelector("ol").replaceChildren();
  button.disabled = true;
  showStatus("waiting", "subscribing", way);
  try {
    if (!window.isSecureContext) throw new Error("browsers encrypt on 127.0.0.1, localhost and https only");
    const { applicationServerKey } = session.capabilities[VAPID] ?? {};
    if (!applicationServerKey) throw new Error("the Session names no key");
    await subscribe(way, applicationServerKey, signal);
  } catch (error) {
    if (signal.aborted) return;
    showStatus("failed", "no push", way);
    shown(way).querySelector("ol").append(element("li", { className: "failed", textContent: error.message }));
  } finally {
    button.disabled = false;
  }
}

// ---- The demo's push service ---------------------------------------------------------------------------

let looking = null;               // AbortController of who looks for pushes

async function byReceiver(way, applicationServerKey, signal) {
  const keys = await step(way, "a key pair and a secret are made in this page", newKeys);
  const { url, token } = await step(way, "the push service gives a URL", async () => {
    const got = await fetch("/demo/push", { method: "POST", headers: authorization(user), signal });
    const answer = await got.json();
    if (!got.ok) throw new Error(answer.detail);
    return answer;
  });
  await step(way, "PushSubscription/set with both", () =>
    createSubscription(way, url, { p256dh: base64url(keys.p256dh), auth: base64url(keys.auth) }));
  looking?.abort();
  looking = new AbortController();
  lookFor(way, { token, keys, applicationServerKey }, AbortSignal.any([signal, looking.signal]))
    .catch((error) => { if (!signal.aborted) showStatus("failed", error.message, way); });
}

async function lookFor(way, { token, keys, applicationServerKey }, signal) {
  let after = 0;
  while (!signal.aborted) {
    const got = await fetch(`/demo/push/${token}?after=${after}`, { headers: authorization(user), signal }).catch((error) => {
      if (signal.aborted || error.name === "AbortError") throw error;
      return null;
    });
    if (got?.status === 404) throw new Error("gone");
    if (!got?.ok) { await new Promise((resolve) => setTimeout(resolve, 1000)); continue; }
    for (const { number, headers, body } of await got.json()) {
      after = number;
      const claims = await readVapid(headers.authorization, applicationServerKey);
      const sealed = octets(body);
      const details = showRequest(headers, claims, sealed);
      const began = performance.now();
      const text = await decrypt(keys, sealed);
      details.querySelector("summary").append(", decrypted in " + milliseconds(performance.now() - began));
      await receivePush(way, text, [details]);
    }
  }
}

// What the push service has seen of it.
function showRequest(headers, claims, sealed) {
  const lines = ["ttl", "urgency", "topic", "content-encoding", "content-type"]
    .filter((name) => headers[name]).map((name) => name + ": " + headers[name]);
  lines.push("authorization: vapid, signed by the proxy's key; its claims:");
  const hex = [...sealed].map((octet) => octet.toString(16).padStart(2, "0")).join("");
  return element("details", {}, element("summary", { textContent: sealed.length + " octets seen by the push service" }),
    element("pre", {}, lines.join("\n") + "\n", ...coloured(claims), "\n\n" + hex));
}

// ---- This browser's push service -----------------------------------------------------------------------

const PATIENCE = 8000;            // some browsers wait for the internet as long as there is none

const WHY_NOT = {
  AbortError: "this browser cannot reach its push service: that takes internet, and a browser that has one",
  NotAllowedError: "this browser does not allow notifications here, and without them no push",
};

async function byBrowser(way, applicationServerKey) {
  if (!navigator.serviceWorker || !window.PushManager) throw new Error("this browser has no Web Push");
  const subscription = await step(way, "the service worker has subscribed with the Session's applicationServerKey", async () => {
    try {
      if (await Notification.requestPermission() !== "granted") throw new DOMException("", "NotAllowedError");
      await navigator.serviceWorker.register("/demo/worker.js");
      const worker = await workerThatRuns();
      // An earlier demo had another key.
      await (await worker.pushManager.getSubscription())?.unsubscribe();
      return await Promise.race([
        worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey }),
        new Promise((_, reject) => setTimeout(() => reject(new DOMException("", "AbortError")), PATIENCE)),
      ]);
    } catch (error) {
      throw new Error(WHY_NOT[error.name] ?? error.message);
    }
  });
  const { endpoint, keys } = subscription.toJSON();
  await step(way, "PushSubscription/set with what it gave", () => createSubscription(way, endpoint, keys));
}

async function workerThatRuns() {
  const registration = await navigator.serviceWorker.getRegistration("/demo/");
  const worker = registration.installing ?? registration.waiting ?? registration.active;
  if (worker.state !== "activated") {
    await new Promise((resolve) => worker.addEventListener("statechange", () => worker.state === "activated" && resolve()));
  }
  return registration;
}

navigator.serviceWorker?.addEventListener("message", ({ data }) => {
  receivePush("browser", data).catch((error) => showStatus("failed", error.message, "browser"));
});

// ---- What a person does --------------------------------------------------------------------------------

function resetPush() {
  for (const way of ["receiver", "browser"]) {
    showStatus("waiting", "not subscribed", way);
    shown(way).querySelector("ol").replaceChildren();
  }
  $("pushes").replaceChildren(element("li", { className: "empty", textContent: "Nothing pushed yet." }));
}

shown("receiver").querySelector("button").onclick = () => subscribing("receiver", byReceiver);
shown("browser").querySelector("button").onclick = () => subscribing("browser", byBrowser);
