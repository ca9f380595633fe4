"""The page of an archive in a real browser: arrows, actors, slider, filters, matrix and table, by
mouse and keyboard.
"""

from __future__ import annotations

import datetime
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import page_visits
from archives import event, lines
from haltung.cli import main

pytestmark = pytest.mark.system("chromium")

EVIL = '</script><img src=x onerror="document.title = 1">'
EVENTS = (
    event("USA", "RUS", "criticism", "2020-01-15", probability=0.71, text=f"Die USA werfen Russland etwas vor {EVIL}."),
    event("USA", "RUS", "criticism", "2020-01-20", probability=0.93, text="Die USA werfen Russland noch etwas vor."),
    event("USA", "RUS", "coercion", "2020-03-01"),
    event("RUS", "USA", "cooperation", "2020-02-03", topic="energy"),
    event("RUS", "UKR", "threat", "2020-03-04"),
    event("UKR", "RUS", "rejection", "2020-03-05"),
    event("DEU", "FRA", "support", "2020-03-06"),
    event("DEU", "DEU", "criticism", "2020-03-07"),
    event("FRA", "DEU", "warning", ""),
)


class Visit:
    """A browser context that opens a file from disk and records errors and requests."""

    def __init__(self, browser: Browser, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**{"locale": "de-DE", "viewport": {"width": 1280, "height": 1000}, **options})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.file = file
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)
        self.page.goto(file.as_uri())

    def close(self) -> None:
        """Close it and check that it requested nothing but the file."""
        self.context.close()
        assert self.complaints == []
        assert self.requests == [self.file.as_uri()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the German page of ``EVENTS``."""
    folder = tmp_path_factory.mktemp("archive")
    archive = lines(folder / "events.jsonl", EVENTS, quiet=())
    assert main(["network", f"input={archive}", f"output={folder / 'network.html'}", "language=de"]) == 0
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with page_visits.chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Page]:
    """The page of the network."""
    visit = Visit(browser, folder / "network.html")
    expect(visit.page.locator("#matrix table")).to_be_visible()
    yield visit.page
    visit.close()


def arrow(page: Page, name: str) -> Any:
    """Return the arrow of the network whose accessible name starts with ``name``."""
    return page.locator(f"#network .arrow[aria-label^='{name}']")


def test_each_pair_is_an_arrow_of_its_most_frequent_stance(page: Page) -> None:
    """Both directions are separate; words, colour, dashes and three letters mark the stance."""
    expect(page.locator("#network .arrow")).to_have_count(6)
    towards = arrow(page, "USA → Russland")
    expect(towards).to_have_attribute("aria-label", "USA → Russland: 3 Ereignisse, meist Kritik (2)")
    expect(towards).to_have_class("arrow is-criticism")
    expect(towards.locator(".line")).to_have_attribute("stroke-dasharray", re.compile(".+"))
    back = arrow(page, "Russland → USA")
    assert back.locator(".line").get_attribute("stroke-dasharray") is None
    assert back.locator(".line").get_attribute("d") != towards.locator(".line").get_attribute("d")
    assert float(towards.locator(".line").get_attribute("stroke-width")) > float(back.locator(".line").get_attribute("stroke-width"))
    assert "Kri 2/3" in page.locator("#network .labels text").all_text_contents()


def test_no_actor_covers_another_and_all_are_inside(page: Page) -> None:
    """Also with full names."""
    boxes = "all => all.map(it => it.getBBox()).map(({x, y, width, height}) => [x, y, x + width, y + height])"
    for _ in range(2):
        nodes = page.locator("#network .node rect").evaluate_all(boxes)
        width, height = (float(page.locator("#network").get_attribute(side)) for side in ("width", "height"))
        assert len(nodes) == 5
        assert all(x >= 0 and y >= 0 and right <= width and bottom <= height for x, y, right, bottom in nodes)
        apart = [one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1] for one in nodes for other in nodes]
        assert sum(not each for each in apart) == len(nodes)  # each covers itself
        page.get_by_label("Namen statt Kürzel").check()
    assert "Russland" in page.locator("#network .node text").all_text_contents()


def test_pointing_at_an_arrow_reads_its_sentences_the_surest_first(page: Page) -> None:
    """With counts by stance, date and article; markup in a text stays text."""
    arrow(page, "USA → Russland").dispatch_event("pointerover", {"pointerType": "mouse", "bubbles": True})
    panel = page.locator("#panel")
    expect(panel.locator(".bars li")).to_have_text(["Kritik2", "Zwang1"])
    expect(panel.locator(".examples li")).to_have_count(3)
    first = panel.locator(".examples li").first
    expect(first).to_contain_text("Die USA werfen Russland noch etwas vor.")
    expect(first).to_contain_text("Kritik 93 % · 20. Jan. 2020 · Überschrift 2020-01-20 · Blatt")
    expect(panel).to_contain_text(EVIL)
    assert page.locator("img").count() == 0
    page.locator("#network").dispatch_event("pointerleave")
    expect(panel.get_by_role("heading")).to_have_text("Am häufigsten")


def test_a_click_keeps_an_arrow_and_escape_lets_go(page: Page) -> None:
    """In the network and in the matrix alike."""
    for pick in (arrow(page, "Russland → Ukraine"), page.locator("#matrix button[aria-label^='Russland → Ukraine']")):
        pick.dispatch_event("click")
        expect(arrow(page, "Russland → Ukraine")).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#panel h3")).to_have_text("RUS → UKR")
        page.keyboard.press("Escape")
        expect(page.locator("#panel h3")).to_have_text("Am häufigsten")


def test_a_click_on_an_actor_keeps_only_its_arrows(page: Page) -> None:
    """In network and matrix; a second click restores the others."""
    node = page.locator("#network .node[aria-label^='Ukraine']")
    node.click()
    expect(page.locator("#network .arrow")).to_have_count(2)
    expect(page.locator("#matrix button")).to_have_count(2)
    expect(page.locator("#panel")).to_contain_text("Nimmt ein: 1 Ereignis")
    expect(page.locator("#status")).to_contain_text("6 Ereignisse ohne UKR")
    node.click()
    expect(page.locator("#network .arrow")).to_have_count(6)


def test_the_legend_filters_by_stance(page: Page) -> None:
    """One stance, then two; the counts are those of the drawn events."""
    page.locator("#legend button", has_text="Kritik").click()
    expect(page.locator("#network .arrow")).to_have_count(1)
    expect(arrow(page, "USA → Russland")).to_have_attribute("aria-label", "USA → Russland: 2 Ereignisse, nur Kritik")
    page.locator("#legend button", has_text="Drohung").click()
    expect(page.locator("#network .arrow")).to_have_count(2)
    page.get_by_role("button", name="Zurücksetzen").click()
    expect(page.locator("#network .arrow")).to_have_count(6)


def test_the_slider_leaves_the_months_between_its_thumbs(page: Page) -> None:
    """By keyboard; events without a date are then omitted."""
    expect(page.locator("#period")).to_have_text("Jan. 2020 bis März 2020: 8 Ereignisse")
    page.get_by_label("Von", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#period")).to_have_text("Feb. 2020 bis März 2020: 5 Ereignisse")
    page.get_by_label("Bis", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#period")).to_have_text("Feb. 2020 bis Feb. 2020: 1 Ereignis")
    expect(page.get_by_label("Bis", exact=True)).to_have_attribute("aria-valuetext", "Feb. 2020")
    expect(page.locator("#network .arrow")).to_have_count(1)
    expect(page.locator("#matrix button")).to_have_count(1)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#period")).to_contain_text("Feb. 2020 bis Feb. 2020")


def test_a_thumb_is_dragged_by_a_mouse(page: Page) -> None:
    """Each of the two, even though they share a line."""
    line = page.locator(".time .line").bounding_box()
    assert line
    foot = line["y"] + line["height"] - 9
    page.mouse.move(line["x"] + 9, foot)
    page.mouse.down()
    page.mouse.move(line["x"] + line["width"] * 0.5, foot, steps=4)
    page.mouse.up()
    expect(page.locator("#period")).to_contain_text("Feb. 2020 bis März 2020")
    page.mouse.move(line["x"] + line["width"] - 9, foot)
    page.mouse.down()
    page.mouse.move(line["x"] + line["width"] * 0.5, foot, steps=4)
    page.mouse.up()
    expect(page.locator("#period")).to_contain_text("Feb. 2020 bis Feb. 2020")


def test_the_window_moves_on_by_itself_and_stops_at_the_end(page: Page) -> None:
    """Month by month, with a fake clock, since a busy machine may miss half a second."""
    page.clock.install(time="2026-01-01")
    page.clock.pause_at("2026-01-02")
    page.get_by_role("button", name="Abspielen").click()
    page.clock.run_for(50)
    for month in ("Jan.", "Feb.", "März"):
        expect(page.locator("#period")).to_contain_text(f"{month} 2020 bis {month} 2020")
        page.clock.run_for(500)
    expect(page.get_by_role("button", name="Abspielen")).to_be_visible()


def test_topic_fewest_and_inside_narrow_and_widen(page: Page) -> None:
    """A line counts the events that are not drawn."""
    expect(page.locator("#status")).to_have_text(
        "8 Ereignisse in 6 Pfeilen gezeichnet. Nicht gezeichnet: 1 Ereignis innerhalb eines Akteurs."
    )
    page.get_by_label("auch innerhalb eines Akteurs").check()
    expect(page.locator("#network .arrow")).to_have_count(7)
    page.get_by_label("Ereignisse je Pfeil, mindestens").fill("2")
    expect(page.locator("#status")).to_have_text("3 Ereignisse in 1 Pfeil gezeichnet. Nicht gezeichnet: 6 Ereignisse kleinerer Pfeile.")
    page.get_by_label("Ereignisse je Pfeil, mindestens").fill("1")
    page.get_by_label("Thema").select_option("Energie und Rohstoffe")
    expect(page.locator("#network .arrow")).to_have_count(1)
    page.locator("#legend button", has_text="Warnung").click()
    expect(page.locator("#status")).to_contain_text("Zu dieser Auswahl gibt es kein Ereignis.")


def test_the_matrix_is_sorted_by_frequency(page: Page) -> None:
    """Rows by source, columns by target."""
    assert page.locator("#matrix tbody th").all_text_contents() == ["USA", "RUS", "DEU", "FRA", "UKR"]
    assert page.locator("#matrix thead th").all_text_contents()[0] == "RUS"
    expect(page.locator("#matrix button").first).to_have_text("3Kri 2")


def test_the_table_says_the_same_in_words(page: Page) -> None:
    """A row for each arrow, the largest first."""
    page.get_by_text("Dasselbe als Tabelle").click()
    rows = page.locator("#table tbody tr")
    expect(rows).to_have_count(6)
    assert rows.first.locator("td").all_text_contents() == [
        "USA",
        "RUS Russland",
        "3",
        "Kritik",
        "Kritik 2, Zwang 1",
        "15. Jan. 2020 – 1. März 2020",
    ]


def test_network_and_matrix_can_be_walked_through_by_keyboard(page: Page) -> None:
    """Arrows, actors and cells have one tab stop each; arrow keys move, Enter selects."""
    for selector in ("#network .arrow", "#network .node", "#matrix button"):
        assert page.locator(f"{selector}[tabindex='0']").count() == 1
    arrow(page, "USA → Russland").focus()
    page.keyboard.press("ArrowRight")
    focused = page.locator("#network .arrow:focus")
    assert not (focused.get_attribute("aria-label") or "").startswith("USA → Russland")
    expect(page.locator("#panel h3")).not_to_have_text("Am häufigsten")
    page.keyboard.press("Enter")
    expect(page.locator("#network .arrow:focus")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Home")
    expect(page.locator("#network .arrow:focus")).to_have_attribute("aria-label", "USA → Russland: 3 Ereignisse, meist Kritik (2)")
    page.locator("#matrix button[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#matrix tr:nth-child(2) button:focus")).to_have_count(1)


def test_a_number_that_is_chosen_keeps_the_focus_when_the_matrix_is_drawn_anew(page: Page) -> None:
    """A selection replaces the table after a short delay; the tab stop stays in place too."""
    page.locator("#matrix button[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.evaluate("document.querySelector('#matrix table').dataset.old = ''")
    page.keyboard.press("Enter")
    expect(page.locator("#matrix table[data-old]")).to_have_count(0)
    expect(page.locator("#matrix tr:nth-child(2) button:focus[aria-pressed='true'][tabindex='0']")).to_have_count(1)
    expect(page.locator("#matrix [tabindex='0']")).to_have_count(1)


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, folder: Path) -> None:
    """At 360 pixels; a tap selects an arrow, and the controls are hidden at first."""
    visit = Visit(browser, folder / "network.html", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(visit.page.locator("#controls")).to_be_hidden()
    visit.page.locator("#panel .pick").first.tap()
    expect(visit.page.locator("#panel .examples li")).to_have_count(3)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    visit.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(browser: Browser, folder: Path, scheme: str) -> None:
    """At first, with a selection, with a filter, and with the table open; contrast is included."""
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, folder / "network.html", color_scheme=scheme, reduced_motion="reduce")
    page = visit.page
    faults: list[str] = []

    def look(state: str) -> None:
        for fault in Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]:
            faults.append(f"{state}: {fault['id']}: " + " | ".join(node["html"] for node in fault["nodes"][:3]))

    look("first")
    page.get_by_text("Dasselbe als Tabelle").click()
    page.locator("#panel .pick").first.click()
    expect(page.locator("#panel .examples")).to_be_visible()
    look("chosen")
    page.locator("#legend button", has_text="Drohung").click()
    page.locator("#network .node").first.click()
    look("filtered")
    visit.context.close()
    assert faults == []


def test_five_thousand_events_of_a_hundred_and_fifty_actors_stay_fluent(browser: Browser, tmp_path: Path) -> None:
    """The 40 actors with most events are drawn and the others counted; a step of the slider takes a
    fraction of a second even on a busy machine.
    """
    chance = random.Random(1)
    codes = [f"{first}{second}X" for first in "ABCDEFGHIJKLMNO" for second in "ABCDEFGHIJ"]
    weights = [1 / (index + 1) ** 0.7 for index in range(150)]
    start = datetime.date(2010, 1, 1)
    stances = ("support", "cooperation", "request", "warning", "criticism", "threat", "rejection", "coercion")
    events = []
    for number in range(5000):
        source, target = chance.choices(codes, weights, k=2)
        day = (start + datetime.timedelta(days=chance.randrange(3650))).isoformat()
        events.append(event(source, target, chance.choice(stances), day, article=f"a{number}", text=f"Satz {number} über {source}. " * 5))
    file = tmp_path / "large.html"
    assert main(["network", f"input={lines(tmp_path / 'large.jsonl', events, quiet=())}", f"output={file}", "inside=keep"]) == 0
    assert file.stat().st_size < 3_000_000
    visit = Visit(browser, file)
    page = visit.page
    expect(page.locator("#network .node")).to_have_count(40)
    expect(page.locator("#status")).to_contain_text("with one of 110 further actors")
    page.locator("[name=count]").select_option("150")
    expect(page.locator("#network .node")).to_have_count(150)
    median = page.evaluate(
        """async () => {
          const to = document.getElementById("to");
          const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          const times = [];
          for (let step = 1; step <= 15; step += 1) {
            const start = performance.now();
            to.value = String(119 - 2 * step);
            to.dispatchEvent(new Event("input", { bubbles: true }));
            await frame();
            times.push(performance.now() - start);
          }
          return times.sort((one, other) => one - other)[7];
        }"""
    )
    visit.close()
    assert median < (1500 if os.environ.get("CI") else 750)
