"""The page of a server whose model has stances: arrows, who acts towards whom, and a table of dyads
(``POST /events``).
"""

from __future__ import annotations

import csv
import io
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from haltung.events.records import COLUMNS
from page_visits import Visit, chromium

pytestmark = pytest.mark.system("chromium")

# The model is untrained; in this text it happens to find stances, and one dyad twice.
TEXT = (
    "Chile warnt das Heer in Nepal . Nepal besucht den Haushalt in Island . Island warnt den Haushalt in Laos . "
    "Laos begrüßt den Haushalt in Chile . Island warnt den Haushalt in Laos . Laos begrüßt den Haushalt in Chile ."
)
HEADLINE = "Streit um die Marine"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A visit in German; at the end there is no error in the console."""
    visit = Visit(browser, address)
    yield visit
    visit.context.close()
    assert visit.complaints == []


def segments(address: str) -> list[dict[str, Any]]:
    """Return the server's own answer."""
    body = json.dumps({"text": TEXT, "headline": HEADLINE, "abstain": 0.9}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{address}events", body, {"content-type": "application/json"})) as response:
        segments: list[dict[str, Any]] = json.load(response)["segments"]
    return segments


def warned(route: Route) -> None:
    """Answer like the server, except that Chile warns Nepal in the first sentence."""
    said = route.fetch().json()
    first = said["segments"][0]
    dyad = {"source": "CHL", "target": "NPL", "stance": "warning", "probability": 0.93}
    event = {**dyad, "segment": first["id"], "source_span": [0, 5], "target_span": [24, 29], "plover": "", "text": first["text"]}
    first["dyads"] = [dyad]
    said["events"] = [event, *(other for other in said["events"] if other["segment"] != first["id"])]
    route.fulfill(json=said)


def pairs(segment: dict[str, Any]) -> list[str]:
    """Return who acts towards whom in a segment, as the page writes it."""
    return [f"{dyad['source'] or '–'} → {dyad['target'] or '–'}" for dyad in segment["dyads"]]


def test_dyads_are_shown_where_the_server_finds_them(visit: Visit) -> None:
    """With source, target and stance: an arrow from word to word, a row of the table, and the panel
    of the selected sentence.
    """
    visit.page.route("**/events", warned)
    page = visit.read(TEXT, HEADLINE)
    sentence = page.locator(".sentence").first
    expect(sentence.locator(".arrow title")).to_have_text("CHL → NPL: warning, 93\u00a0%")
    assert sentence.locator(".named").all_text_contents() == ["Chile", "Nepal"]
    expect(page.locator("haltung-dyads tbody tr").first).to_contain_text("CHL „Chile“")
    sentence.click()
    expect(page.locator(".chip")).to_have_text("CHL → NPL warning, 93 %")
    expect(page.locator("#announcement")).to_contain_text("CHL → NPL: warning, 93")


def test_who_acts_towards_whom_is_counted_and_filters(visit: Visit, address: str) -> None:
    """Next to the labels, the most frequent first; a click on a pair dims all other sentences."""
    page = visit.read(TEXT, HEADLINE)
    found = segments(address)
    counted = Counter(pair for segment in found for pair in pairs(segment)).most_common()
    assert counted[0][1] > 1
    entries = page.get_by_role("list", name="Wer → wem").locator(".entry")
    expect(entries).to_have_text([f"{pair}{count}" for pair, count in counted])
    entries.first.click()
    within = [counted[0][0] in pairs(segment) for segment in found]
    assert page.locator(".sentence").evaluate_all("all => all.map(it => !it.classList.contains('aside'))") == within


def test_the_dyads_can_be_saved_as_event_data(visit: Visit, address: str) -> None:
    """One row per dyad, with the columns of ``haltung events`` except those that a pasted text
    lacks.
    """
    page = visit.read(TEXT, HEADLINE)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Dyaden (CSV)").click()
    assert saved.value.suggested_filename == "haltung-dyads.csv"
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8-sig"), newline="")))
    expected = [(number, pair) for number, segment in enumerate(segments(address), 1) for pair in pairs(segment)]
    assert [(int(row["sentence"]), f"{row['source'] or '–'} → {row['target'] or '–'}") for row in rows] == expected
    assert [*rows[0]] == [{"segment": "sentence"}.get(name, name) for name in COLUMNS if name not in ("date", "article", "medium")]
    assert all(0 < float(row["probability"]) <= 1 for row in rows)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(browser: Browser, address: str, scheme: str) -> None:
    """With arrows, a selected sentence, and an open table; contrast is included."""
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, address, color_scheme=scheme, reduced_motion="reduce")
    faults: list[str] = []

    def look(state: str) -> None:
        for fault in Axe().run(visit.page, options={"resultTypes": ["violations"]}).response["violations"]:
            faults.append(f"{state}: {fault['id']}: " + " | ".join(node["html"] for node in fault["nodes"][:3]))

    page = visit.read(TEXT, HEADLINE)
    look("arrows")
    page.locator(".sentence").nth(1).click()
    look("chosen")
    page.locator("haltung-dyads summary").click()
    look("table")
    visit.context.close()
    assert faults == []
