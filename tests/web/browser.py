"""Chromium, steered by its own driver over HTTP, and what its console says."""

import base64
import json
import os
import re
import shutil
import subprocess
import urllib.request
from types import TracebackType
from typing import Any

FLAGS = ["--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


def is_there() -> bool:
    return bool(shutil.which("chromedriver") and shutil.which("chromium"))


class Browser:
    """One session. Use as a context manager."""

    def __enter__(self) -> "Browser":
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for line in self._driver.stdout:
            if found := re.search(r"on port (\d+)", line):
                self._url = f"http://127.0.0.1:{found[1]}/session"
            if "started successfully" in line:
                break
        # Chromium's sandbox refuses to run as root.
        flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
        options = {"args": flags, "binary": shutil.which("chromium")}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._call("", capabilities={"alwaysMatch": wanted})
        self._url += f"/{made['sessionId']}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        request = urllib.request.Request(self._url, method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()
        self._driver.terminate()
        self._driver.wait(timeout=20)

    def open(self, url: str) -> None:
        self._call("/url", url=url)

    def set_cookie(self, name: str, value: str) -> None:
        self._call("/cookie", cookie={"name": name, "value": value})

    def before_each_page(self, script: str) -> None:
        """Run a script in every page from now on, before the page's own."""
        self._devtools("Page.addScriptToEvaluateOnNewDocument", source=script)

    def show_as(self, *, width: int, theme: str, height: int = 900) -> None:
        """Take a window's width, and `light` or `dark` for what the person wants, without motion."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", **size)
        self._devtools("Emulation.setScrollbarsHidden", hidden=True)
        wanted = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self._devtools("Emulation.setEmulatedMedia", features=features)

    def wait_for(self, script: str) -> Any:
        """Return what the script gives to its last argument, a function."""
        return self._call("/execute/async", script=script, args=[])

    def run(self, script: str) -> Any:
        return self._call("/execute/sync", script=script, args=[])

    def picture(self) -> bytes:
        """Return the window as a PNG."""
        taken = self._devtools("Page.captureScreenshot", format="png")
        return base64.b64decode(taken["data"])

    def press(self, key: str) -> None:
        """Press and release a key where the focus is."""
        keys = [{"type": each, "value": key} for each in ("keyDown", "keyUp")]
        self._call("/actions", actions=[{"type": "key", "id": "keyboard", "actions": keys}])

    def set_offline(self, is_offline: bool) -> None:
        conditions = {"offline": is_offline, "latency": 0, "throughput": -1}
        self._call("/chromium/network_conditions", network_conditions=conditions)

    def said(self) -> list[str]:
        """Return what the console has said since the last call."""
        return [entry["message"] for entry in self._call("/se/log", type="browser")]

    def _devtools(self, command: str, **params: Any) -> Any:
        return self._call("/goog/cdp/execute", cmd=command, params=params)

    def _call(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
