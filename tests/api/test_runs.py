"""Trainings, evaluations and comparisons in Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import polars as pl
import pytest

import haltung
from command_line import find_run, run_here, write_corpus

LINEAR = {"corpus.rules.near": 0}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], object]) -> Path:
    """A folder with a small corpus and its scheme."""
    folder = tmp_path_factory.mktemp("runs")
    write_corpus(folder, 320)
    new_store(folder)
    return folder


@pytest.fixture(scope="module")
def first(home: Path) -> haltung.TrainedRun:
    """A linear model, trained by a call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return haltung.train("texts.jsonl", labels="scheme.yaml", model="linear", name="first", settings=LINEAR)


@pytest.fixture
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folder the working directory."""
    monkeypatch.chdir(home)


@pytest.mark.usefixtures("there")
def test_a_training_is_that_of_the_command(first: haltung.TrainedRun, home: Path) -> None:
    """It is found by its name, and has the same metrics as a run of ``haltung train``."""
    assert find_run(home, "first-42").id == first.id  # type: ignore[attr-defined]
    words = ("corpus=jsonl", "corpus.name=texts", "corpus.reader.path=texts.jsonl", "corpus.labels=scheme.yaml", "corpus.rules.near=0")
    assert run_here("train", *words, "model=linear", "name=other", "folds=1", cwd=home).returncode == 0
    other = json.loads(next(home.glob("experiments/runs/other-42-*/dev/evaluation.json")).read_text(encoding="utf-8"))
    assert {task: metrics.macro_f1 for task, metrics in first.result.tasks.items()} == pytest.approx(
        {task: metrics["macro_f1"] for task, metrics in other["tasks"].items()}
    )
    assert "macro-F1" in repr(first)
    assert "<table>" in first._repr_html_()


@pytest.mark.usefixtures("there")
def test_a_trained_model_predicts(first: haltung.TrainedRun) -> None:
    """From the run at once, or later by its name."""
    text = "Chile warnt die Marine in Peru am 3. Mai ."
    assert first.load().predict(text)["stance"] == haltung.load("first-42").predict(text)["stance"] == "warning"


@pytest.mark.usefixtures("there")
def test_runs_are_evaluated_and_compared(first: haltung.TrainedRun) -> None:
    """On dev at once, on test after their evaluation; with a sentence for each pair and task."""
    second = haltung.train("texts.jsonl", labels="scheme.yaml", model="linear", name="second", settings={**LINEAR, "model.kind": "svc"})
    compared = haltung.compare([first, second], split="dev")
    assert len(compared.verdicts) == 2
    assert len(compared.to_frame()) == 2
    assert "first" in repr(compared)
    with pytest.raises(haltung.UserError, match="has no predictions for test"):
        haltung.compare([first, "second-42"])
    for run in (first, second.id):
        (done,) = haltung.evaluate(run, output="reports", settings={"error_analysis": False})
        assert (done.report / "report.html").is_file()
        assert done.result.split == "test"
    assert haltung.compare([first, second.name]).result.split == "test"


@pytest.mark.usefixtures("there")
def test_a_file_with_tabs_is_a_corpus(home: Path) -> None:
    """Its suffix says so; ``newest`` stands for the newest run."""
    pd.read_json(home / "texts.jsonl", lines=True).drop(columns="split").to_csv(home / "texts.tsv", sep="\t", index=False)
    run = haltung.train("texts.tsv", labels="scheme.yaml", model="linear", name="tabs", settings=LINEAR)
    text = "Chile warnt die Marine in Peru am 3. Mai ."
    assert haltung.load("newest").predict(text).probabilities == run.load().predict(text).probabilities


@pytest.mark.usefixtures("there")
def test_a_table_is_a_corpus(home: Path) -> None:
    """Of any library; its columns are those of a file, and equal tables are the same corpus."""
    rows = [json.loads(line) for line in (home / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    # Integers next to a missing value, which pandas turns into floats, which would be refused.
    rows = [{**row, "article": number // 4 if number else None} for number, row in enumerate(rows)]
    run = haltung.train(pd.DataFrame(rows), labels="scheme.yaml", model="linear", name="table", seed=[1, 2], settings=LINEAR)
    assert run.name == "table"
    again = haltung.train(pl.DataFrame(rows), labels="scheme.yaml", model="linear", name="again", settings=LINEAR)
    assert again.result.corpus == run.result.corpus
    (whole,) = Path("data/tables").iterdir()
    haltung.train(datasets.Dataset.from_list(rows[:-1]), labels="scheme.yaml", model="linear", name="shorter", settings=LINEAR)
    (shorter,) = {*Path("data/tables").iterdir()} - {whole}
    assert shorter.read_text(encoding="utf-8").splitlines() == whole.read_text(encoding="utf-8").splitlines()[:-1]
    assert set(run.load().tasks) == {"topic", "stance"}


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    ("corpus", "settings", "message"),
    [
        ("nix.csv", {}, "nix.csv"),
        ("scheme.yaml", {}, "unknown file type"),
        ("diplomacie", {}, "did you mean 'diplomacy'"),
        (3, {}, "the corpus is a number; expected a name, a file, or a DataFrame"),
        ("texts.jsonl", {"folds": 5}, "settings has folds"),
        (pd.DataFrame({"text": ["a", 1], "stance": "support"}), {}, "'text' is a number"),
        ("texts.jsonl", {"training.epoch": 1}, "no key 'training.epoch', did you mean 'training.epochs'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(corpus: object, settings: dict[str, object], message: str) -> None:
    """As on the command line."""
    with pytest.raises(haltung.UserError, match=message):
        haltung.train(corpus, labels="scheme.yaml", settings=settings)
