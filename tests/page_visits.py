"""A visit to the page in the system's Chromium, with requests, errors and warnings recorded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium; close it afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Visit:
    """A visit by one user: the page, its requests, and its errors and warnings (``complaints``)."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        self.context = browser.new_context(**{"locale": "de-DE", "viewport": {"width": 1200, "height": 800}, **options})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note)
        self.page.goto(address)
        expect(self.page.locator("#model")).not_to_be_empty()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def read(self, text: str, headline: str) -> Page:
        """Enter a text, submit it, and wait for its sentences; return the page."""
        self.page.get_by_role("textbox", name="Überschrift").or_(self.page.get_by_label("Headline")).fill(headline)
        self.page.locator("#text").fill(text)
        self.page.locator("#read").click()
        self.page.locator(".sentence").first.wait_for()
        return self.page
