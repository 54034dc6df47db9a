"""Listens in a page of a headless Chromium, and prints each event as one of an event source.

    browser_listener.py event-source|fetch ORIGIN USER PASSWORD [PAGE]

ORIGIN is the proxy's. Without PAGE the page is of that origin; with it, it is served at PAGE
(host:port) by this program, and what it asks of ORIGIN is cross-origin. `event-source` uses the
browser's EventSource, which can send no header: the browser knows the password from a visit, as after
a person has typed it. `fetch` sends Authorization itself and connects again as EventSource does.

What the browser does not let the page have is printed as an event named `refused`.
"""
import base64
import http.server
import json
import signal
import sys
import threading

from chromium import Chromium

how, origin, user, password = sys.argv[1:5]
page = sys.argv[5] if len(sys.argv) > 5 else None

COMMON = """
const ORIGIN = %(origin)s;
const tell = (event, data, id) => report(JSON.stringify({ event, data, id }));
const address = (session) => session.eventSourceUrl
  .replace("{types}", "*").replace("{closeafter}", "no").replace("{ping}", "30");
"""

EVENT_SOURCE = COMMON + """
(async () => {
  const credentials = "include";
  const session = await (await fetch(ORIGIN + "/.well-known/jmap", { credentials })).json();
  const source = new EventSource(address(session), { withCredentials: true });
  source.addEventListener("state", (event) => tell("state", event.data, event.lastEventId));
  source.onmessage = (event) => tell("message", event.data, event.lastEventId);
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) tell("refused", "closed", ""); };
})().catch((error) => tell("refused", String(error), ""));
"""

FETCH = COMMON + """
(async () => {
  const authorization = { Authorization: %(authorization)s };
  const session = await (await fetch(ORIGIN + "/.well-known/jmap", { headers: authorization })).json();
  let lastId = "";
  const listen = async () => {
    const headers = { ...authorization, Accept: "text/event-stream" };
    if (lastId) headers["Last-Event-ID"] = lastId;
    const response = await fetch(address(session), { headers, cache: "no-store" });
    if (!response.ok) return tell("refused", String(response.status), "");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", fields = {};
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (fields.data !== undefined) {
            lastId = fields.id ?? lastId;
            if (fields.event !== "ping") tell(fields.event ?? "message", fields.data, lastId);
          }
          fields = {};
        } else if (!line.startsWith(":")) {
          const colon = line.indexOf(":");
          fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
        }
      }
    }
  };
  for (;;) {
    await listen().catch(() => {});
    await new Promise((again) => setTimeout(again, 100));
  }
})().catch((error) => tell("refused", String(error), ""));
"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>webmail</title>")

    def log_message(self, *_):
        pass


def serve(address):
    host, port = address.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()


# Ended by SIGTERM, it takes the browser with it.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
script = (EVENT_SOURCE if how == "event-source" else FETCH) % {
    "origin": json.dumps(origin),
    "authorization": json.dumps(f"Basic {credentials}"),
}
with Chromium() as browser:
    if how == "event-source" or not page:
        browser.open(origin.replace("://", f"://{user}:{password}@", 1) + "/.well-known/jmap")
    if page:
        serve(page)
        browser.open(f"http://{page}/")
    browser.run(f"void eval({json.dumps(script)})")
    while True:
        event = json.loads(browser.next_call())
        text = f"event: {event['event']}\ndata: {event['data']}\nid: {event['id']}\n"
        print(text, flush=True)
