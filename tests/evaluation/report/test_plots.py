"""Plots and tables: they say what the figures say, in both languages."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from matplotlib.figure import Figure

from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate, summary
from haltung.evaluation.metrics.results import EvaluationResult
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report import plots, tables
from haltung.evaluation.report.i18n import count, number
from haltung.labels import Scheme, parse

SCHEME = parse(
    {
        "name": "news",
        "tasks": {
            "stance": {
                "de": "Haltung",
                "en": "Stance",
                "labels": {
                    "support": {"de": "Unterstützung", "en": "Support"},
                    "warning": {"de": "Warnung", "en": "Warning"},
                    "neutral": {"de": "Neutral", "en": "Neutral"},
                },
            },
        },
    }
)
MULTI = parse({"name": "multi", "tasks": {"themes": {"kind": "multi", "labels": ["a|b", "c"]}}})

HISTORY = [
    {"epoch": 0.5, "loss": 2.0},
    {"epoch": 1.0, "loss": 1.0},
    {"epoch": 1.0, "dev_stance_macro_f1": 0.5, "dev_score": 0.5},
    {"epoch": 2.0, "loss": 0.5},
    {"epoch": 2.0, "dev_stance_macro_f1": 0.4, "dev_score": 0.4},
]


def evaluation(gold: list[int], decided: list[int], scheme: Scheme = SCHEME) -> EvaluationResult:
    """The figures of a split of one article in which every prediction is sure."""
    ids = tuple(f"s{row}" for row in range(len(gold)))
    probabilities = np.eye(len(scheme.stance))[decided]
    scored = ScoredSplit(ids, ("a",) * len(gold), scheme, {"stance": probabilities}, {"stance": np.array(gold)}, "news", "test")
    return evaluate(scored)


def multi() -> EvaluationResult:
    """Two segments of a multi-label task."""
    values, gold = np.array([[0.9, 0.1], [0.2, 0.7]]), np.array([[1, 0], [1, 1]])
    return evaluate(ScoredSplit(("1", "2"), ("1", "2"), MULTI, {"themes": values}, {"themes": gold}, "multi", "dev"))


def words(figure: Figure) -> list[str]:
    """All text of a figure."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


GOOD = evaluation([0, 0, 2, 2, 2], [0, 2, 2, 2, 0])


def test_a_confusion_matrix_shows_counts_names_and_what_it_is_of() -> None:
    """German names with their support, and the split in the second line of the title."""
    said = words(plots.confusion(GOOD, SCHEME.stance, "de"))
    assert {"Haltung: Konfusionsmatrix", "news · test · n = 5 · Makro-F1 0,583", "Unterstützung  (2)", "Warnung  (0)"} <= set(said)
    assert [said.count(number_) for number_ in ("1", "2")] == [3, 1]


def test_bars_show_f1_and_leave_out_what_cannot_be_told() -> None:
    """A label that never occurs has a dash, not a 0."""
    said = words(plots.per_label(GOOD, SCHEME.stance))
    assert {"Stance: F1 per label", "Support  (2)", "0.50", "0.67", "–"} <= set(said)


def test_a_distribution_shows_gold_beside_predictions() -> None:
    """With both counts written."""
    assert {"2", "3", "0", "gold", "predicted"} <= set(words(plots.distribution(GOOD, SCHEME.stance)))


def test_learning_curves_mark_the_best_epoch() -> None:
    """The one that dev chose, with its score; tasks by the scheme's names."""
    assert {"best epoch: 1 (0.500)", "run 7"} <= set(words(plots.curves(HISTORY, "run 7")))
    assert {"beste Epoche: 1 (0,500)", "Lernkurven"} <= set(words(plots.curves(HISTORY, "", "de", SCHEME)))


@pytest.mark.parametrize("history", [[], [{"epoch": 0.1, "loss": 2.0}], HISTORY[2:3]])
def test_a_curve_can_be_drawn_from_its_first_point(history: list[dict[str, float]]) -> None:
    """A training that has only begun has a plot too."""
    assert "training loss" in words(plots.curves(history))


def test_a_multi_label_task_has_bars_too() -> None:
    """Its labels' names need no escaping."""
    assert "a|b  (2)" in words(plots.per_label(multi(), MULTI.themes))


def test_a_saved_plot_is_the_same_file_each_time(tmp_path: Path) -> None:
    """PNG and SVG hold no date and no random id, so that an unchanged plot makes no difference in git."""
    written = [plots.save(plots.confusion(GOOD, SCHEME.stance), tmp_path / str(turn) / "plot.png", svg=True) for turn in (1, 2)]
    assert [path.name for path in written[0]] == ["plot.png", "plot.svg"]
    assert [path.read_bytes() for path in written[0]] == [path.read_bytes() for path in written[1]]
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["plot.png", "plot.svg"]


