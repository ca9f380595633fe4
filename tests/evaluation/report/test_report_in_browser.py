"""The report in a real browser: a click on a confusion leaves its errors alone on the page, and
nothing is fetched.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from haltung.evaluation.error_analysis.analysis import ErrorAnalysis, Word, find_mistakes
from haltung.evaluation.error_analysis.name_sensitivity import name_sensitivity
from haltung.evaluation.error_analysis.slices import slices
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit, score
from haltung.evaluation.report import page as report
from haltung.labels import parse
from haltung.records import Prediction, Segment

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
    """Sixty segments of twelve articles; each fifth warning is taken for a threat, each seventh
    neutral for a warning.
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
    """An error analysis with weights on two words of each error."""
    found = find_mistakes(scored, segments)
    words = (Word("text", 0, 4, -0.5), Word("text", 5, 10, 1.0), Word("target", 0, 5, 0.25))
    found = dataclasses.replace(found, mistakes=tuple(dataclasses.replace(mistake, words=words) for mistake in found.mistakes))
    sensitivity = name_sensitivity(scored, segments, always_neutral, draws=100)
    return ErrorAnalysis("news", "test", slices(scored, segments, draws=100), sensitivity, found, len(found.mistakes))


def always_neutral(segments: Sequence[Segment]) -> list[Prediction]:
    """A model that predicts the same for everything."""
    probabilities = {"stance": {"warning": 0.0, "threat": 0.0, "neutral": 1.0}}
    return [Prediction(segment.id, {"stance": "neutral"}, probabilities) for segment in segments]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A German report with errors to read."""
    folder = tmp_path_factory.mktemp("reports") / "one"
    segments, scored = split()
    files = report.write(folder, evaluate(scored), scored, language="de", title="Lauf 7", analysis=analysis(segments, scored))
    assert folder / "examination.json" in files
    return folder


def test_the_analysis_is_written_as_plain_data(folder: Path) -> None:
    """Every digit of it, under the keys that the files of older versions have."""
    data = json.loads((folder / "examination.json").read_text(encoding="utf-8"))
    assert list(data) == ["format", "corpus", "split", "slices", "reliance", "mistakes", "explained"]
    expected = analysis(*split())
    assert data["reliance"] == json.loads(json.dumps(dataclasses.asdict(expected.name_sensitivity)))
    assert data["mistakes"]["mistakes"][0]["words"] == [dataclasses.asdict(word) for word in expected.mistakes.mistakes[0].words]
    assert {row["verdict"] for row in data["slices"]["tasks"]["stance"]} == {row.verdict for row in expected.slices.tasks["stance"]}


def test_the_page_shows_slices_masking_and_each_error_escaped(folder: Path) -> None:
    """The words that the model went by are coloured; markup in a text stays text."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    for heading in ("Haltung nach Ausschnitt", "Namen verdeckt und vertauscht", "Fehler zum Lesen", "Labels zum Nachsehen"):
        assert heading in page
    assert '<span class="for" style="--w:1.00">warnt</span>' in page
    assert '<span class="against" style="--w:0.50">Peru</span>' in page
    assert '<span class="for" style="--w:0.25">Malta</span>' in page
    assert "&lt;b&gt;zum" in page
    assert "<b>zum" not in page
    assert not re.search(r"(src|href)=\"https?:", page)


class _Cards(HTMLParser):
    """Collects the errors of a page: gold, predicted, and whether they are hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.cards: list[tuple[str, str, bool]] = []
        self.pressed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of cards and pressed buttons."""
        values = dict(attrs)
        if tag == "article" and values.get("data-gold"):
            self.cards.append((str(values["data-gold"]), str(values["data-predicted"]), "hidden" in values))
        self.pressed += values.get("aria-pressed") == "true"


def _opened(page: Path, script: str) -> _Cards:
    """Open a copy of the page in Chromium, run the script as a person's hand, and read the page as
    it stands then.
    """
    copy = page.with_name(f"{page.stem}-{abs(hash(script))}.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}", "--dump-dom"]
    home = os.environ | {"HOME": str(page.parent)}
    done = subprocess.run(["chromium", *flags, copy.as_uri()], capture_output=True, encoding="utf-8", timeout=120, check=True, env=home)
    found = _Cards()
    found.feed(done.stdout)
    return found


@pytest.mark.system("chromium")
def test_a_click_on_a_confusion_leaves_its_errors_alone(folder: Path, tmp_path: Path) -> None:
    """And a second click brings the others back."""
    page = tmp_path / "report.html"
    page.write_text((folder / "report.html").read_text(encoding="utf-8"), encoding="utf-8")
    click = "document.querySelector('.chip[data-gold=warning][data-predicted=threat]').click();"
    before, once, twice = (_opened(page, script) for script in ("", click, click + click))
    assert len(before.cards) == 7
    assert not any(hidden for *_, hidden in before.cards)
    shown = {(gold, predicted) for gold, predicted, hidden in once.cards if not hidden}
    assert shown == {("warning", "threat")}
    assert (once.pressed, twice.pressed) == (1, 0)
    assert twice.cards == before.cards


@pytest.mark.system("chromium")
def test_a_search_that_finds_nothing_says_so(folder: Path, tmp_path: Path) -> None:
    """All errors are hidden, and a sentence replaces them."""
    page = tmp_path / "report.html"
    page.write_text((folder / "report.html").read_text(encoding="utf-8"), encoding="utf-8")
    found = _opened(page, "const box = document.querySelector('input'); box.value = 'Xylophon'; box.dispatchEvent(new Event('input'));")
    assert all(hidden for *_, hidden in found.cards)


def test_a_large_report_is_small_enough_to_send(tmp_path: Path) -> None:
    """12,000 predictions with a hundred errors: under five megabytes."""
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
