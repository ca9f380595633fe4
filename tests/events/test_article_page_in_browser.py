"""The HTML file of articles in a real browser: arrows connect the right words, on every screen and
for any text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from articles import events_of
from haltung.events.records import ArticleEvents, LabelledArticle, ScoredDyad
from haltung.events.text.read import Article
from haltung.labels import parse
from haltung.records import Prediction
from haltung.serving import article_page
from page_visits import chromium

pytestmark = pytest.mark.system("chromium")

SCHEME = parse(
    {
        "name": "news",
        "tasks": {
            "topic": {"de": "Thema", "en": "Topic", "labels": {"security": {"de": "Sicherheit"}, "economy": {"de": "Wirtschaft"}}},
            "stance": {
                "de": "Haltung",
                "en": "Stance",
                "labels": {
                    "warning": {"de": "Warnung", "en": "Warning"},
                    "cooperation": {"de": "Kooperation", "en": "Cooperation"},
                    "neutral": {"de": "Neutral", "en": "Neutral"},
                },
            },
        },
    }
)
WORDS = {"warn": "warning", "vereinbar": "cooperation"}
LONG = (
    "Chile und Ghana warnten am Dienstag nach langen und zähen Verhandlungen, die bis in den frühen Morgen dauerten und an denen auch "
    "viele Beobachter teilnahmen, die Regierungen von Peru und Nepal sowie alle anderen, die an der Küste bauen wollen, vor Island."
)

# The words that lines of arrows cross. The 10 px at both ends of a line don't count, nor the 3 px
# above and below the letters in a word's box.
CROSSED = """sentence => {
  const words = [], walker = document.createTreeWalker(sentence.querySelector('.words'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) for (const word of walker.currentNode.data.matchAll(/\\S+/g)) {
    const range = new Range();
    range.setStart(walker.currentNode, word.index);
    range.setEnd(walker.currentNode, word.index + word[0].length);
    for (const box of range.getClientRects()) words.push([word[0], box]);
  }
  const frame = sentence.querySelector('.arrows').getBoundingClientRect();
  const crossed = [];
  for (const line of sentence.querySelectorAll('.line')) {
    const length = line.getTotalLength();
    for (let distance = 10; distance < length - 10; distance += 2) {
      const {x, y} = line.getPointAtLength(distance);
      for (const [word, box] of words) {
        const [left, top] = [frame.left + x, frame.top + y];
        if (left > box.left && left < box.right && top > box.top + 3 && top < box.bottom - 3) crossed.push(word);
      }
    }
  }
  return crossed;
}"""

# The texts of the elements at which an arrow begins and ends.
ENDS = """arrow => {
  const line = arrow.querySelector('.line'), sentence = arrow.closest('.sentence');
  const frame = sentence.querySelector('.arrows').getBoundingClientRect();
  const at = distance => {
    const point = line.getPointAtLength(distance);
    const [x, y] = [frame.left + point.x, frame.top + point.y];
    const inside = box => x >= box.left - 1 && x <= box.right + 40 && y >= box.top - 4 && y <= box.bottom + 4;
    return [...sentence.querySelectorAll('.named, .who')].filter(it => [...it.getClientRects()].some(inside)).at(-1)?.textContent;
  };
  return [at(0), at(line.getTotalLength())];
}"""


class Every:
    """Finds a dyad for each pair of a sentence's actors, so that many arrows are drawn."""

    def __call__(self, article: LabelledArticle) -> list[list[ScoredDyad]]:
        """Return the pairs of each segment."""
        return [
            [
                ScoredDyad(one.code, other.code, str(prediction.labels["stance"]), 0.5, (one.start, one.end), (other.start, other.end))
                for one, other in combinations(mentions, 2)
            ]
            for mentions, prediction in zip(article.mentions, article.predictions, strict=True)
        ]


def read(text: str, headline: str = "", dyads: Any = None, name: str = "a") -> ArticleEvents:
    """Return the events of an article; ``WORDS`` gives the stances of its sentences."""

    def classify(segments: Any) -> list[Prediction]:
        rows = []
        for segment in segments:
            stance = next((stance for word, stance in WORDS.items() if word in segment.text), "neutral")
            shares = {label: 0.93 if label == stance else 0.035 for label in SCHEME.stance.ids}
            rows.append(Prediction(segment.id, {"topic": "security", "stance": stance}, {"topic": {"security": 1.0}, "stance": shares}))
        return rows

    return events_of(Article(name, text, headline), classify, dyads)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with chromium() as browser:
        yield browser


Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """Return a function that opens a page of articles from disk; fail at the end if a page made a
    request or logged anything.
    """
    contexts, requested, complaints = [], [], []
    path = tmp_path / "page.html"

    def open_page(*articles: ArticleEvents, language: str = "de", count: int | None = None, **options: Any) -> Page:
        path.write_text(article_page.page(articles, SCHEME, language, count), encoding="utf-8")
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "offline": True, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert set(requested) <= {path.as_uri(), "data:,"}


def test_an_arrow_leads_from_the_words_of_the_source_to_those_of_the_target(opened: Opened) -> None:
    """It has the stance's colour and name; the probability appears on hover and selection."""
    page = opened(read("Am Abend warnte Chile die Regierung von Peru."))
    arrow = page.locator(".arrow")
    expect(arrow).to_have_count(1)
    assert arrow.evaluate(ENDS) == ["Chile", "Regierung von Peru"]
    assert page.locator(".arrows .name").evaluate("it => it.firstChild.data") == "Warnung"
    assert arrow.locator("title").text_content() == "CHL → PER: Warnung, 93\u00a0%"
    colour = "it => getComputedStyle(it)[{}]"
    assert arrow.locator(".line").evaluate(colour.format("'stroke'")) == page.locator(".stroke").evaluate(
        colour.format("'backgroundColor'")
    )
    expect(page.locator(".sure")).to_be_hidden()
    page.locator(".sentence").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".sure")).to_be_visible()


