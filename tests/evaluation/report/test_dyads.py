"""The report on dyads: its tables, its plot and its data."""

from __future__ import annotations

import pytest

from haltung.evaluation.metrics.dyads import Difference, Precision, evaluate_dyads
from haltung.evaluation.report import dyads
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.records import Dyad

GOLD = [[Dyad("USA", "RUS", "warning")], [Dyad("RUS", "USA", "threat")]]
SYSTEMS = {
    "model": evaluate_dyads(GOLD, [GOLD[0], [Dyad("RUS", "CHN", "threat")]], ["a", "b"], candidates=[["USA", "RUS"], ["RUS"]]),
    "rules": evaluate_dyads(GOLD, [[], []], ["a", "b"]),
}
DIFFERENCES = {"source, stance": Difference(0.25, Interval(-0.1, 0.6), 0.2)}
SWAPS = {"model": {"pairs": 3, "apart": 0.5, "both": 0.25}, "rules": None}


def test_each_system_has_a_row_for_each_part_of_a_dyad() -> None:
    """Words and numbers in the language."""
    first, components, by_stance, *rest = dyads.tables(SYSTEMS, DIFFERENCES, SWAPS, [Precision(0.5, 2, 0.5)], "de")
    assert first.title == "Dyaden: 2 Segmente, 2 Artikel"
    assert first.rows[0] == ("Modell", "wer, wen, Haltung", "0,500", "0,500", "0,500")
    assert first.rows[1] == ("Modell", "wer, Haltung", "1,000", "1,000", "1,000")
    assert [row[0] for row in first.rows] == ["Modell"] * 3 + ["Regeln"] * 3
    assert components.rows == (("Modell", "0,750", "1,000"), ("Regeln", "–", "0,000"))
    assert by_stance.rows == (("threat", "1", "1", "0,000"), ("warning", "1", "1", "1,000"))
    by_probability, difference, swaps = rest
    assert by_probability.rows == (("0,5", "2", "0,500"),)
    assert difference.rows == (("wer, Haltung", "+0,250 [-0,100; 0,600]", "0,200"),)
    assert swaps.rows == (("Modell", "3", "0,500", "0,250"),)


def test_a_single_system_has_no_table_of_differences() -> None:
    """Nor of probabilities and role swaps, where there are none."""
    assert len(dyads.tables({"rules": SYSTEMS["rules"]}, {}, {"rules": None})) == 3


@pytest.mark.parametrize(("language", "label"), [("en", "source, target"), ("de", "wer, wen")])
def test_the_plot_names_systems_and_parts(language: str, label: str) -> None:
    """One bar of each system for each part."""
    figure = dyads.plot(SYSTEMS, "news, test", language)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert label in [text.get_text() for text in axes.get_yticklabels()]
    assert len(axes.patches) == 6


def test_the_data_has_ratios_beside_counts() -> None:
    """So that nobody has to divide."""
    data = dyads.plain(SYSTEMS, DIFFERENCES, SWAPS)
    part = data["systems"]["model"]["parts"]["source, target, stance"]
    assert (part["gold"], part["right"], part["f1"]) == (2, 1, 0.5)
    assert data["systems"]["rules"]["role_swaps"] is None
    assert data["differences"]["source, stance"]["p"] == 0.2
