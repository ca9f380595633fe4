"""The report on dyads: its tables, plot and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from haltung.evaluation.metrics.dyads import (
    END_TO_END,
    STANCES_GIVEN,
    Difference,
    SystemsCompared,
    evaluate_dyads,
)
from haltung.evaluation.report import plots, tables
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.experiments.dyads import DyadScores, write
from haltung.records import Dyad, Segment

GOLD = [[Dyad("USA", "RUS", "warning")], [Dyad("RUS", "USA", "threat")]]
MODEL = evaluate_dyads(GOLD, [GOLD[0], [Dyad("RUS", "CHN", "threat")]], ["a", "b"], candidates=[["USA", "RUS"], ["RUS"]])
RULES = evaluate_dyads(GOLD, [[], []], ["a", "b"])
COMPARED = {
    END_TO_END: SystemsCompared({"model": MODEL, "rules": RULES}, {"source, stance": Difference(0.25, Interval(-0.1, 0.6), 0.2)}),
    STANCES_GIVEN: SystemsCompared({"model": MODEL, "rules": RULES}, {"source, target": Difference(-0.25, None, 0.3)}),
}


def test_each_setting_has_a_row_for_each_part_of_a_dyad_and_system() -> None:
    """Words and numbers are in the given language."""
    *settings, difference, components, by_stance = tables.dyad_scores(COMPARED, "de")
    titles = [f"Dyaden: 2 Segmente, 2 Artikel, {given}" for given in ("alles selbst gefunden", "Haltungen gegeben")]
    assert [table.title for table in settings] == titles
    first, _ = settings
    assert first.rows[0] == ("Modell", "wer, wen, Haltung", "0,500", "0,500", "0,500")
    assert first.rows[1] == ("Modell", "wer, Haltung", "1,000", "1,000", "1,000")
    assert [row[0] for row in first.rows] == ["Modell"] * 3 + ["Regeln"] * 3
    assert difference.rows == (
        ("alles selbst gefunden", "wer, Haltung", "+0,250 [−0,100; 0,600]", "0,200"),
        ("Haltungen gegeben", "wer, wen", "−0,250", "0,300"),
    )
    assert components.rows == (("Modell", "0,750", "1,000"), ("Regeln", "–", "0,000"))
    assert by_stance.rows == (("threat", "1", "1", "0,000"), ("warning", "1", "1", "1,000"))


def test_a_single_article_is_no_plural() -> None:
    """In the title of the table."""
    metrics = evaluate_dyads(GOLD, [[], []], ["a", "a"])
    assert tables.dyads({"rules": metrics}).title.endswith(": 2 segments, 1 article")


def test_a_single_system_has_no_table_of_differences() -> None:
    """But the four other tables."""
    settings = dict.fromkeys((END_TO_END, STANCES_GIVEN), SystemsCompared({"rules": RULES}))
    assert len(tables.dyad_scores(settings)) == 4


def test_a_report_that_fails_leaves_the_one_of_before(tmp_path: Path) -> None:
    """Unchanged, and without a temporary file beside it."""
    scores = DyadScores([Segment("old", "Ja.")], {"rules": [[]]}, COMPARED)
    write(scores, tmp_path, "news", {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(IndexError):
        write(replace(scores, segments=[Segment("new", "Ja."), Segment("newer", "Nein.")]), tmp_path, "news", {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("language", "part", "setting"), [("en", "source, target", "F1, stances given"), ("de", "wer, wen", "F1, Haltungen gegeben")]
)
def test_the_plot_has_a_panel_for_each_setting(language: str, part: str, setting: str) -> None:
    """With one bar per system and part; parts are named once."""
    figure = plots.dyads(COMPARED, "news, test", language)
    figure.draw_without_rendering()
    assert [axes.get_xlabel() for axes in figure.axes][1] == setting
    assert [len(axes.patches) for axes in figure.axes] == [6, 6]
    assert part in [text.get_text() for text in figure.axes[0].get_yticklabels()]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 2
