"""A headless Chromium, driven through chromedriver's HTTP interface (W3C WebDriver)."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.pixsim.support import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
SECONDS = 20


class Browser:
    """One session of the browser."""

    def __init__(self, driver: str) -> None:
        options = {"binary": shutil.which("chromium"), "args": FLAGS}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        self._driver = driver
        self._session = ""
        made = self._send("POST", "session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"session/{made['sessionId']}/"

    def open(self, url: str) -> None:
        self._send("POST", "url", {"url": url})

    def cookie(self, name: str, value: str) -> None:
        self._send("POST", "cookie", {"cookie": {"name": name, "value": value}})

    def click(self, selector: str) -> None:
        """Click the first element, and wait for the page that it leads to."""
        self._send("POST", f"element/{self._find(selector)[0]}/click", {})

    def texts(self, selector: str) -> list[str]:
        return [self._send("GET", f"element/{key}/text") for key in self._find(selector)]

    def wait_for(self, selector: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not self._find(selector):
            assert time.monotonic() < deadline, f"no {selector} within {SECONDS} s"
            time.sleep(0.05)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what the script gives to its last argument, a function."""
        return self._send("POST", "execute/async", {"script": script, "args": arguments})

    def close(self) -> None:
        self._send("DELETE", "")

    def _find(self, selector: str) -> list[str]:
        found = self._send("POST", "elements", {"using": "css selector", "value": selector})
        return [each[ELEMENT] for each in found]

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self._driver}/{(self._session + path).rstrip('/')}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=SECONDS * 3) as answer:
            return json.load(answer)["value"]


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Start a browser; skip the test where there is none."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("chromium and chromedriver are not on the PATH")
    port = free_port()
    process = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        driver = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + SECONDS
        while not _is_ready(driver):
            assert time.monotonic() < deadline, f"chromedriver did not start within {SECONDS} s"
            time.sleep(0.05)
        browser = Browser(driver)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)


def _is_ready(driver: str) -> bool:
    try:
        with urllib.request.urlopen(f"{driver}/status", timeout=SECONDS) as answer:
            return bool(json.load(answer)["value"]["ready"])
    except OSError:
        return False
