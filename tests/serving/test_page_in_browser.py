"""The page in a real browser with the real server: a pasted text is read, shown, filtered,
navigated and saved.
"""

from __future__ import annotations

import csv
import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

import page_visits
import tiny

pytestmark = pytest.mark.system("chromium")

KEY = "a-key-for-the-test"
HEADLINE = "Streit um die Marine"
PARAGRAPHS = (
    ("Belgien warnt die Marine in Chile .", "Ghana lobt den Zoll in Peru .", "Nepal besucht das Heer in Laos ."),
    ("Island mahnt den Haushalt in Malta .", "Peru kennt die Bank in Ghana .", "Chile begrüßt den Truppenabzug in Nepal ."),
)
TEXT = "\n\n".join(" ".join(sentences) for sentences in PARAGRAPHS)
THEMES = {
    "name": "themes",
    "tasks": {
        "tone": {"kind": "single", "labels": {"calm": {"de": "ruhig", "en": "calm"}, "loud": {"de": "laut", "en": "loud"}}},
        "themes": {"kind": "multi", "labels": {"energy": {"de": "Energie"}, "trade": {"de": "Handel"}, "arms": {"de": "Waffen"}}},
    },
}


class Visit(page_visits.Visit):
    """A visit that pastes ``TEXT`` unless another text is given."""

    def read(self, text: str = TEXT, headline: str = HEADLINE) -> Page:
        """Paste a text and have it classified."""
        return super().read(text, headline)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with page_visits.chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A visit in German; at the end there is no error in the console and no request to another
    host.
    """
    visit = Visit(browser, address)
    yield visit
    visit.context.close()
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith((address, f"blob:{address}"))] == []


def answer(address: str, **options: Any) -> list[dict[str, Any]]:
    """Return the server's own answer; with events if its model can find them, as on the page."""
    body = json.dumps({"text": TEXT, "headline": HEADLINE} | options).encode()
    with urllib.request.urlopen(f"{address}model") as response:
        path = "events" if json.load(response)["events"] else "article"
    request = urllib.request.Request(f"{address}{path}", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        segments: list[dict[str, Any]] = json.load(response)["segments"]
    return segments


def german(task: str, label: str) -> str:
    """Return a label's German name."""
    return {found.id: found.de for found in tiny.scheme()[task].labels}[label]


def percent(value: float) -> str:
    """Return a probability as the German page writes it."""
    if 0.995 <= value < 1:
        return "> 99\u00a0%"
    return "< 1\u00a0%" if 0 < value < 0.005 else f"{100 * value:.0f}\u00a0%"


def test_the_page_says_of_each_sentence_what_the_server_says(visit: Visit, address: str) -> None:
    """In order, as running text in the pasted paragraphs."""
    page = visit.read()
    shown = [[piece.strip() for piece in part.locator(".words").all_text_contents()] for part in page.locator(".text p").all()]
    assert shown == [list(sentences) for sentences in PARAGRAPHS]
    expected = [german("stance", segment["stance"]) for segment in answer(address)]
    assert [tag.split(",")[0] for tag in page.locator(".sentence .tag:not(.topic)").all_text_contents()] == expected
    assert page.get_by_role("heading", name=HEADLINE).is_visible()


def test_what_the_model_is_not_sure_of_is_marked(visit: Visit, address: str) -> None:
    """In words and with a dashed line, and counted in the legend; the rest is not marked."""
    page = visit.read()
    unsure = [bool(segment.get("abstained", {}).get("stance")) for segment in answer(address, abstain=0.9)]
    assert {True, False} == set(unsure)
    assert [", unsicher" in text for text in page.locator(".sentence").all_text_contents()] == unsure
    marked = page.locator(".sentence.unsure").first
    assert marked.evaluate("it => getComputedStyle(it).borderInlineStartStyle") == "dashed"
    expect(page.get_by_role("button", name=f"unsicher {sum(unsure)}").first).to_be_visible()


def test_nothing_is_marked_where_nobody_asks_for_it(visit: Visit) -> None:
    """The menu next to the button turns the marks off."""
    visit.page.get_by_label("Unsicheres markieren").select_option("")
    assert visit.read().locator(".unsure").count() == 0


def test_the_panel_tells_every_task_with_probabilities_and_context(visit: Visit, address: str) -> None:
    """After a click on a sentence; a second click closes it."""
    page = visit.read()
    segment = answer(address)[1]
    page.locator(".sentence").nth(1).click()
    panel = page.get_by_role("region", name="Der gewählte Satz")
    expect(panel).to_contain_text("Satz 2 von 6")
    tasks = panel.locator(".task")
    assert tasks.locator("h3").all_text_contents() == ["Stance", "Topic"]
    for number, task in enumerate(("stance", "topic")):
        section = tasks.nth(number)
        expect(section.locator(".label")).to_have_text(german(task, segment[task]))
        likeliest = sorted(segment["probabilities"][task].items(), key=lambda pair: -pair[1])[:4]
        assert section.locator(".bar-row .name").all_text_contents() == [german(task, label) for label, _ in likeliest]
        assert section.locator(".bar-row .value").all_text_contents() == [percent(value) for _, value in likeliest]
        expect(section.locator(".bar-row.said .name")).to_have_text(german(task, segment[task]))
    expect(panel).to_contain_text(segment["context"])
    page.locator(".sentence").nth(1).click()
    expect(panel).to_contain_text("Einen Satz wählen")


def test_the_legend_filters(visit: Visit, address: str) -> None:
    """A click on a label dims all other sentences and counts its own; a topic narrows the selection
    further.
    """
    page = visit.read()
    segments = answer(address)
    stance, topic = segments[0]["stance"], segments[0]["topic"]
    page.locator(".group.colours .entry", has_text=german("stance", stance)).click()
    inside = [segment["stance"] == stance for segment in segments]
    assert page.locator(".sentence").evaluate_all("all => all.map(it => !it.classList.contains('aside'))") == inside
    expect(page.locator(".shown")).to_have_text(f"{sum(inside)} von 6 Sätzen passen zur Auswahl")
    page.locator(".group:not(.colours) .entry", has_text=german("topic", topic)).click()
    both = sum(segment["stance"] == stance and segment["topic"] == topic for segment in segments)
    expect(page.locator(".sentence:not(.aside)")).to_have_count(both)
    page.get_by_role("button", name="Alle zeigen").click()
    expect(page.locator(".sentence.aside")).to_have_count(0)


def test_the_text_can_be_walked_through_by_keyboard(visit: Visit) -> None:
    """There is one tab stop; arrows, J and K, Home and End move; Escape deselects and keeps the
    position.
    """
    page = visit.read()
    assert page.locator(".sentence[tabindex='0']").count() == 1
    page.locator(".entry").last.focus()
    page.keyboard.press("Tab")
    focused = page.locator(".sentence:focus")
    place = page.locator(".place")
    expect(focused).to_have_attribute("data-index", "0")
    for key, number in (("j", 2), ("ArrowRight", 3), ("ArrowDown", 4), ("k", 3), ("ArrowUp", 2), ("End", 6), ("j", 6), ("Home", 1)):
        page.keyboard.press(key)
        expect(place).to_have_text(f"Satz {number} von 6")
        expect(focused).to_have_attribute("data-index", str(number - 1))
        expect(focused).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(place).to_have_count(0)
    expect(focused).to_have_attribute("data-index", "0")
    page.keyboard.press("Enter")
    expect(place).to_have_text("Satz 1 von 6")


def test_a_screen_reader_is_told_what_was_read(visit: Visit, address: str) -> None:
    """When the answer arrives and for each selected sentence."""
    page = visit.read()
    told = page.locator("#announcement")
    expect(told).to_have_text("Gelesen: 6 Sätze")
    page.locator(".sentence").first.click()
    expect(told).to_contain_text(f"Satz 1 von 6: Stance {german('stance', answer(address)[0]['stance'])}, ")


def test_the_page_speaks_the_browsers_language_and_remembers_another(browser: Browser, address: str) -> None:
    """English for an American; German once selected, including the result and its controls."""
    visit = Visit(browser, address, locale="en-US")
    page = visit.read()
    assert (page.locator("html").get_attribute("lang"), page.locator("#result-title").text_content()) == ("en", "6 sentences")
    page.get_by_role("radio", name="Deutsch").check()
    expect(page.locator("#result-title")).to_have_text("6 Sätze")
    expect(page.get_by_role("button", name="Text ändern")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ein Artikel, Satz für Satz gelesen")
    visit.context.close()


def test_light_and_dark_follow_the_system_until_one_is_chosen(browser: Browser, address: str) -> None:
    """The choice is remembered."""
    visit = Visit(browser, address, color_scheme="dark")

    def ground() -> int:
        return int(visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]"))

    assert ground() < 40
    visit.page.get_by_role("radio", name="Hell").check()
    assert ground() > 200
    visit.page.reload()
    assert ground() > 200
    visit.context.close()


def test_the_json_is_the_servers_answer(visit: Visit, address: str) -> None:
    """Together with the text and the model."""
    page = visit.read()
    with page.expect_download() as saved:
        page.get_by_role("button", name="JSON").click()
    found = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
    assert (saved.value.suggested_filename, found["text"], found["headline"]) == ("haltung.json", TEXT, HEADLINE)
    assert found["segments"] == answer(address, abstain=0.9)


def test_the_csv_opens_as_a_table(visit: Visit, address: str) -> None:
    """It has a byte order mark for Excel, one row per sentence, intact quotes and commas, and no
    cell that begins like a formula.
    """
    text = f'=2+3 sagte Peru, "so" nicht .\n\n{TEXT}'
    page = visit.read(text)
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV", exact=True).click()
    content = Path(saved.value.path()).read_bytes()
    assert content.startswith(b"\xef\xbb\xbfsentence,start,end,text,topic,")
    assert content.count(b"\r\n") == content.count(b"\n")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert rows[0]["text"] == '\'=2+3 sagte Peru, "so" nicht .'
    assert [row["text"] for row in rows[1:]] == [sentence for sentences in PARAGRAPHS for sentence in sentences]
    last, said = rows[-1], answer(address, text=text)[-1]
    assert (last["stance"], last["topic"]) == (said["stance"], said["topic"])
    assert float(last["stance_probability"]) == pytest.approx(said["probabilities"]["stance"][said["stance"]], abs=1e-4)


def test_an_empty_text_is_told_before_anything_is_sent(visit: Visit) -> None:
    """The text field gets the focus."""
    visit.page.get_by_role("button", name="Lesen").click()
    expect(visit.page.get_by_role("alert")).to_contain_text("Hier steht noch kein Text.")
    expect(visit.page.locator("#text")).to_be_focused()
    assert not any(url.endswith(("/article", "/events")) for url in visit.requests)


def test_a_refusal_is_told_in_the_servers_own_sentence(visit: Visit) -> None:
    """Next to the page's own one; the text stays for another try."""
    visit.page.locator("#text").fill("Peru . " * 1000)
    visit.page.get_by_role("button", name="Lesen").click()
    alert = visit.page.get_by_role("alert")
    expect(alert).to_contain_text("Der Text ist für diesen Server zu lang.")
    expect(alert).to_contain_text("characters, at most 3,000 are allowed")
    expect(visit.page.locator("#text")).to_be_visible()
    # The browser itself logs a status of 400 or more.
    visit.complaints = [said for said in visit.complaints if "413" not in said]


def test_a_busy_server_is_asked_again_when_it_said(visit: Visit) -> None:
    """The button is disabled for the seconds of Retry-After, counting down; then the alert goes."""

    def busy(route: Route) -> None:
        route.fulfill(status=429, headers={"retry-after": "1"}, json={"error": "too many texts are waiting; try again in 1 s"})

    page = visit.page
    page.route("**/events", busy)
    page.locator("#text").fill(TEXT)
    page.get_by_role("button", name="Lesen").click()
    expect(page.locator("#countdown")).to_have_text("Wieder möglich in 1 s")
    expect(page.get_by_role("button", name="Lesen")).to_be_disabled()
    expect(page.get_by_role("alert")).to_contain_text("too many texts are waiting")
    page.unroute("**/events")
    expect(page.get_by_role("button", name="Lesen")).to_be_enabled()
    expect(page.get_by_role("alert")).to_be_empty()
    visit.read()
    visit.complaints = [said for said in visit.complaints if "429" not in said]


def test_a_lost_network_is_told(visit: Visit) -> None:
    """In the page's own words, since no server can answer."""
    visit.page.locator("#text").fill(TEXT)
    visit.context.set_offline(True)
    visit.page.get_by_role("button", name="Lesen").click()
    expect(visit.page.get_by_role("alert")).to_contain_text("Der Server ist nicht zu erreichen.")
    visit.context.set_offline(False)
    visit.read()
    visit.complaints = [said for said in visit.complaints if "ERR_INTERNET_DISCONNECTED" not in said]


def test_a_key_is_asked_for_only_where_the_server_wants_one(browser: Browser, visit: Visit, serve: Callable[..., str]) -> None:
    """The field appears after the first 401; with the key the text is read, and the key is not
    stored.
    """
    assert visit.page.get_by_label("Schlüssel").is_hidden()
    context = browser.new_context(locale="de-DE")
    page = context.new_page()
    page.goto(serve("locked", key=KEY))
    page.get_by_label("Schlüssel").fill(KEY)
    page.locator("#text").fill(TEXT)
    page.get_by_role("button", name="Lesen").click()
    expect(page.locator(".sentence")).to_have_count(6)
    assert KEY not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    context.close()


def test_markup_and_rare_characters_in_a_text_stay_text(visit: Visit) -> None:
    """A pasted text can't become a part of the page, and characters outside the BMP do not shift
    the sentences.
    """
    text = "Peru 🎉🎉 lobt <img src=x onerror=alert(1)> den Zoll . Chile kennt die Bank ."
    page = visit.read(text, "<b>fett</b>")
    assert page.locator(".text").locator("img, b").count() == 0
    assert page.get_by_role("heading", name="<b>fett</b>").is_visible()
    assert "".join(page.locator(".words").all_text_contents()).replace(" ", "") == text.replace(" ", "")


def test_another_scheme_is_shown_by_its_last_task(browser: Browser, serve: Callable[..., str]) -> None:
    """Several labels for a sentence or none, colours for labels without a defined one, and no dyads
    without stances.
    """
    address = serve("themes", THEMES)
    visit = Visit(browser, address)
    page = visit.read()
    segments = answer(address)
    assert len({len(segment["themes"]) for segment in segments}) > 1
    names = {label: has["de"] for label, has in THEMES["tasks"]["themes"]["labels"].items()}  # type: ignore[index]
    for place, segment in enumerate(segments):
        page.locator(".sentence").nth(place).click()
        label = page.locator("haltung-detail .label").first
        assert set(label.text_content().split(", ")) == ({names[name] for name in segment["themes"]} or {"ohne Label"})  # type: ignore[union-attr]
    colours = page.locator(".samples li").evaluate_all("all => all.map(it => getComputedStyle(it).textDecorationColor)")
    assert len(set(colours)) == 3
    assert [url.rpartition("/")[2] for url in visit.requests if url.endswith(("/article", "/events"))] == ["article"]
    assert page.locator(".drawn, .arrows, .actor, .told, haltung-dyads *").count() == 0
    for hidden in (page.locator("#save-dyads"), page.get_by_role("list", name="Wer → wem")):
        expect(hidden).to_be_hidden()
    visit.context.close()


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, address: str) -> None:
    """At 360 pixels, before and after reading; the panel does not cover the selected sentence."""
    visit = Visit(browser, address, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    wide = "document.documentElement.scrollWidth"
    assert visit.page.evaluate(wide) <= 360
    page = visit.read()
    page.locator(".sentence").last.click()
    assert page.evaluate(wide) <= 360
    page.wait_for_function(
        "() => document.querySelector('[aria-pressed=true].sentence').getBoundingClientRect().bottom"
        " <= document.querySelector('haltung-detail').getBoundingClientRect().top"
    )
    visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(browser: Browser, address: str, scheme: str) -> None:
    """With an alert, with the result, with a selected sentence, and with a filter; contrast is
    included.
    """
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, address, color_scheme=scheme, reduced_motion="reduce")
    faults: list[str] = []

    def look(state: str) -> None:
        for fault in Axe().run(visit.page, options={"resultTypes": ["violations"]}).response["violations"]:
            faults.append(f"{state}: {fault['id']}: " + " | ".join(node["html"] for node in fault["nodes"][:3]))

    visit.page.get_by_role("button", name="Lesen").click()
    look("alert")
    page = visit.read()
    look("result")
    page.locator(".sentence").nth(1).click()
    look("chosen")
    page.locator(".entry").first.click()
    look("filtered")
    visit.context.close()
    assert faults == []
