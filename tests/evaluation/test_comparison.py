"""Comparing runs: the verdict, the tables, the page, and what is refused, including the command."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from haltung import tracking
from haltung.cli import main
from haltung.errors import UserError
from haltung.evaluation.comparison import BETTER, OPEN, WORSE, Comparison, System, compare
from haltung.evaluation.metrics.classification import evaluate, with_intervals
from haltung.evaluation.predictions import ScoredSplit, write_predictions
from haltung.evaluation.report import comparison as tables
from haltung.evaluation.report import plots
from haltung.experiments import compare as comparison
from scored_runs import OTHER_SCHEME, SCHEME, scored_split

GOOD = System("good", (scored_split(0.85, 1),), ("1" * 32,))
LIKE = System("like", (scored_split(0.84, 2),), ("2" * 32,))
POOR = System("poor_one", tuple(scored_split(value, 10 + n) for n, value in enumerate((0.55, 0.6, 0.58))), ("3" * 32, "4" * 32, "5" * 32))


@pytest.fixture(scope="module")
def found() -> Comparison:
    """Three systems on one task, one of them with three seeds."""
    return compare([GOOD, LIKE, POOR], ["stance"])


def test_each_pair_has_a_verdict(found: Comparison) -> None:
    """In the order in which the systems are given."""
    pairs = found.tasks["stance"].pairs
    assert [(pair.first, pair.second, pair.verdict) for pair in pairs] == [
        ("good", "like", OPEN),
        ("good", "poor_one", BETTER),
        ("like", "poor_one", BETTER),
    ]
    assert compare([POOR, GOOD]).tasks["stance"].pairs[0].verdict == WORSE


def test_an_open_verdict_says_how_many_articles_it_would_take(found: Comparison) -> None:
    """In both languages; the other verdicts are one word."""
    pair = found.tasks["stance"].pairs[0]
    assert pair.needed is not None
    assert tables.verdict(pair, found).startswith("not distinguishable with these data (it would take about ")
    assert "Artikel)" in tables.verdict(pair, found, "de")
    assert tables.verdict(found.tasks["stance"].pairs[1], found) == "better"
    assert tables.sentence(found.tasks["stance"].pairs[1], found).startswith("good is better than poor_one (macro-F1 +0.")


def test_the_leaderboard_has_the_best_first_with_spread_over_seeds(found: Comparison) -> None:
    """A single run has no spread."""
    grid = tables.leaderboard(found, "stance", SCHEME)
    assert [row[0] for row in grid.rows][-1] == "poor_one"
    assert [row[2] == "–" for row in grid.rows] == [True, True, False]
    assert [row[4] for row in grid.rows] == ["1", "1", "3"]
    assert grid.title == "Stance · news · test: 400 segments, 40 articles"


def test_a_single_run_has_the_interval_that_evaluate_gave_it(found: Comparison) -> None:
    """Two different intervals for the same metric would be confusing."""
    interval = with_intervals(evaluate(GOOD.runs[0]), GOOD.runs[0]).tasks["stance"].intervals["macro_f1"]
    row = next(row for row in found.tasks["stance"].standings if row.system == "good")
    assert (row.macro_f1.low, row.macro_f1.high) == (interval.low, interval.high)


def test_holm_can_be_left_out() -> None:
    """Then p is that of the test."""
    plain, corrected = compare([GOOD, LIKE, POOR], correction="none"), compare([GOOD, LIKE, POOR])
    assert all(pair.corrected == pair.macro_f1.p for pair in plain.tasks["stance"].pairs)
    assert any(pair.corrected > pair.macro_f1.p for pair in corrected.tasks["stance"].pairs)
    assert "p Holm" not in tables.pairs(plain, "stance", SCHEME).columns


def test_all_tasks_are_compared_unless_one_is_named() -> None:
    """Including multi-label tasks."""
    assert list(compare([GOOD, POOR]).tasks) == ["stance", "themes"]
    assert list(compare([GOOD, POOR], ["themes"]).tasks) == ["themes"]
    with pytest.raises(UserError, match="unknown task 'stanc', did you mean 'stance'"):
        compare([GOOD, POOR], ["stanc"])


def test_other_segments_gold_or_scheme_are_refused_by_name() -> None:
    """Comparisons require the same segments, labels and schemes."""
    other = System("other", (scored_split(0.8, 3, articles=41),))
    with pytest.raises(UserError, match="good and other can't be compared: their predictions are for different segments"):
        compare([GOOD, other])
    relabelled = System("new", (dataclasses.replace(scored_split(0.8), scheme=OTHER_SCHEME),))
    with pytest.raises(UserError, match="good and new can't be compared: their label schemes differ"):
        compare([GOOD, relabelled])
    with pytest.raises(UserError, match="1 system to compare"):
        compare([GOOD])
    with pytest.raises(UserError, match="two systems are called 'good'"):
        compare([GOOD, GOOD])
    few = [System(name, (scored_split(0.8, n, articles=4),)) for n, name in enumerate("ab")]
    with pytest.raises(UserError, match="labelled in 4 articles; at least 5"):
        compare(few)


@pytest.mark.parametrize("label", [-1, 1])
def test_other_gold_labels_of_the_same_segments_are_refused(label: int) -> None:
    """A single segment with another gold label, or without one, in another system or seed."""
    same = scored_split(0.8, 3)
    gold = same.gold["stance"].copy()
    gold[np.flatnonzero(gold == 0)[0]] = label
    changed = dataclasses.replace(same, gold={**same.gold, "stance": gold})
    for runs in ((changed,), (same, changed)):
        with pytest.raises(UserError, match=r"good and other can't be compared: .* gold labels"):
            compare([GOOD, System("other", runs)])


def test_systems_with_other_tasks_are_compared_on_those_they_share() -> None:
    """This shows whether a second task improves the first; with other labels, or no common task,
    systems can't be compared.
    """
    alone = System("alone", (scored_split(0.7, 5).only(["stance"]),))
    found = compare([GOOD, alone])
    assert (list(found.tasks), found.unshared) == (["stance"], ("themes",))
    assert (
        found.tasks["stance"].pairs[0].macro_f1
        == compare([GOOD, System("alone", (scored_split(0.7, 5),))]).tasks["stance"].pairs[0].macro_f1
    )
    assert any("not every system has learned it: themes" in note for note in tables.notes(found))
    assert compare([alone, GOOD]).tasks["stance"].pairs[0].verdict == WORSE
    with pytest.raises(UserError, match="unknown task 'themes'"):
        compare([GOOD, alone], ["themes"])
    relabelled = System("new", (dataclasses.replace(scored_split(0.8), scheme=OTHER_SCHEME).only(["stance"]),))
    with pytest.raises(UserError, match="good and new can't be compared: their label schemes differ"):
        compare([GOOD, relabelled])
    themes = System("themes", (scored_split(0.8).only(["themes"]),))
    with pytest.raises(UserError, match="alone and themes can't be compared: their label schemes differ"):
        compare([alone, themes])


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_folder_holds_page_tables_and_plot(found: Comparison, tmp_path: Path) -> None:
    """The page is self-contained, in the given language, and starts with the verdict."""
    files = tables.write(tmp_path / "out", found, SCHEME, "de", {"command": "haltung <compare>"})
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    text = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri" in text
    page = _Page(text)
    pictures = [source[:22] for source in page.sources if not source.startswith("#term-")]
    assert (page.open, pictures) == ([], ["data:image/png;base64,"])
    assert '<html lang="de">' in text
    assert "haltung &lt;compare&gt;" in text
    assert -1 < text.index("good ist besser als poor_one") < text.index("Rangliste")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["tasks"]["stance"]["n"] == 400


def test_a_comparison_replaces_an_older_one_and_nothing_else(found: Comparison, tmp_path: Path) -> None:
    """A folder with other files stays unchanged."""
    tables.write(tmp_path / "out", found, SCHEME)
    tables.write(tmp_path / "out", found, SCHEME)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(UserError, match="is not empty and has no comparison"):
        tables.write(tmp_path / "mine", found, SCHEME)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_csv_is_for_machines(found: Comparison, tmp_path: Path) -> None:
    """Full precision, decimal points, empty cells for missing values, integers without a point."""
    tables.write(tmp_path / "out", found, SCHEME)
    rows, pairs = (
        list(csv.DictReader((tmp_path / "out" / name).read_text(encoding="utf-8").splitlines()))
        for name in ("leaderboard.csv", "pairs.csv")
    )
    assert float(pairs[1]["macro_f1_difference"]) == found.tasks["stance"].pairs[1].macro_f1.value
    assert pairs[1]["verdict"] == "better"
    assert [row["articles_needed"] for row in pairs] == [str(pair.needed) for pair in found.tasks["stance"].pairs]
    assert {(row["system"], row["runs"]) for row in rows} == {("good", "1"), ("like", "1"), ("poor_one", "3")}
    assert list(rows[0]) == [
        "task", "system", "runs", "macro_f1", "macro_f1_low", "macro_f1_high", "macro_f1_sd", "accuracy", "accuracy_low", "accuracy_high",
        "accuracy_sd", "segments", "articles",
    ]  # fmt: skip
    assert list(pairs[0]) == [
        "task", "first", "second", "macro_f1_difference", "low", "high", "p", "p_corrected", "p_randomisation", "accuracy_difference",
        "accuracy_low", "accuracy_high", "verdict", "articles_needed",
    ]  # fmt: skip


def test_a_name_in_csv_is_no_formula(tmp_path: Path) -> None:
    """A spreadsheet would compute it; numbers stay numbers."""
    found = compare([dataclasses.replace(POOR, name="=1+1"), GOOD], ["stance"])
    tables.write(tmp_path / "out", found, SCHEME)
    (pair,) = csv.DictReader((tmp_path / "out" / "pairs.csv").read_text(encoding="utf-8").splitlines())
    assert (pair["first"], float(pair["macro_f1_difference"]) < 0) == ("'=1+1", True)


def test_latex_has_the_rules_of_booktabs_and_escapes_names(found: Comparison) -> None:
    """An underscore would break LaTeX; every row has as many cells as the table has columns."""
    text = tables.latex(found, SCHEME)
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    assert r"poor\_one" in text
    assert "poor_one" not in text
    assert r"$\Delta$ macro-F1" in text
    assert all(letter.isascii() or letter in "·–" for letter in text)
    board = text.split(r"\end{table}")[0]
    assert {line.count("&") for line in board.splitlines() if line.endswith(r"\\")} == {4}


def test_latex_takes_no_name_for_a_command() -> None:
    """Nor a bracket at the start of a row for an option of the preceding line break."""
    text = tables.latex(compare([dataclasses.replace(POOR, name='[a] {%}\\ "b"'), GOOD], ["stance"]), SCHEME)
    assert r"\\" + "\n" + r"{}[a] \{\%\}\textbackslash{} \textquotedbl{}b\textquotedbl{} & 0.5" in text
    assert "{%\n" in text
    assert re.search(r"0\.5\d\d \[0\.\d{3},~0\.\d{3}\]", text)


def test_markdown_has_all_tables_and_how_to_read_them(found: Comparison) -> None:
    """It names the test that the verdict rests on."""
    text = tables.markdown(found, SCHEME)
    assert text.count("| --- |") == 2
    assert "Verdicts rest on macro-F1 alone" in text


def test_a_forest_plot_names_each_pair(found: Comparison) -> None:
    """With the difference beside it."""
    from matplotlib.text import Text

    figure = plots.forest(found, "stance", SCHEME, "de")
    figure.draw_without_rendering()
    output = {text.get_text() for text in figure.findobj(Text)}
    assert "good\ngegen poor_one" in output
    assert f"+{found.tasks['stance'].pairs[1].macro_f1.value:.3f}".replace(".", ",") in output


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], tracking.Store]) -> Path:
    """A folder with MLflow runs as left by ``train`` and ``evaluate``, but without models."""
    folder = tmp_path_factory.mktemp("home")
    store = new_store(folder)
    _run(store, folder, "good", scored_split(0.85, 1))
    _run(store, folder, "like", scored_split(0.84, 2))
    _run(store, folder, "unevaluated", None)
    _run(store, folder, "elsewhere", scored_split(0.8, 3), digest="f" * 64)
    _run(store, folder, "foreign", scored_split(0.8, 3), digest="e" * 64, corpus="wire")
    with tracking.run(store, "poor", tags={"haltung.kind": "seeds", "haltung.corpus": "news"}) as parent:
        for n, value in enumerate((0.55, 0.6, 0.58)):
            _run(store, folder, f"poor-{n}", scored_split(value, 10 + n), parent=parent)
    with tracking.run(store, "going", tags={"haltung.kind": "train", "haltung.corpus": "news"}) as going:
        pass
    going.connection.client.update_run(going.id, status="RUNNING")
    return folder


def _store(folder: Path) -> tracking.Store:
    return tracking.Store(uri=f"sqlite:///{folder / 'experiments/mlflow.db'}", artifacts=str(folder / "experiments/artifacts"))


def _run(
    store: tracking.Store, folder: Path, name: str, given: ScoredSplit | None, digest: str = "d" * 64, corpus: str = "news",
    parent: tracking.Run | None = None,
) -> None:  # fmt: skip
    with tracking.run(
        store, name, parent, {"haltung.kind": "train", "haltung.corpus": corpus, "haltung.split_digest.dev": "c" * 64}
    ) as run:
        run.artifact(write_predictions(folder / name / "predictions.parquet", scored_split(0.7, 5, split="dev")), "dev")
        if given is not None:
            run.tags({"haltung.digest.test": digest})
            run.artifact(write_predictions(folder / name / "predictions.parquet", given), "evaluation/test")


def test_a_parent_run_stands_for_its_seeds(home: Path) -> None:
    """A single run represents itself; the stored predictions are read."""
    systems = comparison.read(_store(home), ["poor", "good"])
    assert [(system.name, len(system.runs), len(system.ids)) for system in systems] == [("poor", 3, 3), ("good", 1, 1)]
    np.testing.assert_array_equal(systems[1].runs[0].probabilities["stance"], scored_split(0.85, 1).probabilities["stance"])


def test_dev_predictions_of_the_training_are_found(home: Path) -> None:
    """No evaluation on dev is needed."""
    assert comparison.read(_store(home), ["good", "unevaluated"], split="dev")[1].runs[0].split == "dev"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["good"], "1 run to compare; name two or more"),
        ([], "0 runs to compare"),
        (["good", "good"], "the run good .* is named twice; name different runs"),
        (["poor", "poor-1"], "the run poor-1 .* is named twice, as a part of poor"),
        (["poor-1", "poor"], "the run poor-1 .* is named twice, as a part of poor"),
        (["good", "goood"], "there is no run 'goood'.*did you mean 'good'"),
        (["good", "going"], "the run going .* is still running"),
        (["good", "unevaluated"], "the run unevaluated .* has no predictions for test; run haltung evaluate run=.* split=test"),
        (
            ["good", "elsewhere"],
            r"good and elsewhere can't be compared: their test splits differ \(digests dddddddddddd and ffffffffffff\)",
        ),
        (["good", "foreign"], "they were trained on news and wire; name the corpus to compare on, as in corpus=news"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(home: Path, names: list[str], message: str) -> None:
    """One sentence says what to do."""
    with pytest.raises(UserError, match=message):
        comparison.read(_store(home), names)


def test_a_missing_evaluation_on_another_corpus_is_told_with_its_command(home: Path) -> None:
    """The command can be copied as it is."""
    with pytest.raises(UserError, match=r"has no predictions for wire\.test; run haltung evaluate run=\w{8} split=test corpus=wire"):
        comparison.read(_store(home), ["good", "foreign"], corpus="wire")


def test_folds_want_cross_validations(home: Path) -> None:
    """Out-of-fold predictions are for another split than those of a single training."""
    with pytest.raises(UserError, match="is not a cross-validation"):
        comparison.read(_store(home), ["good", "like"], split="folds")


def test_the_command_prints_writes_and_tracks(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Leaderboard and verdicts are printed, the page is written to a folder, and a run of kind
    compare is logged in MLflow.
    """
    monkeypatch.chdir(home)
    assert main(["compare", "runs=[good,like,poor]", "output=out"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "good is better than poor" in output
    assert "good and like: not distinguishable with these data" in output
    assert (home / "out" / "comparison.html").is_file()
    record = tracking.find(_store(home), "compare-good-like-poor")
    assert record.tags["haltung.kind"] == "compare"
    assert record.metrics["stance/good - poor/value"] > 0.2
    assert (tracking.artifact(record, "comparison") / "comparison.html").is_file()


def test_without_a_folder_the_page_is_in_the_run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The output says where it is; ``track=false`` prints the same and stores nothing."""
    monkeypatch.chdir(home)
    assert main(["compare", "runs=[poor,like]"]) == 0
    output = capsys.readouterr().out.splitlines()
    page = Path(output[-1].removeprefix("page:").strip())
    (id,) = (line.split()[1] for line in output if line.startswith("run "))
    assert "poor" in page.read_text(encoding="utf-8")
    assert page == tracking.artifact(tracking.find(_store(home), id), "comparison") / "comparison.html"
    assert main(["compare", "runs=[poor,like]", "track=false"]) == 0
    assert capsys.readouterr().out.splitlines() == output[:-2]
    assert tracking.find(_store(home), "compare-poor-like").id == id


def test_ids_are_never_taken_for_numbers(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """9e88 is the prefix of an id, not 9 with 88 zeros; brackets may be omitted."""
    monkeypatch.chdir(home)
    assert main(["compare", "runs=9e88,12345678"]) == 2
    assert "there is no run '9e88'" in capsys.readouterr().err
    assert main(["compare", "runs=[good,poor]", "correction=holms"]) == 2
    assert "correction is 'holms', did you mean 'holm'?; choose from holm, none" in capsys.readouterr().err


def test_references_in_a_corpus_config_have_no_effect(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until 0.2.0 they were published results; configs that still have them can be read."""
    monkeypatch.chdir(home)
    (home / "mine/corpus").mkdir(parents=True)
    (home / "mine/corpus/news.yaml").write_text("name: news\nreferences:\n  - {system: M-BERT, macro_f1: 0.768}\n", encoding="utf-8")
    assert main(["compare", "runs=[good,poor]", "corpus=news", "--config-dir", "mine", "track=false"]) == 0
    assert "M-BERT" not in capsys.readouterr().out


def test_references_are_no_part_of_a_recipe() -> None:
    """Otherwise seeds from before 0.2.0, whose stored config has them, would have another one."""
    today = {"corpus": {"name": "xstance", "max_length": 160}}
    before = {"corpus": {**today["corpus"], "references": [{"system": "M-BERT", "macro_f1": 0.768}]}}
    assert comparison.recipe_of(before) == comparison.recipe_of(today)