def test_evaluation_needs_neither_torch_nor_mlflow(root: Path) -> None:
    """Nor does it start pyplot, whose figures stay in memory for ever."""
    code = (
        "import sys; from haltung.evaluation import comparison, predictions; from haltung.evaluation.report import page, plots, tables; "
        "plots.curves([]); print([name for name in ('torch', 'mlflow', 'transformers', 'matplotlib.pyplot') if name in sys.modules])"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env={"PYTHONPATH": "src"})
    assert done.stdout.strip() == "[]"


def printed(*parts: object) -> str:
    """What rich prints of the parts on a narrow terminal without colours."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    console.print(*parts)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_headline_table_sets_the_majority_beside_each_figure() -> None:
    """A figure means little without it."""
    grid = tables.headline(GOOD, SCHEME)
    assert grid.title == "news · test: 5 segments, 1 article"
    assert grid.columns == ("task", "macro-F1", "majority", "accuracy", "majority", "log loss", "segments")
    assert grid.rows[0][:5] == ("Stance", "0.583", "0.375", "0.600", "0.600")


def test_articles_are_told_only_where_segments_have_them() -> None:
    """Comments that stand alone are no articles."""
    assert tables.size(multi()) == "2 segments"


def test_a_label_table_speaks_german() -> None:
    """Names, heads and decimal commas; a dash where nothing can be divided by."""
    grid = tables.per_label(GOOD.tasks["stance"], SCHEME.stance, "de")
    assert grid.columns == ("Label", "Präzision", "Trefferquote", "F1", "Anzahl", "vorhergesagt")
    assert grid.rows[:2] == (("Unterstützung", "0,500", "0,500", "0,500", "2", "2"), ("Warnung", "–", "–", "–", "0", "0"))


def test_a_multi_label_table_has_micro_f1() -> None:
    """For a single-label task it would only repeat accuracy."""
    assert tables.headline(multi(), MULTI).columns[5] == "micro-F1"


def test_markdown_escapes_what_would_break_the_table() -> None:
    """A label may have a bar in its name."""
    assert tables.per_label(multi().tasks["themes"], MULTI.themes).markdown().splitlines()[:3] == [
        "| label | precision | recall | F1 | support | predicted |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| a\\|b | 1.000 | 0.500 | 0.667 | 2 | 1 |",
    ]


def test_a_table_shows_a_label_in_brackets_as_it_is() -> None:
    """Rich would take "[red]" for a colour."""
    assert "[red]" in printed(tables.Grid("t", ("label",), (("[red]",),)).rich())


def test_seeds_are_shown_with_their_spread() -> None:
    """Mean ± sample standard deviation; a single run has no ±."""
    runs = [GOOD, evaluation([0, 0, 2, 2, 2], [0, 0, 2, 2, 2])]
    assert tables.seeds(summary(runs), SCHEME).rows[0][:3] == ("Stance", "0.792 ± 0.295", "0.800 ± 0.283")
    assert tables.seeds(summary([GOOD]), SCHEME, "de").rows[0][1] == "0,583"


def test_systems_are_set_side_by_side() -> None:
    """For a page that compares a baseline with a model."""
    grid = tables.rivals({"linear": summary([GOOD]), "e5": summary([GOOD, GOOD])}, SCHEME)
    assert grid.rows == (("linear", "0.583", "1"), ("e5", "0.583 ± 0.000", "2"))


def test_warnings_stand_in_a_panel() -> None:
    """A collapsed model is framed heavily; without warnings there is no panel."""
    collapsed = evaluation([0, 1, 2], [2, 2, 2])
    alarm = printed(tables.alarm(collapsed))
    assert "┏" in alarm
    assert "every one of 3 segments is predicted 'neutral'" in " ".join(alarm.split())
    assert tables.alarm(GOOD) is None


def test_warnings_are_told_in_german() -> None:
    """Rebuilt from the figures, not translated."""
    told = tables.told(evaluation([0, 1, 2], [0, 2, 2]), "de")
    assert told == ["stance: nie vorhergesagt, obwohl im Gold vorhanden: warning (1)"]


def test_all_of_it_is_shown_in_one_call() -> None:
    """Warnings first."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    tables.show(evaluation([0, 1, 2], [2, 2, 2]), SCHEME, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.index("Read this first") < text.index("macro-F1") < text.index("Stance per label")


def test_numbers_are_written_as_the_language_has_them() -> None:
    """Decimal comma and thousands' point in German."""
    assert (number(0.5312), number(0.5312, "de"), count(12345), count(12345, "de"), count(3479)) == (
        "0.531",
        "0,531",
        "12,345",
        "12.345",
        "3479",
    )


def test_an_unknown_language_is_refused() -> None:
    """With the two there are."""
    with pytest.raises(UserError, match="unknown language 'fr'; allowed are en, de"):
        tables.headline(GOOD, SCHEME, "fr")
