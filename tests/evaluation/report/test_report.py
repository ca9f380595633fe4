"""The report: complete or absent, on a self-contained page, with predictions to read back."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate, with_intervals
from haltung.evaluation.metrics.results import read
from haltung.evaluation.predictions import ScoredSplit, read_predictions
from haltung.evaluation.report import page as report
from haltung.evaluation.report import style
from haltung.labels import parse

SCHEME = parse(
    {
        "name": "news",
        "tasks": {
            "stance": {
                "de": "Haltung",
                "en": "Stance",
                "labels": {"pro": {"de": "dafür", "en": "for"}, "con": {"de": "dagegen", "en": "against"}},
            },
            "themes": {"kind": "multi", "labels": ["a", "b"]},
        },
    }
)


def scored() -> ScoredSplit:
    """Return four segments: one without stance, one without themes, one without article."""
    return ScoredSplit(
        ids=("1", "2", "3", "4"),
        groups=("x", "x", "y", "\x003"),
        scheme=SCHEME,
        probabilities={"stance": np.array([[0.9, 0.1], [0.3, 0.7], [1 / 3, 2 / 3], [0.6, 0.4]]), "themes": np.array([[0.9, 0.1]] * 4)},
        gold={"stance": np.array([0, 1, -1, 1]), "themes": np.array([[1, 0], [-1, -1], [0, 0], [1, 1]])},
        corpus="news",
        split="test",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A German report with a learning curve."""
    folder = tmp_path_factory.mktemp("reports") / "one"
    history = [{"epoch": 1.0, "loss": 1.0}, {"epoch": 1.0, "dev_stance_macro_f1": 0.5, "dev_score": 0.5}]
    files = report.write(
        folder, evaluate(scored()), scored(), language="de", history=history, title="<b>Lauf & 7", details={"commit": "0a1b2c"}
    )
    assert sorted(files) == sorted(folder.iterdir())
    return folder


class _Page(HTMLParser):
    """Collect the sources and links of a page, and check that its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_each_figure_at_the_head_of_a_task_has_its_interval(tmp_path: Path) -> None:
    """On the tile and in the tables, without a line break between its ends."""
    many, rng = 24, np.random.default_rng(1)
    stance, themes = rng.dirichlet([1.0, 1.0], many), rng.random((many, 2))
    gold = {"stance": rng.integers(0, 2, many), "themes": rng.integers(0, 2, (many, 2))}
    ids = tuple(map(str, range(many)))
    given = ScoredSplit(ids, ids, SCHEME, {"stance": stance, "themes": themes}, gold, "news", "test")
    result = with_intervals(evaluate(given), given)
    report.write(tmp_path / "report", result, given)
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    for task in result.tasks.values():
        for name in ("macro_f1", "accuracy"):
            ends = task.intervals[name]
            shown = f"[{ends.low:.3f},\u00a0{ends.high:.3f}]"
            assert f"<b>{getattr(task, name):.3f}</b><small>{shown}</small>" in page
            assert f"{getattr(task, name):.3f} {shown}" in page
    assert not _Page(page).open


def test_a_report_has_figures_predictions_page_and_plots(folder: Path) -> None:
    """No temporary file is left beside it."""
    assert sorted(path.name for path in folder.iterdir()) == [
        "curves.png",
        "evaluation.json",
        "predictions.parquet",
        "report.html",
        "stance_confusion.png",
        "stance_per_label.png",
        "themes_per_label.png",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


def test_the_page_needs_no_other_file(folder: Path) -> None:
    """All images are embedded, all links point into the page, and all tags are closed."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = _Page(text)
    assert page.open == []
    links = [source for source in page.sources if source.startswith("#")]
    assert [source[:22] for source in page.sources if source not in links] == ["data:image/png;base64,"] * 4
    assert [link for link in links if f'id="{link[1:]}"' not in text] == []


def test_the_page_speaks_the_language_and_escapes_what_it_is_given(folder: Path) -> None:
    """The name of a run may contain any characters."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert '<html lang="de">' in text
    assert "Evaluationsbericht" in text
    assert "dafür" in text
    assert "<h1>&lt;b&gt;Lauf &amp; 7</h1>" in text
    assert "<dt>commit</dt><dd>0a1b2c</dd>" in text


def test_the_page_warns_before_it_shows_figures(folder: Path) -> None:
    """All predictions of themes are the same."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert -1 < text.index("das Modell unterscheidet hier nichts") < text.index("Kennzahlen</h2>")


def test_figures_can_be_computed_again_from_the_predictions(folder: Path) -> None:
    """Exactly, so that later comparisons use the reported metrics."""
    assert evaluate(read_predictions(folder / "predictions.parquet")) == evaluate(scored()) == read(folder / "evaluation.json")


def test_predictions_are_plain_columns(folder: Path) -> None:
    """They can be read with pandas."""
    from pyarrow import parquet

    rows = parquet.read_table(folder / "predictions.parquet").to_pylist()
    assert rows[2] == {
        "id": "3",
        "article": "y",
        "stance_gold": None,
        "stance_predicted": "con",
        "stance_probabilities": {"pro": 1 / 3, "con": 2 / 3},
        "themes_gold": [],
        "themes_predicted": ["a"],
        "themes_probabilities": {"a": 0.9, "b": 0.1},
    }
    assert [row["article"] for row in rows] == ["x", "x", "y", ""]


def test_predictions_come_back_with_articles_and_gaps(folder: Path) -> None:
    """Unlabelled differs from no label; a segment without article is its own group."""
    restored = read_predictions(folder / "predictions.parquet")
    assert (restored.ids, restored.corpus, restored.split, restored.scheme) == (scored().ids, "news", "test", SCHEME)
    assert {name: gold.tolist() for name, gold in restored.gold.items()} == {name: gold.tolist() for name, gold in scored().gold.items()}
    assert len(set(restored.groups)) == 3


def test_a_report_replaces_an_older_one_and_nothing_else(tmp_path: Path) -> None:
    """A folder with other files stays unchanged."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("zwei Jahre Arbeit", encoding="utf-8")
    with pytest.raises(UserError, match="is not empty and has no report"):
        report.write(tmp_path / "mine", evaluate(scored()), scored())
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "zwei Jahre Arbeit"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "evaluation.json").write_text("{}", encoding="utf-8")
    (tmp_path / "old" / "stale.png").touch()
    report.write(tmp_path / "old", evaluate(scored()), scored())
    assert (read(tmp_path / "old" / "evaluation.json"), (tmp_path / "old" / "stale.png").exists()) == (evaluate(scored()), False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "old"]


def test_a_report_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the folder nor a temporary one."""

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(style, "save", full)
    with pytest.raises(OSError, match="disk full"):
        report.write(tmp_path / "new", evaluate(scored()), scored())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_language_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """One sentence lists both languages."""
    with pytest.raises(UserError, match="unknown language 'fr'"):
        report.write(tmp_path / "new", evaluate(scored()), scored(), language="fr")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_predictions_are_refused(tmp_path: Path) -> None:
    """If they are missing, not Parquet, or have other columns."""
    import pyarrow as pa
    from pyarrow import parquet

    with pytest.raises(UserError, match="no such predictions"):
        read_predictions(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("kein Parquet", encoding="utf-8")
    with pytest.raises(UserError, match=r"text\.parquet is not a readable Parquet file"):
        read_predictions(tmp_path / "text.parquet")
    parquet.write_table(pa.table({"id": ["1"]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"other\.parquet has no predictions"):
        read_predictions(tmp_path / "other.parquet")