def test_who_is_not_named_stands_beside_the_sentence(opened: Opened) -> None:
    """The source precedes it, the target follows it; a dash stands for nobody."""
    page = opened(read("Chile warnt Peru. Man warnt vor dem Bau."))
    second = page.locator(".sentence").nth(1)
    assert second.locator(".who").all_text_contents() == ["CHL", "–"]
    assert second.locator(".arrow").evaluate(ENDS) == ["CHL", "–"]
    boxes = [it.bounding_box() for it in (second.locator(".who").first, second.locator(".words"), second.locator(".who").last)]
    assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]  # type: ignore[index]


def test_what_is_mutual_is_one_arrow_with_two_heads(opened: Opened) -> None:
    """The table has two rows for it."""
    page = opened(read("Chile und Peru vereinbarten Gespräche."))
    assert page.locator(".arrow").count() == 1
    assert page.locator(".arrow .head").get_attribute("d").count("M") == 2  # type: ignore[union-attr]
    assert page.locator("haltung-dyads tbody tr").count() == 2


def test_who_acts_towards_itself_has_an_arrow_too(opened: Opened) -> None:
    """It starts and ends at the same words."""

    class Itself:
        def __call__(self, article: LabelledArticle) -> list[list[ScoredDyad]]:
            return [[ScoredDyad("CHL", "CHL", "warning", 0.5, (0, 5), (0, 5))] for _ in article.segments]

    page = opened(read("Chile warnt sich selbst.", dyads=Itself()))
    assert page.locator(".arrow").evaluate(ENDS) == ["Chile", "Chile"]
    assert page.locator(".arrow .line").bounding_box()["width"] > 5  # type: ignore[index]


@pytest.mark.parametrize("width", [1400, 1000, 700])
def test_no_arrow_crosses_a_word(opened: Opened, width: int) -> None:
    """For many long arrows, at every width, and after the window is resized."""
    page = opened(read(LONG, dyads=Every()), read(LONG), viewport={"width": width, "height": 900})
    sentence = page.locator(".sentence")
    expect(sentence.locator(".arrow")).to_have_count(10)
    assert sentence.evaluate(CROSSED) == []
    page.set_viewport_size({"width": width + 130, "height": 900})
    page.wait_for_timeout(200)
    assert sentence.evaluate(CROSSED) == []
    assert sentence.locator(".arrow").first.evaluate(ENDS) == ["Chile", "Ghana"]


