"""Which models a run stands for, and what is known from training: in evaluate, compare and the others alike."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

import tiny
from command_line import LINEAR as CORPUS
from command_line import haltung, write_corpus
from haltung import tracking
from haltung.cli import main
from haltung.errors import UserError
from haltung.evaluation.comparison import compare
from haltung.evaluation.predictions import write_predictions
from haltung.experiments import compare as comparison
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.records import Segment
from scored_runs import scored

TRAIN = {"haltung.kind": "train", "haltung.corpus": "news"}


def store(place: Path) -> tracking.Store:
    """The embedded store of a folder."""
    return tracking.Store(uri=f"sqlite:///{place / 'experiments/mlflow.db'}", artifacts=str(place / "experiments/artifacts"))


def trained(place: Path, name: str, parent: tracking.Run | None = None, accuracy: float = 0.8, seed: int = 1, **config: object) -> str:
    """A run as ``train`` and ``evaluate`` leave it, without a model."""
    with tracking.run(store(place), name, parent, {**TRAIN, "haltung.digest.test": "d" * 64}) as run:
        run.params({"model": {"kind": "linear"}, "training": {"epochs": 2}, "seed": seed, **config})
        run.artifact(write_predictions(place / name / "predictions.parquet", scored(accuracy, seed)), "evaluation/test")
    return run.id


def test_seeds_that_were_trained_before_count_in_the_new_group(tmp_path: Path) -> None:
    """They stay parts of the old one, so the new one names its seeds."""
    with tracking.run(store(tmp_path), "three", tags={"haltung.kind": "seeds"}) as three:
        ids = [trained(tmp_path, f"s-{seed}", three, seed=seed) for seed in (1, 2, 3)]
        three.tags({tracking.MEMBERS: " ".join(ids)})
    with tracking.run(store(tmp_path), "four", tags={"haltung.kind": "seeds"}) as four:
        for id in ids:
            tracking.adopt(four, id)
        ids.append(trained(tmp_path, "s-4", four, seed=4))
        four.tags({tracking.MEMBERS: " ".join(ids)})
    found = tracking.members(tracking.find(store(tmp_path), "four"))
    assert [record.name for record in found] == ["s-1", "s-2", "s-3", "s-4"]
    assert [record.name for record in tracking.children(tracking.find(store(tmp_path), "four"))] == ["s-4"]


def test_a_group_of_an_older_version_is_its_children(tmp_path: Path) -> None:
    """It has no list of ids."""
    with tracking.run(store(tmp_path), "old", tags={"haltung.kind": "seeds"}) as old:
        for seed in (1, 2):
            trained(tmp_path, f"s-{seed}", old, seed=seed)
    assert [record.name for record in tracking.members(tracking.find(store(tmp_path), "old"))] == ["s-1", "s-2"]


def test_a_group_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    """One that was stopped after its first seed, and one whose seed was deleted; what is left is named."""
    with suppress(KeyboardInterrupt), tracking.run(store(tmp_path), "stopped", tags={"haltung.kind": "seeds"}) as stopped:
        stopped.tags({tracking.MEMBERS: trained(tmp_path, "s-1", stopped)})
        raise KeyboardInterrupt
    with pytest.raises(UserError, match=r"stopped before all of its seeds were trained \(it is KILLED\).*resume=true.*: s-1 \("):
        tracking.members(tracking.find(store(tmp_path), "stopped"))
    with tracking.run(store(tmp_path), "bereft", tags={"haltung.kind": "seeds"}) as bereft:
        ids = [trained(tmp_path, f"b-{seed}", bereft, seed=seed) for seed in (1, 2)]
        bereft.tags({tracking.MEMBERS: " ".join(ids)})
    bereft.connection.client.delete_run(ids[0])
    with pytest.raises(UserError, match=r"has lost 1 of its 2 seeds, they were deleted; name those that are left: b-2 \("):
        tracking.members(tracking.find(store(tmp_path), "bereft"))


def test_a_search_stands_for_its_last_models_and_says_so_where_there_are_none(tmp_path: Path) -> None:
    """Its trials keep no model."""
    with tracking.run(store(tmp_path), "search", tags={"haltung.kind": "sweep"}) as search:
        with tracking.run(store(tmp_path), "trial", search, {"haltung.kind": "trial"}):
            pass
        with tracking.run(store(tmp_path), "best", search, {"haltung.kind": "seeds"}) as best:
            for seed in (1, 2):
                trained(tmp_path, f"s-{seed}", best, seed=seed)
    assert [record.name for record in tracking.members(tracking.find(store(tmp_path), "search"))] == ["s-1", "s-2"]
    group = tracking.group(tracking.find(store(tmp_path), "search"))
    assert group is not None
    assert group.name == "best"
    with tracking.run(store(tmp_path), "bare", tags={"haltung.kind": "sweep"}):
        pass
    assert tracking.group(tracking.find(store(tmp_path), "bare")) is None
    with pytest.raises(UserError, match="is a sweep that has kept no model of its best recipe"):
        tracking.members(tracking.find(store(tmp_path), "bare"))


def test_runs_joined_by_a_plus_are_seeds_of_one_recipe(tmp_path: Path) -> None:
    """Their spread counts; the group is called as they are without the seed."""
    for seed in (1, 2, 3):
        trained(tmp_path, f"one-{seed}", seed=seed)
    trained(tmp_path, "other-1", accuracy=0.5, seed=9)
    systems = comparison.read(store(tmp_path), ["one-1+one-2 + one-3", "other-1"])
    assert [(system.name, len(system.runs)) for system in systems] == [("one", 3), ("other-1", 1)]
    assert compare(systems).tasks["stance"].pairs[0].macro_f1.seeds_error > 0


def test_runs_of_two_recipes_are_not_joined(tmp_path: Path) -> None:
    """Told is in what they differ."""
    trained(tmp_path, "one-1")
    trained(tmp_path, "one-2", seed=2, training={"epochs": 4})
    with pytest.raises(UserError, match=r"no seeds of one recipe: they differ in training.epochs \(2 and 4\); name them apart"):
        comparison.read(store(tmp_path), ["one-1+one-2", "one-1"])
    with pytest.raises(UserError, match="named twice"):
        comparison.read(store(tmp_path), ["one-1+one-1", "one-2"])


def test_multi_label_tasks_are_compared_too(tmp_path: Path) -> None:
    """Nobody has to ask for them."""
    trained(tmp_path, "a", seed=1)
    trained(tmp_path, "b", accuracy=0.6, seed=2)
    assert list(compare(comparison.read(store(tmp_path), ["a", "b"])).tasks) == ["stance", "themes"]


def test_a_comparison_says_who_knows_the_segments_and_wants_no_files_of_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``corpus=jsonl`` is a name here; nothing of it is read."""
    for name, seed in (("a", 1), ("b", 2)):
        trained(tmp_path, name, seed=seed)
        run = tracking.attach(tracking.find(store(tmp_path), name))
        run.tags({"haltung.digest.jsonl.test": "d" * 64, f"{tracking.SEEN}.jsonl.test": 16 if name == "a" else 0})
        run.artifact(tmp_path / name / "predictions.parquet", "evaluation/jsonl.test")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "runs=[a,b]", "corpus=jsonl"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a knows 16 of these 400 segments from its training" in said
    assert "b knows" not in said
    assert "Trained once: a, b." in said


