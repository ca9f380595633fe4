"""A visit to the page: ``haltung serve`` in a process of its own, the system's Chromium, and what goes wrong behind a page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import exported

Served = Callable[..., str]


@contextmanager
def servers(folder: Path) -> Iterator[Served]:
    """Start ``haltung serve`` on a bundle of a scheme, as often as it is asked for; gives the address of each."""
    running: list[subprocess.Popen[str]] = []

    def serve(name: str, *words: str, scheme: dict[str, Any] | None = None, key: str | None = None) -> str:
        bundle = exported.write(folder / name, scheme)
        description = json.loads((bundle / "haltung.json").read_text(encoding="utf-8"))
        description["calibration"]["thresholds"] = {task: {"0.9": 0.9} for task in description["scheme"]["tasks"]}
        (bundle / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
        environment = {word: value for word, value in os.environ.items() if word != "HALTUNG_API_KEY"}
        environment |= {"HALTUNG_API_KEY": key} if key else {}
        command = [sys.executable, "-m", "haltung", "serve", f"bundle={bundle}", "port=0", "runtime=onnxruntime", *words]
        log = folder / f"{name}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        running.append(process)
        assert process.stdout
        for line in process.stdout:
            if " at http://" in line:
                address = line.partition(" at ")[2].split()[0] + "/"
                _await(address)
                return address
        pytest.fail(f"the server has not started: {log.read_text()}")

    try:
        yield serve
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.communicate(timeout=60)


def _await(address: str) -> None:
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"{address}health/ready"):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{address} is not ready after ten seconds")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Visit:
    """One person's visit: the page, and what went wrong behind it."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        self.context = browser.new_context(**{"locale": "de-DE", "viewport": {"width": 1200, "height": 800}, **options})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None)
        self.page.goto(address)
        expect(self.page.locator("#model")).not_to_be_empty()

    def read(self, text: str, headline: str) -> Page:
        """Paste a text and have it read."""
        self.page.get_by_role("textbox", name="Überschrift").or_(self.page.get_by_label("Headline")).fill(headline)
        self.page.locator("#text").fill(text)
        self.page.locator("#read").click()
        self.page.locator(".sentence").first.wait_for()
        return self.page