def test_names_on_arrows_do_not_cover_each_other(opened: Opened) -> None:
    """Each name is in a lane in which it overlaps no other."""
    page = opened(read(LONG, dyads=Every()))
    boxes = page.locator(".arrows .name").evaluate_all(
        "all => all.map(it => it.getBoundingClientRect()).map(({x, y, width}) => [x, y, width])"
    )
    for index, (x, y, width) in enumerate(boxes):
        for other_x, other_y, other_width in boxes[:index]:
            assert abs(y - other_y) > 10 or x + width <= other_x or other_x + other_width <= x


def test_rare_characters_shift_no_arrow(opened: Opened) -> None:
    """Emoji, joined emoji, letters outside the BMP, and Arabic before an actor's name."""
    page = opened(read("🎉🎉👩‍👩‍👧 𝕬 é مرحبا warnt Chile bald Peru."))
    assert page.locator(".named").all_text_contents() == ["Chile", "Peru"]
    assert page.locator(".arrow").evaluate(ENDS) == ["Chile", "Peru"]


def test_markup_in_an_article_stays_text(opened: Opened) -> None:
    """In sentences, headlines and the list of articles."""
    evil = "</script><img src=x onerror=alert(1)>"
    page = opened(read(f"Chile {evil} warnt Peru.", f"{evil}<b>fett</b>"), read("Chile warnt Peru.", evil))
    assert page.locator("main img, main b, main script").count() == 0
    assert page.locator(".headline").text_content() == f"{evil}<b>fett</b>"
    assert page.locator(".sentence .words").text_content() == f"Chile {evil} warnt Peru."
    assert f"2. {evil} · 1 Dyade" in page.locator("#articles option").all_text_contents()


def test_a_text_from_right_to_left_is_written_so(opened: Opened) -> None:
    """Its arrows connect the same words."""
    page = opened(read("מרחבא Chile warnt Peru מרחבא."))
    assert page.locator(".text p").evaluate("it => getComputedStyle(it).direction") == "rtl"
    assert page.locator(".arrow").evaluate(ENDS) == ["Chile", "Peru"]


def test_what_was_removed_is_shown_and_said(opened: Opened) -> None:
    """In its original place, struck through, with its kind."""
    page = opened(read("Chile warnt Peru.\n\nAnzeige\n\nEs regnet."))
    parts = page.locator(".text p")
    assert parts.nth(1).locator("s").text_content() == "Anzeige"
    assert parts.nth(1).text_content() == "Anzeige entfernt: Werbung"
    assert parts.count() == 3


def test_the_notes_of_an_article_are_shown(opened: Opened) -> None:
    """For example that it is in English."""
    page = opened(read("Belgium praised the new customs union on Friday. The minister said that he would support the plan of the bank."))
    expect(page.locator(".remark").first).to_contain_text("This article is in English")


def test_a_headline_in_the_text_is_not_shown_twice(opened: Opened) -> None:
    """If it is the text's first line, it is shown only above the text."""
    text = "Streit am Meer\n\nChile warnt Peru."
    events = events_of(
        Article("a", text, "Streit am Meer", body=16),
        lambda rows: [Prediction(one.id, {"topic": "security", "stance": "warning"}, {"stance": {"warning": 0.9}}) for one in rows],
    )  # fmt: skip
    page = opened(events)
    assert page.locator(".headline").text_content() == "Streit am Meer"
    assert page.locator(".text p").count() == 1


