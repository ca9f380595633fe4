"""Small corpora: cross-validation, then training on all rows; calibration if data suffices."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

import tiny
from command_line import LINEAR, run_here, store_in, write_corpus
from haltung import tracking
from haltung.corpus.split import KFold
from haltung.evaluation.comparison import System, compare
from haltung.evaluation.metrics.calibration import MIN_SEGMENTS, measure
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit, read_predictions
from haltung.evaluation.report import comparison as report
from haltung.evaluation.report import tables
from haltung.models.predictor import Calibration
from haltung.training.calibration import calibration_for
from scored_runs import scored_split


def _too_sure(count: int) -> ScoredSplit:
    """Return overconfident predictions: about 70 % accuracy with a probability of 0.96."""
    rng, scheme = np.random.default_rng(1), tiny.scheme().only(["stance"])
    gold = rng.integers(0, 3, count)
    likeliest = np.where(rng.random(count) < 0.7, gold, (gold + 1) % 3)
    probabilities = np.full((count, 3), 0.02) + 0.94 * np.eye(3)[likeliest]
    return ScoredSplit(
        tuple(map(str, range(count))), tuple(f"\0{n}" for n in range(count)), scheme, {"stance": probabilities}, {"stance": gold}
    )


def test_few_segments_get_neither_temperature_nor_thresholds() -> None:
    """However wrong their probabilities are, since a few segments are too few to estimate it."""
    assert calibration_for(_too_sure(MIN_SEGMENTS - 1)) == Calibration()
    found = calibration_for(_too_sure(MIN_SEGMENTS))
    assert found.temperatures["stance"] > 1.3
    assert set(found.thresholds) == {"stance"}


@pytest.mark.parametrize(("language", "word"), [("en", "No temperature"), ("de", "weder Temperatur")])
def test_a_report_says_why_there_is_no_temperature_and_that_no_article_is_named(language: str, word: str) -> None:
    """In both languages; the table has no temperature."""
    few = _too_sure(MIN_SEGMENTS - 1)
    result, calibration = evaluate(few), measure(few)
    told = tables.cautions(result, calibration, language)
    assert [word in told[1], str(MIN_SEGMENTS) in told[1], f"{MIN_SEGMENTS - 1}" in told[0]] == [True, True, True]
    assert tables.calibration(calibration, few.scheme, language).rows[0][1] == "–"
    assert json.loads(result.to_json())["lone"] == MIN_SEGMENTS - 1
    named = dataclasses.replace(few, groups=tuple(f"a{n // 3}" for n in range(len(few))))
    assert tables.cautions(evaluate(named), measure(few, {"stance": 1.2}), language) == []


def test_fold_0_holds_out_nothing() -> None:
    """All segments are train, in their order."""
    corpus = tiny.segments(20, articles=5)
    assert KFold(5, 0).split(corpus, tiny.scheme()) == {"train": tuple(corpus), "dev": (), "test": ()}


@pytest.mark.parametrize("count", [4, 5, 6, 7, 9, 10, 12, 20])
def test_each_fold_of_few_articles_has_all_three_parts(count: int) -> None:
    """Down to four articles in two folds."""
    corpus, folds = tiny.segments(4 * count, articles=count), min(5, count // 2)
    for fold in range(1, folds + 1):
        assert all(KFold(folds, fold).split(corpus, tiny.scheme()).values()), f"fold {fold} of {folds}"


def test_no_seeds_are_advised_for_a_model_without_randomness() -> None:
    """Only the model with randomness gets the note that it was trained once."""
    systems = [System("linear", (scored_split(0.85, 1),), fixed=True), System("network", (scored_split(0.7, 2),))]
    (note,) = [note for note in report.notes(compare(systems)) if note.startswith("Trained once")]
    assert "network" in note
    assert "linear" not in note
    fixed = [dataclasses.replace(system, fixed=True) for system in systems]
    assert not any("Trained once" in note for note in report.notes(compare(fixed)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("folds=1", "final=true"), "final=true trains on all the rows that folds hold out in turn; give folds=5 as well"),
        (("corpus.split.seed=3", "final=true"), "give folds=5 as well"),
        (("folds=0",), "folds is 0"),
    ],
)
def test_a_model_of_all_rows_needs_folds(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    """It is refused in one sentence, before anything is trained."""
    write_corpus(tmp_path, 24)
    done = run_here("train", *LINEAR, *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "experiments").exists()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: object) -> Path:
    """A folder with a corpus of five articles and a training with default folds."""
    folder = tmp_path_factory.mktemp("small")
    write_corpus(folder, 20)
    new_store(folder)  # type: ignore[operator]
    done = run_here("train", *LINEAR, "name=few", cwd=folder)
    assert done.returncode == 0, done.stderr
    why = "cross-validation by article in 2 folds, since 5 articles (fewer than 100) are too few for one held-out split"
    assert done.stdout.startswith(f"{why}; folds=1 trains on one split instead\n")
    assert "trained on all rows: run" in done.stdout
    assert ",OTHER]'" in done.stdout
    return folder


@pytest.mark.slow
def test_a_small_corpus_is_held_out_in_turn_and_then_trained_on_as_a_whole(home: Path) -> None:
    """The model of all rows has learned from each, and its metrics are the out-of-fold ones."""
    store = store_in(home)
    parent, final = tracking.find(store, "few-folds-42"), tracking.find(store, "few-42")
    assert [record.name for record in tracking.members(parent)] == ["few-42"]
    assert final.metrics["folds/stance_macro_f1"] == parent.metrics["folds/stance_macro_f1"]
    assert not any(key.startswith(("dev/", "test/")) for key in final.metrics)
    held_out = read_predictions(tracking.artifact(final, "evaluation/folds/predictions.parquet"))
    learned = (tracking.bundle_folder(final) / "learned.txt").read_text(encoding="ascii").split()
    assert len(learned) == len(held_out) == 20
    given = {row["id"]: row["text"] for row in map(json.loads, (home / "texts.jsonl").read_text(encoding="utf-8").splitlines())}
    on_disk = [*(home / "experiments/runs").rglob("folds/predictions.parquet")]
    assert len(on_disk) == 2
    for path in on_disk:
        assert {row["id"]: row["text"] for row in parquet.read_table(path).to_pylist()} == given
    for record in (parent, final):
        assert "text" not in parquet.read_schema(tracking.artifact(record, "evaluation/folds/predictions.parquet")).names
    page = tracking.artifact(final, "evaluation/folds/report.html").read_text(encoding="utf-8")
    assert "These figures are out-of-fold" in page
    assert "No temperature and no thresholds were fitted" in page


@pytest.mark.slow
def test_the_model_of_all_rows_is_found_compared_and_exported(home: Path) -> None:
    """It is found by the name of either run; its own corpus has no rows left to score it on."""
    answers = [run_here("predict", f"run={run}", "text=Chile warnt die Marine .", cwd=home) for run in ("few-42", "few-folds-42")]
    assert [done.returncode for done in answers] == [0, 0]
    assert answers[0].stdout == answers[1].stdout
    refused = run_here("evaluate", "run=few-42", cwd=home)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "few-42 was trained on all rows of jsonl" in refused.stderr
    other = run_here("train", *LINEAR, "name=other", "folds=2", "final=true", "model.C=0.1", cwd=home)
    assert other.returncode == 0, other.stderr
    compared = run_here("compare", "runs=[few-42,other-42]", cwd=home)
    assert compared.returncode == 0, compared.stderr
    assert "Trained once" not in compared.stdout
    mixed = run_here("ensemble", "members=[few-42,other-42]", cwd=home)
    assert (mixed.returncode, mixed.stderr.count("\n")) == (2, 1)
    assert "few-42 was trained on all rows, so no dev split is left" in mixed.stderr
    text = run_here("report", "run=few-42", cwd=home).stdout
    assert "2-fold cross-validation" in text
    assert "The model itself was then trained on all segments." in text
    assert "minus *other-42*" in text
    exported = run_here("export", "run=few-folds-42", "to=model", cwd=home)
    assert exported.returncode == 0, exported.stderr
    assert "this macro-F1 is on rows that the model was trained on" in exported.stdout
    card = (home / "model" / "README.md").read_text(encoding="utf-8")
    assert "**Out-of-fold**" in card
    figures = json.loads((home / "model" / "haltung.json").read_text(encoding="utf-8"))["reference"]
    assert figures["split"] == "folds"
    assert figures["macro_f1"]["stance"] == tracking.find(store_in(home), "few-42").metrics["folds/stance_macro_f1"]
