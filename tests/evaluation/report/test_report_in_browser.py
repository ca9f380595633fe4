"""The report in a real browser: a click on a confusion shows only its errors, and nothing is
requested.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from haltung.evaluation.error_analysis.analysis import ErrorAnalysis, Word, find_mistakes
from haltung.evaluation.error_analysis.name_sensitivity import name_sensitivity
from haltung.evaluation.error_analysis.slices import slices
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit, score
from haltung.evaluation.report import page as report
from haltung.labels import parse
from haltung.records import Prediction, Segment
from page_visits import chromium

pytestmark = pytest.mark.slow

SCHEME = parse(
    {
        "name": "news",
        "tasks": {
            "stance": {"de": "Haltung", "labels": {"warning": {"de": "Warnung"}, "threat": {"de": "Drohung"}, "neutral": {"de": "Neutral"}}}
        },
    }
)
LABELS = SCHEME.stance.ids


def split() -> tuple[list[Segment], ScoredSplit]:
    """Return sixty segments in twelve articles; every fifth warning is predicted as threat, every
    seventh neutral segment as warning.
    """
    segments, predictions = [], []
    for number in range(60):
        gold = LABELS[number % 3]
        predicted = "threat" if gold == "warning" and number % 5 == 0 else "warning" if gold == "neutral" and number % 7 == 0 else gold
        text = f"Peru warnt Chile <b>zum {number}. Mal</b> vor dem Damm."
        segments.append(
            Segment(f"s{number}", text, {"stance": gold}, context=f"Streit {number}", target="Malta", article=f"a{number % 12}")
        )
        sure = 0.6 + number % 30 / 100
        predictions.append(
            Prediction(
                f"s{number}", {"stance": predicted}, {"stance": {label: sure if label == predicted else (1 - sure) / 2 for label in LABELS}}
            )
        )
    return segments, score(segments, predictions, SCHEME, "news", "test")


def analysis(segments: list[Segment], scored: ScoredSplit) -> ErrorAnalysis:
    """Return an error analysis with word weights for each error."""
    found = find_mistakes(scored, segments)
    words = (Word("text", 0, 4, -0.5), Word("text", 5, 10, 1.0), Word("target", 0, 5, 0.25))
    found = dataclasses.replace(found, mistakes=tuple(dataclasses.replace(mistake, words=words) for mistake in found.mistakes))
    sensitivity = name_sensitivity(scored, segments, always_neutral, draws=100)
    return ErrorAnalysis("news", "test", slices(scored, segments, draws=100), sensitivity, found, len(found.mistakes))


def always_neutral(segments: Sequence[Segment], labels: Sequence[str] = LABELS) -> list[Prediction]:
    """Predict the same for each segment."""
    probabilities = {"stance": {label: float(label == labels[-1]) for label in labels}}
    return [Prediction(segment.id, {"stance": labels[-1]}, probabilities) for segment in segments]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A German report with an error analysis."""
    folder = tmp_path_factory.mktemp("reports") / "one"
    segments, scored = split()
    files = report.write(folder, evaluate(scored), scored, language="de", title="Lauf 7", analysis=analysis(segments, scored))
    assert folder / "examination.json" in files
    return folder


def test_the_analysis_is_written_as_plain_data(folder: Path) -> None:
    """Exactly, with the keys used in files of older versions."""
    data = json.loads((folder / "examination.json").read_text(encoding="utf-8"))
    assert list(data) == ["format", "corpus", "split", "slices", "reliance", "mistakes", "explained"]
    expected = analysis(*split())
    assert data["reliance"] == json.loads(json.dumps(dataclasses.asdict(expected.name_sensitivity)))
    assert data["mistakes"]["mistakes"][0]["words"] == [dataclasses.asdict(word) for word in expected.mistakes.mistakes[0].words]
    assert {row["verdict"] for row in data["slices"]["tasks"]["stance"]} == {row.verdict for row in expected.slices.tasks["stance"]}


