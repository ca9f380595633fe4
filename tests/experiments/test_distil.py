"""Distillation on the command line: training a student, the record of its teacher in run and
bundle, and teachers that are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny
from command_line import CORPUS, find_run, recipe, run_here, store_in, write_corpus
from haltung.corpus.store import load
from haltung.encoders.load import Encoder
from haltung.errors import UserError
from haltung.experiments.compare import recipe_of
from haltung.experiments.evaluate import TrainedModel, teacher_of
from haltung.experiments.train import Plan
from haltung.labels import parse
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.tracking import Store
from haltung.training.recipe import Training

# Linear models, since their training takes a second.
TEACHERS = ("train", *CORPUS, "model=linear", "model.min_count=1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], Store]) -> Path:
    """A folder with a trained teacher, and two seeds of another one."""
    folder = tmp_path_factory.mktemp("distil")
    write_corpus(folder)
    new_store(folder)
    for words in (("name=teacher",), ("name=pair", "seed=1,2")):
        done = run_here(*TEACHERS, *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_student_has_half_the_layers_and_names_its_teacher(home: Path, deep_bert: Path) -> None:
    """Run and bundle name the teacher; resuming the finished training does nothing."""
    words = recipe(deep_bert, "experiment=distil", "teacher=teacher-42", "name=student", "training.epochs=1")
    done = run_here(*words, cwd=home)
    assert done.returncode == 0, done.stderr
    run, teacher = (find_run(home, name) for name in ("student-42", "teacher-42"))
    assert run.tags["haltung.teacher"] == teacher.id  # type: ignore[attr-defined]
    assert run.config["teacher"] == "teacher-42"  # type: ignore[attr-defined]
    assert run.params["training.teacher_weight"] == "0.5"  # type: ignore[attr-defined]
    (folder,) = home.glob("experiments/runs/student-42-*/bundle")
    assert bundle.describe(folder)["provenance"]["teacher"] == teacher.id  # type: ignore[attr-defined]
    assert json.loads((folder / "config.json").read_bytes())["num_hidden_layers"] == 6
    assert len(bundle.load(folder).predict(tiny.segments(3))) == 3
    again = run_here(*words, "resume=true", cwd=home)
    assert again.returncode == 0, again.stderr
    assert "this training had already ended" in again.stdout


@pytest.mark.slow
def test_what_the_teacher_answers_is_what_the_student_learns(home: Path, bert: Path) -> None:
    """The first loss is the mean of those on gold labels and on the teacher's probabilities, also
    if two processes share the batches.
    """

    def first_loss(*words: str) -> float:
        name = f"name=loss-{'-'.join(words).replace('=', '-').replace('.', '-')}"
        done = run_here(*recipe(bert, "training.epochs=1", "model.dropout=0", "model.encoder_dropout=0", name, *words), cwd=home)
        assert done.returncode == 0, done.stderr
        run: Any = find_run(home, f"{name.removeprefix('name=')}-42")
        history = run.connection.client.get_metric_history(run.id, "loss")
        return float(min(history, key=lambda point: point.step).value)

    alone, both, taught = first_loss(), first_loss("teacher=teacher-42"), first_loss("teacher=teacher-42", "training.teacher_weight=1")
    assert both == pytest.approx((alone + taught) / 2, abs=1e-3)
    assert abs(alone - taught) > 1e-3
    assert first_loss("teacher=teacher-42", "processes=2") == pytest.approx(both, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("model=linear",), ("teacher=teacher-42", "model=linear", "leave one of the two out")),
        (("model=network", "folds=2"), ("teacher=teacher-42", "folds=")),
        (("model=network", "teacher=pair"), ("teacher=pair names 2 models (pair-1, pair-2)", "haltung ensemble")),
        (("model=network", "teacher=teecher-42"), ("there is no run 'teecher-42'", "did you mean 'teacher-42'")),
        (("model=network", "corpus.tasks=[stance]"), ("the model has the scheme 'tiny'",)),
    ],
)
def test_a_teacher_that_can_not_teach_is_refused(home: Path, words: tuple[str, ...], named: tuple[str, ...]) -> None:
    """In one sentence, before a run starts."""
    before = set((home / "experiments/runs").iterdir())
    done = run_here("train", *CORPUS, "teacher=teacher-42", *words, cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert all(part in done.stderr for part in named), done.stderr
    assert set((home / "experiments/runs").iterdir()) == before


@pytest.mark.slow
def test_a_teacher_that_knows_dev_from_elsewhere_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless allowed; a teacher trained on the same corpus is accepted, one with another scheme is
    not.
    """
    monkeypatch.chdir(home)
    corpus, store = load(home / "data/prepared/jsonl"), store_in(home)
    rows, dev = corpus.segments("train"), corpus.segments("dev")
    model = fit(rows, corpus.scheme, LinearSpec(min_count=1), seed=1)
    known, own, clean = (tmp_path / name for name in ("known", "own", "clean"))
    bundle.save(model, known, {"corpus_digest": "another"}, [*rows, *dev[:3]])
    bundle.save(model, own, {"corpus_digest": corpus.manifest.digest}, [*rows, *dev])
    bundle.save(model, clean, {"corpus_digest": "another"}, rows)
    with pytest.raises(
        UserError, match=r"3 of the \d+ segments of the dev split of 'jsonl' .* its student would know them too; .*seen=allow"
    ):
        teacher_of(str(known), store, corpus)
    assert teacher_of(str(known), store, corpus, allow_seen=True).bundle == known
    assert "note: 3 of the" in capsys.readouterr().err
    assert [teacher_of(str(folder), store, corpus).bundle for folder in (own, clean)] == [own, clean]
    assert len({teacher_of(str(folder), store, corpus).id for folder in (own, clean)}) == 2
    assert capsys.readouterr().err == ""
    other = parse({"name": "other", "tasks": {"mood": {"labels": ["good", "bad"]}}})
    bundle.save(fit([replace(row, labels={"mood": "good"}) for row in rows], other, LinearSpec(min_count=1), seed=1), tmp_path / "other")
    with pytest.raises(UserError, match="the model has the scheme 'other'"):
        teacher_of(str(tmp_path / "other"), store, corpus)