def test_known_segments_are_found_whatever_their_spaces_and_capitals(tmp_path: Path) -> None:
    """Towards another target a text is another one; a bundle without a list says nothing."""
    segments = [Segment("1", "Die USA  warnen."), Segment("2", "Moskau droht.", target="Kiew")]
    assert bundle.known_segments(tmp_path, segments) is None
    model = fit(tiny.segments(40), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    bundle.save(model, tmp_path / "member", learned_from=segments)
    others = [Segment("a", "die usa warnen."), Segment("b", "Moskau droht.", target="Wien"), Segment("c", "Moskau droht.", target="kiew")]
    assert bundle.known_segments(tmp_path, others) == ["a", "c"]
    assert "usa" not in (tmp_path / "member" / bundle.LEARNED).read_text().casefold()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, three folds of it, a learning curve, and three seeds of which one was added later."""
    folder = tmp_path_factory.mktemp("members")
    write_corpus(folder, 240)  # fifteen articles to test on: below ten there is no interval
    for words in (
        ("name=plain", "seed=1,2"),
        ("name=plain", "seed=1,2,3", "resume=true"),
        ("name=cv", "folds=3"),
        ("name=part", "folds=3", "corpus.tasks=[stance]"),
        ("name=lc", "shares=[0.5,1]", "seed=1"),
    ):
        done = haltung("train", *CORPUS, *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_seeds_added_later_are_evaluated_with_the_old_ones(home: Path) -> None:
    """Three are said, and three are counted; their mean has an interval."""
    newest = tracking.members(tracking.find(store(home), _newest(home, "plain")))
    assert [record.name for record in newest] == ["plain-1", "plain-2", "plain-3"]
    done = haltung("evaluate", f"run={_newest(home, 'plain')}", "error_analysis=false", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "3 runs" in done.stdout
    record = tracking.find(store(home), _newest(home, "plain"))
    summary = json.loads(tracking.artifact(record, "evaluation/jsonl.test/summary.json").read_text(encoding="utf-8"))
    figures = summary["tasks"]["stance"]["macro_f1"]
    assert figures["interval"]["low"] <= figures["mean"] <= figures["interval"]["high"]


def _newest(home: Path, name: str) -> str:
    from haltung.tracking.read import _candidates
    from haltung.tracking.store import open_store

    found = _candidates(open_store(store(home), create=False), name)
    return max(found, key=lambda run: run.info.start_time).info.run_id


@pytest.mark.slow
def test_a_fold_is_evaluated_on_its_own_split_and_leaves_the_corpus_alone(home: Path) -> None:
    """The corpus as it was prepared for other trainings stays as it is."""
    before = (home / "data/prepared/jsonl/test.parquet").read_bytes()
    done = haltung("evaluate", "run=cv-fold-2-42", "error_analysis=false", cwd=home)
    assert done.returncode == 0, done.stderr
    assert (home / "data/prepared/jsonl/test.parquet").read_bytes() == before


@pytest.mark.slow
def test_a_model_is_not_scored_on_what_it_has_learned_from_unawares(home: Path) -> None:
    """Refused, and with seen=allow told in run and comparison."""
    words = ("evaluate", "run=cv-fold-1-42", *CORPUS[:4], "error_analysis=false")
    refused = haltung(*words, cwd=home)
    assert refused.returncode == 2, refused.stdout
    assert "segments of the test split of 'jsonl' (the first: '" in refused.stderr
    assert "are among those that cv-fold-1-42 has learned from or was chosen on" in refused.stderr
    allowed = haltung(*words, "seen=allow", cwd=home)
    assert allowed.returncode == 0, allowed.stderr
    assert "note: " in allowed.stderr
    assert int(tracking.find(store(home), "cv-fold-1-42").tags[f"{tracking.SEEN}.test"]) > 0
    dev = haltung(*words, "split=dev", cwd=home)
    assert (dev.returncode, dev.stderr) == (0, "")


@pytest.mark.slow
def test_a_learning_curve_is_no_group_of_seeds(home: Path) -> None:
    """Its runs learned from different shares, so their mean would mean nothing."""
    for words in (("evaluate", "run=lc-curve"), ("compare", "runs=[lc-curve,cv-fold-1-42]")):
        done = haltung(*words, cwd=home)
        assert done.returncode == 2, done.stdout
        assert "lc-curve is a learning curve, and its runs have learned from different shares of the train split" in done.stderr
        assert "lc-0.5-1" in done.stderr


@pytest.mark.slow
def test_cross_validations_of_all_tasks_and_of_some_are_compared(home: Path) -> None:
    """On the tasks that both know."""
    done = haltung("compare", "runs=[cv-folds-42,part-folds-42]", "split=folds", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "Not compared, since not every system has learned it: topic" in " ".join(done.stdout.split())


def test_the_tiny_scheme_has_the_tasks_that_these_tests_name() -> None:
    """Else the one above would say nothing."""
    assert set(tiny.scheme().names) >= {"topic", "stance"}
