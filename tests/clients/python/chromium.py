"""A headless Chromium, driven by the DevTools protocol over a pair of pipes.

Commands are answered in order; `next_call` gives what pages say through `report(text)`. Nothing but
loopback can be reached, and the profile is thrown away.
"""
import collections
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

SWITCHES = [
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--no-default-browser-check", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]


STARTS = 3


class Ended(RuntimeError):
    pass


class Chromium:
    def __init__(self, *switches):
        for attempt in range(STARTS):
            try:
                return self._start(switches)
            except (Ended, BrokenPipeError):
                # Now and then it crashes before it says anything, which is no fault of what is tested.
                self.__exit__()
                if attempt + 1 == STARTS:
                    raise

    def _start(self, switches):
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        to_browser, self.commands = os.pipe()
        self.answers, from_browser = os.pipe()
        # The browser reads commands from descriptor 3 and answers to 4.
        redirect = f"exec 3<&{to_browser} 4>&{from_browser} && exec \"$@\""
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        browser = os.environ.get("CHROMIUM", "chromium")
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "chromium", browser, *SWITCHES, *sandbox, *switches,
             f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.rest, self.last, self.session = b"", 0, None
        self.events = collections.deque()
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        self.ask("Page.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)
        self.ask("Runtime.enable")
        self.ask("Runtime.addBinding", name="report")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Its children are of its process group, and may write a moment longer.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for _ in range(100):
            shutil.rmtree(self.profile, ignore_errors=True)
            if not os.path.exists(self.profile):
                break
            time.sleep(0.02)

    def ask(self, method, **parameters):
        """The result of a command; raises what the browser says against it."""
        self.last += 1
        command = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self.last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def open(self, url):
        """Goes to a page; returns when it is loaded."""
        page = self.ask("Page.navigate", url=url)
        if "errorText" in page:
            raise RuntimeError(f"{url}: {page['errorText']}")
        loaded = None
        while loaded != (page["loaderId"], "load"):
            step = self.event("Page.lifecycleEvent")
            loaded = step["loaderId"], step["name"]

    def run(self, script):
        """The value of an expression in the page, awaited if it is a promise."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def next_call(self):
        """The next text that a page gave to `report`."""
        return self.event("Runtime.bindingCalled")["payload"]

    def event(self, method):
        """The parameters of the next event of this name; others before it are dropped."""
        while True:
            message = self.events.popleft() if self.events else self._read()
            if message.get("method") == method:
                return message["params"]

    def _read(self):
        while b"\0" not in self.rest:
            piece = os.read(self.answers, 1 << 16)
            if not piece:
                raise Ended("the browser has ended")
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)
