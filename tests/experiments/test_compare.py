"""Comparisons of runs: which are combined, which are refused, what is reported about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from command_line import run_here, store_in
from haltung import tracking
from haltung.errors import UserError
from haltung.evaluation.comparison import compare
from haltung.evaluation.predictions import ScoredSplit, write_predictions
from haltung.experiments.compare import read
from haltung.tracking import Store
from scored_runs import scored_split

OLD_CONFIG = yaml.safe_load((Path(__file__).parent / "stored_config.yaml").read_text(encoding="utf-8"))
CONFIG = {"model": {"kind": "linear"}, "training": {"epochs": 2}}


@pytest.fixture
def home(new_store: Callable[[Path], Store], tmp_path: Path) -> Path:
    """A folder with an empty store."""
    new_store(tmp_path)
    return tmp_path


def evaluated(
    home: Path, name: str, accuracy: float = 0.8, seed: int = 1, given: ScoredSplit | None = None, config: Mapping[str, object] = CONFIG
) -> None:
    """Store a run with what ``train`` and ``evaluate`` store, but without a model."""
    tags = {"haltung.kind": "train", "haltung.corpus": "news", "haltung.digest.test": "d" * 64}
    with tracking.run(store_in(home), name, tags=tags) as run:
        run.params({**config, "seed": seed})
        run.artifact(write_predictions(home / name / "predictions.parquet", given or scored_split(accuracy, seed)), "evaluation/test")


def test_runs_joined_by_a_plus_are_seeds_of_one_recipe(home: Path) -> None:
    """Their variance is included; the group's name is theirs without the seed."""
    for seed in (1, 2, 3):
        evaluated(home, f"one-{seed}", seed=seed)
    evaluated(home, "other-1", accuracy=0.5, seed=9)
    systems = read(store_in(home), ["one-1+one-2 + one-3", "other-1"])
    assert [(system.name, len(system.runs)) for system in systems] == [("one", 3), ("other-1", 1)]
    assert compare(systems).tasks["stance"].pairs[0].macro_f1.seeds_error > 0


def test_runs_of_two_recipes_are_not_joined(home: Path) -> None:
    """The message names the key in which they differ, and its values."""
    evaluated(home, "one-1")
    evaluated(home, "one-2", seed=2, config={**CONFIG, "training": {"epochs": 4}})
    with pytest.raises(UserError, match=r"differ in training.epochs \(2 and 4\)"):
        read(store_in(home), ["one-1+one-2", "one-1"])
    with pytest.raises(UserError, match="named twice"):
        read(store_in(home), ["one-1+one-1", "one-2"])


def test_each_seed_may_have_an_adapted_encoder_of_its_own(home: Path) -> None:
    """Their folders differ in the seed alone; with another name or key they are two recipes."""
    for name, seed, folder in (
        ("a", 1, "long-1-0a1b2c3d"),
        ("a", 2, "long-2-0a1b2c3d"),
        ("b", 1, "long-1-ffffffff"),
        ("c", 1, "short-1-0a1b2c3d"),
    ):
        evaluated(home, f"{name}-{seed}", seed=seed, config={**CONFIG, "encoder": {"path": f"experiments/runs/{folder}/encoder"}})
    assert [system.name for system in read(store_in(home), ["a-1+a-2", "b-1"])] == ["a", "b-1"]
    for other in ("b-1", "c-1"):
        with pytest.raises(UserError, match=r"differ in encoder.path"):
            read(store_in(home), [f"a-2+{other}", "a-1"])


def test_a_run_of_the_version_before_is_joined_with_one_of_today(home: Path) -> None:
    """Old paths of classes in its config don't matter; a different value still does."""
    today = yaml.safe_load(yaml.safe_dump(OLD_CONFIG).replace("haltung.model.spec", "haltung.models.spec"))
    assert today["model"]["_target_"] != OLD_CONFIG["model"]["_target_"]
    evaluated(home, "a-1", config=OLD_CONFIG)
    evaluated(home, "a-2", seed=2, config=today)
    evaluated(home, "b-1", config={**today, "model": {**today["model"], "C": 1.0}})
    assert [system.name for system in read(store_in(home), ["a-1+a-2", "b-1"])] == ["a", "b-1"]
    with pytest.raises(UserError, match=r"differ in model.C \(10.0 and 1.0\)"):
        read(store_in(home), ["a-1+b-1", "a-2"])


def test_runs_with_other_gold_labels_are_not_compared(home: Path) -> None:
    """Even if their splits have the same digest, as in a store that was tampered with."""
    evaluated(home, "a")
    other = scored_split(0.8, 2)
    evaluated(home, "b", given=replace(other, gold={**other.gold, "stance": (other.gold["stance"] + 1) % 3}))
    with pytest.raises(UserError, match=r"a and b can't be compared: .*gold"):
        compare(read(store_in(home), ["a", "b"]))


def test_multi_label_tasks_are_compared_too(home: Path) -> None:
    """By default, without naming them."""
    evaluated(home, "a", seed=1)
    evaluated(home, "b", accuracy=0.6, seed=2)
    assert list(compare(read(store_in(home), ["a", "b"])).tasks) == ["stance", "themes"]


def test_a_comparison_says_who_knows_the_segments_and_needs_no_files_of_the_corpus(home: Path) -> None:
    """``corpus=jsonl`` is only a name; the corpus is not read."""
    for name, seed in (("a", 1), ("b", 2)):
        evaluated(home, name, seed=seed)
        run = tracking.attach(tracking.find(store_in(home), name))
        run.tags({"haltung.digest.jsonl.test": "d" * 64, f"{tracking.SEEN}.jsonl.test": 16 if name == "a" else 0})
        run.artifact(home / name / "predictions.parquet", "evaluation/jsonl.test")
    done = run_here("compare", "runs=[a,b]", "corpus=jsonl", cwd=home)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "a knows 16 of these 400 segments from its training" in text
    assert "b knows" not in text
    assert "Trained once: a, b." in text


@pytest.mark.slow
def test_cross_validations_of_all_tasks_and_of_some_are_compared(linear_home: Path) -> None:
    """On the tasks that both have learned; the others are named."""
    done = run_here("compare", "runs=[cv-folds-42,part-folds-42]", "split=folds", cwd=linear_home)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "Not compared, since not every system has learned it: topic" in text
    assert "stance" in text.casefold()