@pytest.mark.slow
def test_each_teacher_has_a_run_directory_of_its_own(home: Path, tmp_path: Path) -> None:
    """And each weight; without a teacher it is ignored, so that older trainings can be resumed."""
    corpus = load(home / "data/prepared/jsonl")
    plan = Plan("tiny", corpus, Encoder("tiny", "embedded"), NetworkSpec(), Training(), 1, {}, (), tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / bundle.DESCRIPTION).write_text(name)
    first, second = (TrainedModel(name, tmp_path / name) for name in ("a", "b"))
    heavy = replace(plan, training=Training(teacher_weight=0.9))
    taught = [plan, replace(plan, teacher=first), replace(plan, teacher=second), replace(heavy, teacher=first)]
    assert len({one.run_directory for one in taught}) == 4
    assert heavy.run_directory == plan.run_directory


def test_a_teacher_is_a_part_of_the_recipe_and_its_weight_alone_is_none() -> None:
    """Students of different teachers have different recipes; runs older than the key do not."""
    before = {"training": {"epochs": 4}}
    now = {"training": {"epochs": 4, "teacher_weight": 0.5}, "teacher": None}
    students = [{**now, "teacher": name} for name in ("first", "second")]
    assert recipe_of(before) == recipe_of(now)
    assert recipe_of(students[0]) != recipe_of(students[1])
    assert recipe_of(students[0]) != recipe_of(now)
    assert recipe_of(students[0]) != recipe_of({**students[0], "training": {"epochs": 4, "teacher_weight": 0.8}})