def test_the_page_shows_slices_masking_and_each_error_escaped(folder: Path) -> None:
    """The words that influenced the model are coloured; markup in texts is escaped."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    for heading in ("Haltung nach Ausschnitt", "Namen verdeckt und vertauscht", "Fehler zum Lesen", "Labels zum Nachsehen"):
        assert heading in page
    assert '<span class="for" style="--w:1.00">warnt</span>' in page
    assert '<span class="against" style="--w:0.50">Peru</span>' in page
    assert '<span class="for" style="--w:0.25">Malta</span>' in page
    assert "&lt;b&gt;zum" in page
    assert "<b>zum" not in page
    assert not re.search(r"(src|href)=\"https?:", page)


def test_without_texts_the_page_has_their_ids(tmp_path: Path) -> None:
    """In page and data; a sentence says that ids are shown instead."""
    segments, scored = split()
    shown = analysis(segments, scored).without_texts()
    report.write(tmp_path / "stored", evaluate(scored), scored, language="de", analysis=shown)
    stored = "".join((tmp_path / "stored" / name).read_text(encoding="utf-8") for name in ("report.html", "examination.json"))
    assert "hier stehen ihre Kennungen" in stored
    assert all(f" · {mistake.id}<" in stored for mistake in shown.mistakes.mistakes)
    for part in ("vor dem Damm", "Streit", "Malta"):
        assert part not in stored


class Opened:
    """The report as opened in Chromium, and the errors that occurred."""

    def __init__(self, browser: Browser, path: Path) -> None:
        self.complaints: list[str] = []
        self.page = browser.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.goto(path.as_uri())

    def cards(self) -> list[tuple[str, str, bool]]:
        """Return gold, prediction, and whether it is hidden, for each error."""
        found: list[list[Any]] = self.page.eval_on_selector_all(
            "article[data-gold]", "cards => cards.map(card => [card.dataset.gold, card.dataset.predicted, card.hidden])"
        )
        return [(gold, predicted, hidden) for gold, predicted, hidden in found]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with chromium() as browser:
        yield browser


@pytest.mark.system("chromium")
def test_a_click_on_a_confusion_leaves_its_errors_alone(folder: Path, browser: Browser) -> None:
    """A second click shows the others again."""
    opened = Opened(browser, folder / "report.html")
    chip = opened.page.locator(".chip[data-gold=warning][data-predicted=threat]")
    before = opened.cards()
    assert len(before) == 7
    assert not any(hidden for *_, hidden in before)
    chip.click()
    assert {(gold, predicted) for gold, predicted, hidden in opened.cards() if not hidden} == {("warning", "threat")}
    assert chip.get_attribute("aria-pressed") == "true"
    chip.click()
    assert (opened.page.locator("[aria-pressed=true]").count(), opened.cards()) == (0, before)
    assert opened.complaints == []


@pytest.mark.system("chromium")
def test_a_search_that_finds_nothing_says_so(folder: Path, browser: Browser) -> None:
    """All errors are hidden, and a sentence is shown instead."""
    opened = Opened(browser, folder / "report.html")
    opened.page.locator(".errors input").fill("Xylophon")
    assert all(hidden for *_, hidden in opened.cards())
    assert opened.page.locator(".errors .none").is_visible()


SCRIPT = "<script>document.title='run'</script>"


@pytest.mark.system("chromium")
def test_nothing_of_a_corpus_runs_in_a_page(browser: Browser, tmp_path: Path) -> None:
    """Markup in texts, labels, their names and those of corpus and run is escaped; the page's
    policy would block even unescaped scripts.
    """
    labels = {f"a{SCRIPT}": {"de": f"Warnung {SCRIPT}"}, "b": {"de": "Drohung"}, "c": {"de": "Neutral"}}
    scheme = parse({"name": SCRIPT, "tasks": {"stance": {"de": "Haltung <img src=x>", "labels": labels}}})
    names = dict(zip(LABELS, scheme.stance.ids, strict=True))
    segments, scored = split()
    segments = [
        dataclasses.replace(one, text=f"{one.text} {SCRIPT}", labels={"stance": names[str(one.labels["stance"])]}) for one in segments
    ]
    scored = dataclasses.replace(scored, scheme=scheme, corpus=f"{SCRIPT}.xlsx")
    sensitivity = name_sensitivity(scored, segments, lambda rows: always_neutral(rows, scheme.stance.ids), draws=100)
    errors = ErrorAnalysis(scored.corpus, "test", slices(scored, segments, draws=100), sensitivity, find_mistakes(scored, segments), 0)
    report.write(tmp_path / "report", evaluate(scored), scored, language="de", title=SCRIPT, analysis=errors)
    page = tmp_path / "report/report.html"
    opened = Opened(browser, page)
    assert (opened.page.locator("script").count(), opened.complaints) == (1, [])
    assert opened.page.title().endswith(f": {SCRIPT}")
    assert opened.page.get_by_text(f"Damm. {SCRIPT}").count() > 0
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{SCRIPT}</body>"), encoding="utf-8")
    opened = Opened(browser, page)
    assert opened.page.title().endswith(f": {SCRIPT}")
    assert ["Content Security Policy" in line for line in opened.complaints] == [True]


def test_a_large_report_is_small_enough_to_send(tmp_path: Path) -> None:
    """12,000 predictions with a hundred errors take less than five megabytes."""
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 12_000)
    probabilities = rng.dirichlet([1, 1, 1], 12_000)
    segments = [
        Segment(f"s{n}", f"Ein Satz mit der Nummer {n} über Peru. " * 3, {"stance": LABELS[g]}, article=f"a{n // 12}")
        for n, g in enumerate(gold)
    ]
    ids, groups = tuple(row.id for row in segments), tuple(row.article for row in segments)
    scored = ScoredSplit(ids, groups, SCHEME, {"stance": probabilities}, {"stance": gold}, "news", "test")
    sensitivity = name_sensitivity(scored, segments, always_neutral, draws=100)
    errors = ErrorAnalysis("news", "test", slices(scored, segments, draws=100), sensitivity, find_mistakes(scored, segments), 0)
    files = report.write(tmp_path / "report", evaluate(scored), scored, analysis=errors)
    assert files[0].stat().st_size < 5_000_000
