"""Uses the page of `jmap-push-proxy demo` as a person would, in a headless Chromium.

    demo_page.py URL [PICTURES]

Prints one JSON object: for each press of a button what the page shows as its latency, and what was
measured beside it, in milliseconds; and what else it shows. PICTURES is a folder for PNGs of the page at
the end, on a wide screen and on a narrow one.
"""
import base64
import json
import sys

from chromium import Chromium

url = sys.argv[1]

# The clock stops when the event is in the list, a moment after the page has stopped its own.
WATCH = """
globalThis.watched = {};
document.addEventListener("click", () => { watched = { pressed: performance.now() }; }, true);
new MutationObserver(() => { watched.arrived ??= performance.now(); })
  .observe(document.getElementById("events"), { childList: true });
"""

LIVE = """
new Promise((done) => {
  const look = () => document.querySelectorAll(".status[data-state=live]").length === 2 ? done(true)
    : setTimeout(look, 10);
  look();
})
"""

# The messages of the WebSocket, oldest first, when there are so many.
MESSAGES = """
new Promise((done) => {
  const look = () => {
    const shown = [...document.querySelectorAll("#messages li:not(.empty)")].reverse();
    shown.length < %d ? setTimeout(look, 10) : done(shown.map((item) =>
      [item.querySelector(".name").innerText, item.querySelector("pre").innerText]));
  };
  look();
})
"""

# Steps and pushes of the demo's own push service, oldest first, when there are so many pushes; or what the
# page says is wrong.
PUSHED = """
new Promise((done) => {
  const end = performance.now() + 10000;
  const look = () => {
    const shown = [...document.querySelectorAll("#pushes li:not(.empty)")].reverse();
    if (shown.length < %d && performance.now() < end) return setTimeout(look, 10);
    done({
      status: document.getElementById("receiver").innerText,
      steps: [...document.querySelectorAll("[data-way=receiver] li")].map((step) => step.innerText),
      pushes: shown.map((item) => ({
        name: item.querySelector(".name").innerText,
        message: item.querySelector("pre").innerText,
        latency: item.querySelector(".chip")?.innerText ?? null,
        request: item.querySelector("details pre").textContent,
      })),
    });
  };
  look();
})
"""

# The way by the browser's push service, once it has come to an end of some kind.
BY_BROWSER = """
new Promise((done) => {
  const look = () => {
    const step = document.querySelector("[data-way=browser] li");
    step ? done(step.innerText) : setTimeout(look, 10);
  };
  look();
})
"""

SUBSCRIBED = """
new Promise((done) => {
  const end = performance.now() + 10000;
  const look = () => document.getElementById("receiver").dataset.state === "live" || performance.now() > end
    ? done(true) : setTimeout(look, 10);
  look();
})
"""

# Ten seconds are for a busy machine, and for a proxy that nobody has told.
ARRIVED = """
new Promise((done) => {
  const end = performance.now() + 10000;
  const look = () => {
    const shown = document.getElementById("latency");
    if (!shown.hasAttribute("data-waiting") && watched.arrived || performance.now() > end) {
      done({ shown: shown.innerText, measured: watched.arrived - watched.pressed });
    } else setTimeout(look, 10);
  };
  look();
})
"""


def press(browser, selector):
    """A click with the mouse in the middle of an element."""
    middle = json.loads(browser.run(
        f"(() => {{ const button = document.querySelector({json.dumps(selector)});"
        " button.scrollIntoView({ block: 'center' });"
        " const box = button.getBoundingClientRect();"
        " return JSON.stringify([box.x + box.width / 2, box.y + box.height / 2]); })()"
    ))
    for what in ("mousePressed", "mouseReleased"):
        browser.ask(
            "Input.dispatchMouseEvent", type=what, x=middle[0], y=middle[1], button="left",
            clickCount=1,
        )


def milliseconds(text):
    """The figure that begins a text such as `12 ms from …` or `1.9 s from …`."""
    figure, unit = text.split()[:2]
    return float(figure) * {"ms": 1, "s": 1000}[unit]


seen = {}
with Chromium("--window-size=1280,900") as browser:
    browser.open(url)
    browser.run(LIVE)
    browser.run(WATCH)
    for name, button in [
        ("delivered", "[data-deliver=alice]"), ("shared", "[data-deliver=team]"), ("marked", "#mark"),
    ]:
        press(browser, button)
        latency = browser.run(ARRIVED)
        seen[name] = [milliseconds(latency["shown"]), latency["measured"]]
    press(browser, "#notify")
    press(browser, "[data-deliver=alice]")
    latency = browser.run(ARRIVED)
    seen["unannounced"] = [milliseconds(latency["shown"]), latency["measured"]]
    press(browser, "#notify")
    # The request as the page proposes it, then push of a mail.
    said = 0
    for button, messages in [("#send", 2), ("#push", 1), ("[data-deliver=alice]", 1)]:
        press(browser, button)
        said += messages
        seen["messages"] = browser.run(MESSAGES % said)
    # Web Push: by the demo's own push service, and by the browser's, which has none to reach here.
    press(browser, "[data-way=receiver] button")
    browser.run(SUBSCRIBED)
    press(browser, "[data-deliver=alice]")
    seen["receiver"] = browser.run(PUSHED % 2)
    browser.ask("Browser.grantPermissions", permissions=["notifications"])
    press(browser, "[data-way=browser] button")
    seen["browser"] = browser.run(BY_BROWSER)
    seen["events"] = browser.run("document.querySelectorAll('#events li.state').length")
    for width in (1200, 400) if len(sys.argv) > 2 else ():
        browser.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1,
            mobile=width < 600,
        )
        picture = browser.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(f"{sys.argv[2]}/{width}.png", "wb") as file:
            file.write(base64.b64decode(picture["data"]))
    browser.ask("Emulation.clearDeviceMetricsOverride")
    # Bob does not see what is Alice's.
    press(browser, "[data-user=bob]")
    browser.run("new Promise((done) => setTimeout(done, 50))")
    browser.run(LIVE)
    press(browser, "[data-deliver=alice]")
    seen["foreign"] = browser.run("document.getElementById('latency').innerText")
print(json.dumps(seen))
