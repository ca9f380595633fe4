"""Plots and tables show the metrics, in both languages."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from matplotlib.figure import Figure

from haltung.evaluation.metrics.classification import evaluate, summary
from haltung.evaluation.metrics.results import EvaluationResult
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report import plots, style, tables
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
    """Return the metrics of a split of one article with certain predictions."""
    ids = tuple(f"s{row}" for row in range(len(gold)))
    probabilities = np.eye(len(scheme.stance))[decided]
    scored = ScoredSplit(ids, ("a",) * len(gold), scheme, {"stance": probabilities}, {"stance": np.array(gold)}, "news", "test")
    return evaluate(scored)


def multi() -> EvaluationResult:
    """Return the metrics of two segments of a multi-label task."""
    values, gold = np.array([[0.9, 0.1], [0.2, 0.7]]), np.array([[1, 0], [1, 1]])
    return evaluate(ScoredSplit(("1", "2"), ("1", "2"), MULTI, {"themes": values}, {"themes": gold}, "multi", "dev"))


def texts_of(figure: Figure) -> list[str]:
    """Return all texts in a figure."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


GOOD = evaluation([0, 0, 2, 2, 2], [0, 2, 2, 2, 0])


def test_a_confusion_matrix_shows_counts_names_and_what_it_is_of() -> None:
    """German names with their support, and the split in the second line of the title."""
    texts = texts_of(plots.confusion(GOOD, SCHEME.stance, "de"))
    assert {"Haltung: Konfusionsmatrix", "news · test · n = 5 · Makro-F1 0,583", "Unterstützung  (2)", "Warnung  (0)"} <= set(texts)
    assert [texts.count(number_) for number_ in ("1", "2")] == [3, 1]


def test_bars_show_f1_and_leave_out_what_is_undefined() -> None:
    """A label that never occurs has a dash instead of 0."""
    texts = texts_of(plots.per_label(GOOD, SCHEME.stance))
    assert {"Stance: F1 per label", "Support  (2)", "0.50", "0.67", "–"} <= set(texts)


def test_learning_curves_mark_the_best_epoch() -> None:
    """It is the best on dev, with its score; tasks have the names of the scheme."""
    assert {"best epoch: 1 (0.500)", "run 7"} <= set(texts_of(plots.curves(HISTORY, "run 7")))
    assert {"beste Epoche: 1 (0,500)", "Lernkurven"} <= set(texts_of(plots.curves(HISTORY, "", "de", SCHEME)))


@pytest.mark.parametrize("history", [[], [{"epoch": 0.1, "loss": 2.0}], HISTORY[2:3]])
def test_a_curve_can_be_drawn_from_its_first_point(history: list[dict[str, float]]) -> None:
    """Also at the very beginning of a training."""
    assert "training loss" in texts_of(plots.curves(history))


def test_a_multi_label_task_has_bars_too() -> None:
    """Names of labels need no escaping."""
    assert "a|b  (2)" in texts_of(plots.per_label(multi(), MULTI.themes))


def test_a_saved_plot_is_the_same_file_each_time(tmp_path: Path) -> None:
    """It contains no date, so that git shows no difference if it is unchanged; no temporary file is
    left.
    """
    paths = [style.save(plots.confusion(GOOD, SCHEME.stance), tmp_path / folder / "plot") for folder in ("a", "b")]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["a/plot.png", "b/plot.png"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert list((tmp_path / "a").iterdir()) == [paths[0]]


def test_evaluation_needs_neither_torch_nor_mlflow(root: Path) -> None:
    """Nor is pyplot imported, which keeps figures in memory."""
    code = (
        "import sys; from haltung.evaluation.report import comparison, page, plots, tables; plots.curves([]); "
        "print([name for name in ('torch', 'mlflow', 'transformers', 'matplotlib.pyplot') if name in sys.modules])"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env={"PYTHONPATH": "src"})
    assert done.stdout.strip() == "[]"


def printed(*parts: object) -> str:
    """Return the output of rich on a narrow terminal without colours."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    console.print(*parts)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_headline_table_sets_the_majority_beside_each_figure() -> None:
    """The majority's scores are needed to interpret the metrics."""
    grid = tables.headline(GOOD, SCHEME)
    assert grid.title == "news · test: 5 segments, 1 article"
    assert grid.columns == ("task", "macro-F1", "majority", "accuracy", "majority", "log loss", "segments")
    assert grid.rows[0][:5] == ("Stance", "0.583", "0.375", "0.600", "0.600")


def test_articles_are_counted_only_where_segments_have_them() -> None:
    """Comments without articles do not count as articles."""
    assert tables.size(2, 2) == "2 segments"


def test_a_label_table_speaks_german() -> None:
    """Names, headers and decimal commas are German; undefined values are dashes."""
    grid = tables.per_label(GOOD.tasks["stance"], SCHEME.stance, "de")
    assert grid.columns == ("Label", "Präzision", "Trefferquote", "F1", "Anzahl", "vorhergesagt")
    assert grid.rows[:2] == (("Unterstützung", "0,500", "0,500", "0,500", "2", "2"), ("Warnung", "–", "–", "–", "0", "0"))


def test_a_multi_label_table_has_micro_f1() -> None:
    """For a single-label task it would equal accuracy."""
    assert tables.headline(multi(), MULTI).columns[5] == "micro-F1"


def test_markdown_escapes_what_would_break_the_table() -> None:
    """The name of a label may contain a bar."""
    assert tables.per_label(multi().tasks["themes"], MULTI.themes).markdown().splitlines()[:3] == [
        "| label | precision | recall | F1 | support | predicted |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| a\\|b | 1.000 | 0.500 | 0.667 | 2 | 1 |",
    ]


def test_a_table_shows_a_label_in_brackets_as_it_is() -> None:
    """Rich would interpret "[red]" as a colour."""
    assert "[red]" in printed(tables.Grid("t", ("label",), (("[red]",),)).rich())


def test_seeds_are_shown_with_their_spread() -> None:
    """As mean ± sample standard deviation; a single run has no ±."""
    runs = [GOOD, evaluation([0, 0, 2, 2, 2], [0, 0, 2, 2, 2])]
    assert tables.seeds(summary(runs), SCHEME).rows[0][:3] == ("Stance", "0.792 ± 0.295", "0.800 ± 0.283")
    assert tables.seeds(summary([GOOD]), SCHEME, "de").rows[0][1] == "0,583"


def test_warnings_stand_in_a_panel() -> None:
    """A collapsed model has a heavy frame; without warnings there is no panel."""
    collapsed = evaluation([0, 1, 2], [2, 2, 2])
    alarm = printed(tables.warning_panel(collapsed))
    assert "┏" in alarm
    assert "every one of 3 segments is predicted 'neutral'" in " ".join(alarm.split())
    assert tables.warning_panel(GOOD) is None


def test_warnings_name_labels_that_are_missed_or_made_up() -> None:
    """In both languages, with their counts."""
    missed = evaluation([0, 1, 2], [0, 2, 2])
    assert tables.warnings(missed.tasks.values()) == ["stance: never predicted though in gold: warning (1)"]
    assert tables.warnings(missed.tasks.values(), "de") == ["stance: nie vorhergesagt, obwohl im Gold vorhanden: warning (1)"]
    assert tables.warnings(evaluation([0, 0, 2], [0, 1, 2]).tasks.values())[0].startswith("stance: predicted but not in gold")


def test_all_of_it_is_shown_in_one_call() -> None:
    """Warnings come first."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    tables.show(evaluation([0, 1, 2], [2, 2, 2]), SCHEME, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.index("Read this first") < text.index("macro-F1") < text.index("Stance per label")
