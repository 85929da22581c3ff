"""Debian's chromium, by the DevTools protocol: widths, colour schemes, paper, and what a page asks for."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from browser import CHROMIUM, QUIET

_WORDS = (*QUIET, "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe")
#: The browser reads from 3 and writes to 4.
_WITH_PIPES = 'exec "$0" "$@" 3<&"$FROM" 4>&"$TO"'
_PATIENCE_S = 120
_END = b"\0"


class Tab:
    """One page; `events` has what it has told of itself, in order."""

    def __init__(self, to: int, back: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._to, self._back, self._number, self._read = to, back, 0, b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the page for something; gives its answer."""
        return self._call(method, self._session, **params)

    def open(self, address: str) -> None:
        """Go to a page, and wait until all of it is there."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._message()

    def show(self, width: int, scheme: str = "light", media: str = "", height: int = 900) -> None:
        """Take another width, colour scheme and medium."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def value(self, expression: str) -> Any:
        """What a script's expression is in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, file: Path) -> None:
        """The whole page as a PNG file."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def requests(self) -> list[str]:
        """The addresses that were asked for."""
        found = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in found]

    def complaints(self) -> list[str]:
        """What stands in the page's console."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        os.write(self._to, json.dumps(message | ({"sessionId": session} if session else {})).encode() + _END)
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _message(self) -> dict[str, Any]:
        """The next message; events are kept."""
        until = time.monotonic() + _PATIENCE_S
        while _END not in self._read:
            ready = select.select([self._back], [], [], max(0.0, until - time.monotonic()))[0]
            part = os.read(self._back, 1 << 20) if ready else b""
            assert part, "chromium says nothing more"
            self._read += part
        text, _, self._read = self._read.partition(_END)
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


@contextmanager
def tab() -> Iterator[Tab]:
    """A page of a browser that ends with the block."""
    from_us, to_browser = os.pipe()
    from_browser, to_us = os.pipe()
    with TemporaryDirectory(prefix="loadcast-chromium-", ignore_cleanup_errors=True) as folder:
        argv = ["bash", "-c", _WITH_PIPES, str(CHROMIUM), *_WORDS, f"--user-data-dir={folder}"]
        environment = {**os.environ, "FROM": str(from_us), "TO": str(to_us)}
        process = subprocess.Popen(
            argv,
            env=environment,
            pass_fds=(from_us, to_us),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        try:
            yield Tab(to_browser, from_browser)
        finally:
            os.close(to_browser)  # the end of the pipe is the end of the browser
            try:
                process.wait(30)
            finally:
                process.kill()
                process.wait()
                os.close(from_browser)
