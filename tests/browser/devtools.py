"""A headless Chromium, driven by the DevTools protocol over a pair of pipes (`--remote-debugging-pipe`)."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.browser.chromium import find_chromium

#: Without a sandbox, since containers forbid it and only our own page is opened; and nothing that calls home.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_TIMEOUT_S = 30.0

KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Home": 36, "End": 35, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40}


class Browser:
    """One Chromium process; `page()` opens tabs. Use as a context manager."""

    def __init__(self) -> None:
        program, environment = find_chromium()
        self._folder = tempfile.TemporaryDirectory(prefix="cutout-browser-", ignore_cleanup_errors=True)
        commands_out, commands_in = os.pipe()
        answers_out, answers_in = os.pipe()
        # The protocol's pipes are file descriptors 3 (commands) and 4 (answers); the shell puts them there.
        shell = f'exec "$@" 3<&{commands_out} 4>&{answers_in}'
        with (Path(self._folder.name) / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", shell, "bash", str(program), *_FLAGS, f"--user-data-dir={self._folder.name}/profile"],
                pass_fds=(commands_out, answers_in),
                env=os.environ | environment,
                stdout=log,
                stderr=log,
            )
        os.close(commands_out)
        os.close(answers_in)
        self._in, self._out = commands_in, answers_out
        self._buffer = b""
        self._count = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def send(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """One command; returns its result. Raises RuntimeError: refused, no answer, or Chromium has died."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self._in, text) :]
        end = time.monotonic() + _TIMEOUT_S
        while True:
            answer = self.receive(end, method)
            if answer.get("id") != self._count:
                self.events.append(answer)
                continue
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            return answer["result"]

    def receive(self, end: float, method: str) -> dict[str, Any]:
        """The next message, before `end` of the monotonic clock; `method` is what it is waited for."""
        while b"\0" not in self._buffer:
            if not select.select([self._out], [], [], max(0.0, end - time.monotonic()))[0]:
                raise RuntimeError(f"{method} was not answered within {_TIMEOUT_S:g} s")
            piece = os.read(self._out, 1 << 20)
            if not piece:
                log = (Path(self._folder.name) / "log").read_text(errors="replace")
                raise RuntimeError(f"Chromium has ended:\n{log[-2000:]}")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def page(self) -> Page:
        """A new tab, with an own profile."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, context)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.send(method, self._session, **parameters)

    def close(self) -> None:
        self._browser.send("Target.disposeBrowserContext", browserContextId=self._context)

    def look(self, width: int = 1280, height: int = 860, *, dark: bool = False, mobile: bool = False) -> None:
        """Size of the view in CSS pixels, and the colours that the user prefers."""
        scale = 2 if mobile else 1
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited. Raises RuntimeError with what it threw."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, condition: str, timeout_s: float = 20.0) -> None:
        """Returns once the JavaScript `condition` holds. Raises TimeoutError with the page's text."""
        script = (
            f"new Promise(done => {{ const end = performance.now() + {timeout_s * 1000};"
            f"const look = () => {{ let held = false; try {{ held = Boolean({condition}); }} catch {{}}"
            "held || performance.now() > end ? done(held) : setTimeout(look, 20); }; look(); })"
        )
        if not self.run(script):
            raise TimeoutError(f"{condition} did not come true; the page says:\n{self.run('document.body.innerText')}")

    def choose_files(self, *paths: Path) -> None:
        """What the file dialogue does after the user has picked these."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
                if key == "Enter" and kind == "keyDown":
                    code["text"] = "\r"
                self.send("Input.dispatchKeyEvent", type=kind, **code)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The mouse, with its button down from `start` to `end`."""
        steps = (("mousePressed", start, 1), ("mouseMoved", end, 1), ("mouseReleased", end, 0))
        for kind, (x, y), buttons in steps:
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=1)

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def picture(self, path: Path, *, full: bool = False) -> None:
        """A PNG of the view, or of the whole page."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(answer["data"]))

    def events(self, method: str) -> list[dict[str, Any]]:
        """The parameters of this tab's events of one kind, so far."""
        self.run("0")  # whatever was sent before this answer has arrived with it
        mine = (event for event in self._browser.events if event.get("sessionId") == self._session)
        return [event["params"] for event in mine if event["method"] == method]

    def next_event(self, method: str) -> dict[str, Any]:
        """The parameters of this tab's next event of one kind; it is taken away. Raises RuntimeError: none came."""
        end = time.monotonic() + _TIMEOUT_S
        while True:
            for event in self._browser.events:
                if event.get("sessionId") == self._session and event["method"] == method:
                    self._browser.events.remove(event)
                    return event["params"]
            self._browser.events.append(self._browser.receive(end, method))
