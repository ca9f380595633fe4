"""The report on dyads: its tables and its plot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from haltung.evaluation.metrics.dyads import (
    ACTORS_GIVEN,
    END_TO_END,
    STANCES_GIVEN,
    Difference,
    Precision,
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
    ACTORS_GIVEN: SystemsCompared({"model": RULES, "rules": MODEL}),
}
SWAPS = {"model": {"pairs": 30_000, "apart": 0.5, "both": 0.25}, "rules": None}


def test_each_setting_has_a_row_for_each_part_of_a_dyad_and_system() -> None:
    """Words and numbers in the language, large ones in groups of digits."""
    *settings, difference, components, by_stance, by_probability, swaps = tables.dyad_scores(
        COMPARED, SWAPS, [Precision(0.5, 20_000, 0.5)], "de"
    )
    titles = [
        f"Dyaden: 2 Segmente, 2 Artikel, {given}"
        for given in ("alles selbst gefunden", "Haltungen gegeben", "Haltungen und Akteure gegeben")
    ]
    assert [table.title for table in settings] == titles
    first, _, last = settings
    assert first.rows[0] == ("Modell", "wer, wen, Haltung", "0,500", "0,500", "0,500")
    assert first.rows[1] == ("Modell", "wer, Haltung", "1,000", "1,000", "1,000")
    assert [row[0] for row in first.rows] == ["Modell"] * 3 + ["Regeln"] * 3
    assert last.rows[4] == ("Regeln", "wer, Haltung", "1,000", "1,000", "1,000")
    assert difference.rows == (
        ("alles selbst gefunden", "wer, Haltung", "+0,250 [−0,100; 0,600]", "0,200"),
        ("Haltungen gegeben", "wer, wen", "−0,250", "0,300"),
    )
    assert components.rows == (("Modell", "0,750", "1,000"), ("Regeln", "–", "0,000"))
    assert by_stance.rows == (("threat", "1", "1", "0,000"), ("warning", "1", "1", "1,000"))
    assert by_probability.rows == (("0,5", "20.000", "0,500"),)
    assert swaps.rows == (("Modell", "30.000", "0,500", "0,250"),)


def test_a_single_article_is_no_plural() -> None:
    """In the title."""
    metrics = evaluate_dyads(GOLD, [[], []], ["a", "a"])
    assert tables.dyads({"rules": metrics}).title.endswith(": 2 segments, 1 article")


def test_a_single_system_has_no_table_of_differences() -> None:
    """Nor of probabilities and role swaps, where there are none."""
    assert (
        len(
            tables.dyad_scores(dict.fromkeys((END_TO_END, STANCES_GIVEN, ACTORS_GIVEN), SystemsCompared({"rules": RULES})), {"rules": None})
        )
        == 5
    )


def test_a_report_that_fails_leaves_the_one_of_before(tmp_path: Path) -> None:
    """Whole, and without a scratch file beside it."""
    scores = DyadScores([Segment("old", "Ja.")], {"rules": [[]]}, COMPARED, SWAPS, ())
    write(scores, tmp_path, "news", {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(IndexError):
        write(replace(scores, segments=[Segment("new", "Ja."), Segment("newer", "Nein.")]), tmp_path, "news", {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("language", "part", "setting"), [("en", "source, target", "F1, stances given"), ("de", "wer, wen", "F1, Haltungen gegeben")]
)
def test_the_plot_has_a_panel_for_each_setting(language: str, part: str, setting: str) -> None:
    """One bar of each system for each part; parts are named once."""
    figure = plots.dyads(COMPARED, "news, test", language)
    figure.draw_without_rendering()
    assert [axes.get_xlabel() for axes in figure.axes][1] == setting
    assert [len(axes.patches) for axes in figure.axes] == [6, 6, 6]
    assert part in [text.get_text() for text in figure.axes[0].get_yticklabels()]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 2