def test_the_table_tells_what_the_arrows_show(opened: Opened) -> None:
    """A row has sentence, source, target, stance, probability and event; a click on the sentence's
    number selects the sentence.
    """
    page = opened(read("Es regnet. Chile warnt Peru."))
    page.get_by_text("1 Dyade als Tabelle").click()
    row = page.locator("haltung-dyads tbody tr")
    assert row.locator("td").all_text_contents() == ["2", "CHL „Chile“", "PER „Peru“", "Warnung", "93\u00a0%", "–"]
    row.get_by_role("button").click()
    assert page.locator(".sentence").nth(1).get_attribute("aria-pressed") == "true"
    expect(page.locator("#announcement")).to_contain_text("CHL → PER: Warnung, 93")


def test_several_articles_are_chosen_from_a_list(opened: Opened) -> None:
    """Also by keyboard; a line counts omitted articles; a single article has no list."""
    page = opened(read("Chile warnt Peru.", "Erster"), read("Ghana warnt Nepal.", "Zweiter", name="b"), count=812)
    picker = page.get_by_label("Artikel wählen")
    expect(page.get_by_text("Gezeigt sind die ersten 2 von 812 gelesenen Artikeln.")).to_be_visible()
    picker.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".headline")).to_have_text("Zweiter")
    assert page.locator(".arrow").evaluate(ENDS) == ["Ghana", "Nepal"]
    expect(opened(read("Chile warnt Peru.")).get_by_label("Artikel wählen")).to_be_hidden()


def test_the_page_speaks_german_and_english(opened: Opened) -> None:
    """It opens in the requested language, and one click switches to the other."""
    page = opened(read("Chile warnt Peru."), language="en")
    name = page.locator(".arrows .name")
    assert (page.locator("html").get_attribute("lang"), name.evaluate("it => it.firstChild.data")) == ("en", "Warning")
    page.get_by_role("radio", name="Deutsch").check()
    assert (page.locator("html").get_attribute("lang"), name.evaluate("it => it.firstChild.data")) == ("de", "Warnung")


def test_a_phone_says_in_words_what_arrows_would_show(opened: Opened) -> None:
    """The words are below the sentence, without horizontal scrolling; in landscape format arrows
    fit again.
    """
    page = opened(read(LONG, dyads=Every()), viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    assert page.locator(".arrow").count() == 0
    expect(page.locator(".towards").first).to_have_text("CHL → GHA: Warnung, 50\u00a0%")
    assert page.locator(".towards").first.bounding_box()["y"] > page.locator(".tag").first.bounding_box()["y"]  # type: ignore[index]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 844, "height": 390})
    expect(page.locator(".arrow")).to_have_count(10)


def test_paper_has_the_dyads_in_words_and_the_table(opened: Opened) -> None:
    """Arrows are laid out for the width of the screen, not of the paper."""
    page = opened(read("Chile warnt Peru."))
    page.emulate_media(media="print")
    expect(page.locator(".arrows")).to_be_hidden()
    expect(page.locator(".towards")).to_have_text("CHL → PER: Warnung, 93\u00a0%")
    expect(page.locator("haltung-dyads td").first).to_be_visible()


def test_an_article_without_a_sentence_and_no_article_are_told(opened: Opened) -> None:
    """A message replaces the empty page."""
    expect(opened(read("Anzeige")).get_by_text("In diesem Artikel ist kein Satz, der gelesen wurde.")).to_be_visible()
    expect(opened().get_by_text("Kein Artikel konnte gelesen werden.")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1200)])
def test_axe_finds_no_fault(opened: Opened, scheme: str, width: int) -> None:
    """With arrows, a selected sentence, an open table and a filter; contrast is included."""
    from axe_playwright_python.sync_playwright import Axe

    articles = [read(f"{LONG}\n\nAnzeige\n\nMan warnt vor dem Bau.", "Streit", Every()), read("Chile warnt Peru.", name="b")]
    page = opened(*articles, color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 900}, offline=False)
    faults: list[str] = []

    def look(state: str) -> None:
        for fault in Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]:
            faults.append(f"{state}: {fault['id']}: " + " | ".join(node["html"] for node in fault["nodes"][:3]))

    look("read")
    page.locator(".sentence").first.click()
    look("chosen")
    page.locator("haltung-dyads summary").click()
    look("table")
    page.locator("haltung-legend .entry").last.click()
    look("filtered")
    assert faults == []
