"""Listens in a page of a headless Chromium, and prints each event as one of an event source.

    browser_listener.py HOW ORIGIN USER PASSWORD [PAGE]

ORIGIN is the proxy's. Without PAGE the page is of that origin; with it, it is served at PAGE
(host:port) by this program, and what it asks of ORIGIN is cross-origin. HOW is one of

    event-source   the browser's EventSource, which can send no header
    websocket      its WebSocket, which cannot either; first it calls, and tells what that led to as an
                   event named `response`
    fetch          sends Authorization itself, and connects again as EventSource does

The browser knows the password from a visit, as after a person has typed it. `event-source-ticket` and
`websocket-ticket` do not need that: the page sends the password for a ticket. With
`event-source-stolen` and `websocket-stolen` it was given the Session and a ticket by someone else.

What the browser does not let the page have is printed as an event named `refused`.
"""
import base64
import http.server
import json
import signal
import sys
import threading
import urllib.request

from chromium import Chromium

how, origin, user, password = sys.argv[1:5]
page = sys.argv[5] if len(sys.argv) > 5 else None

COMMON = """
const ORIGIN = %(origin)s;
const AUTHORIZATION = { Authorization: %(authorization)s };
const tell = (event, data, id) => report(JSON.stringify({ event, data, id }));
const address = (session) => session.eventSourceUrl
  .replace("{types}", "*").replace("{closeafter}", "no").replace("{ping}", "30");
const askSession = async (how) => (await fetch(ORIGIN + "/.well-known/jmap", how)).json();
const askTicket = async (session) => {
  const { generationEndpoint } = session.capabilities["com:linagora:params:jmap:ws:ticket"];
  return (await (await fetch(generationEndpoint, { method: "POST", headers: AUTHORIZATION })).json()).value;
};
const listen = (url, how) => {
  const source = new EventSource(url, how);
  source.addEventListener("state", (event) => tell("state", event.data, event.lastEventId));
  source.onmessage = (event) => tell("message", event.data, event.lastEventId);
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) tell("refused", "closed", ""); };
};
let pushState = null;
const converse = (url) => new Promise((ended) => {
  const socket = new WebSocket(url, "jmap");
  const say = (message) => socket.send(JSON.stringify(message));
  let opened = false;
  socket.onopen = () => {
    opened = true;
    say({ "@type": "Request", id: "R1", using: ["urn:ietf:params:jmap:core"],
      methodCalls: [["Core/echo", { text: "x".repeat(2000) }, "0"]] });
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message["@type"] === "StateChange") {
      pushState = message.pushState;
      return tell("state", data, pushState);
    }
    const [[, { text }]] = message.methodResponses;
    tell("response", `${text.length} by ${socket.protocol} and ${socket.extensions}`, "");
    say({ "@type": "WebSocketPushEnable", dataTypes: null, ...(pushState && { pushState }) });
  };
  socket.onclose = ({ code }) => {
    if (!opened) tell("refused", String(code), "");
    ended();
  };
});
const again = async (listen) => {
  for (;;) {
    await listen().catch(() => {});
    await new Promise((later) => setTimeout(later, 100));
  }
};
"""

SOCKET = """session.capabilities["urn:ietf:params:jmap:websocket"].url"""
AS_VISITOR = """await askSession({ credentials: "include" })"""
AS_CALLER = """await askSession({ headers: AUTHORIZATION })"""
GIVEN = """%(session)s"""


def page_that(session, does):
    return COMMON + f"""
(async () => {{
  const session = {session};
  {does}
}})().catch((error) => tell("refused", String(error), ""));
"""


FETCH = COMMON + """
(async () => {
  const session = await askSession({ headers: AUTHORIZATION });
  let lastId = "";
  await again(async () => {
    const headers = { ...AUTHORIZATION, Accept: "text/event-stream" };
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
  });
})().catch((error) => tell("refused", String(error), ""));
"""

HOW = {
    "event-source": page_that(AS_VISITOR, "listen(address(session), { withCredentials: true });"),
    "event-source-ticket": page_that(
        AS_CALLER, "listen(`${address(session)}&ticket=${await askTicket(session)}`);"
    ),
    "event-source-stolen": page_that(GIVEN, "listen(address(session) + '&ticket=%(ticket)s');"),
    "websocket": page_that(GIVEN, f"await again(() => converse({SOCKET}));"),
    "websocket-ticket": page_that(
        AS_CALLER,
        f"await again(async () => converse({SOCKET} + '?ticket=' + await askTicket(session)));",
    ),
    "websocket-stolen": page_that(GIVEN, f"await converse({SOCKET} + '?ticket=%(ticket)s');"),
    "fetch": FETCH,
}


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
authorization = {"Authorization": f"Basic {credentials}"}


def ask(url, **how):
    return json.load(urllib.request.urlopen(urllib.request.Request(url, headers=authorization, **how)))


session, ticket = ask(origin + "/.well-known/jmap"), None
if how.endswith("-stolen"):
    endpoint = session["capabilities"]["com:linagora:params:jmap:ws:ticket"]["generationEndpoint"]
    ticket = ask(endpoint, method="POST")["value"]
script = HOW[how] % {
    "origin": json.dumps(origin),
    "authorization": json.dumps(authorization["Authorization"]),
    "session": json.dumps(session),
    "ticket": ticket,
}
with Chromium() as browser:
    if how in ("event-source", "websocket") or not page:
        browser.open(origin.replace("://", f"://{user}:{password}@", 1) + "/.well-known/jmap")
    if page:
        serve(page)
        browser.open(f"http://{page}/")
    browser.run(f"void eval({json.dumps(script)})")
    while True:
        event = json.loads(browser.next_call())
        text = f"event: {event['event']}\ndata: {event['data']}\nid: {event['id']}\n"
        print(text, flush=True)
