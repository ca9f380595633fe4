"""Sweeps: search spaces, killed and repeated trials, the command from search to best recipe."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from command_line import CORPUS, LINEAR, run_here, store_in, write_corpus
from haltung import tracking
from haltung.errors import UserError
from haltung.experiments.sweep import search
from haltung.experiments.sweep.search import Sweep, _refuse_other_config, gain_over_start
from haltung.experiments.sweep.spaces import holds, spaces_of
from haltung.experiments.sweep.trials import Trial, Trials, ended
from haltung.experiments.train import Plan
from haltung.tracking import Store

SPACES = {
    "training.rate": FloatDistribution(0.001, 1.0, log=True),
    "training.batch": CategoricalDistribution((8, 16)),
    "training.epochs": IntDistribution(1, 5),
}


def test_a_list_is_a_choice_and_a_mapping_a_range():
    """Integer bounds make a range of integers; one float makes a range of floats."""
    found = spaces_of({"a": ["none", 1, None, True], "b": {"low": 1, "high": 4}, "c": {"low": 0, "high": 0.5}, "d": {"low": 1e-5, "high": 1e-3, "log": True}})  # fmt: skip  # noqa: E501
    assert found == {
        "a": CategoricalDistribution(("none", 1, None, True)),
        "b": IntDistribution(1, 4),
        "c": FloatDistribution(0.0, 0.5),
        "d": FloatDistribution(1e-5, 1e-3, log=True),
    }
    assert isinstance(found["c"].low, float)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (3, "expected a list of values"),
        ([], "is an empty list"),
        ([8, 8], "a value is given twice"),
        ([[1]], r"has the value \[1\]"),
        ({"low": 1}, "has no high"),
        ({"low": None, "high": 3}, "has no low"),
        ({"low": 1, "hihg": 2}, "'hihg', did you mean 'high'"),
        ({"low": 2, "high": 1}, "low must be below high"),
        ({"low": 0, "high": 1, "log": True}, "begin above 0"),
        ({"low": 1, "high": 4, "log": True, "step": 1}, "can't have a step"),
        ({"low": 1, "high": 4, "step": 9}, "at most 3"),
        ({"low": "1", "high": 4}, "low: '1'; expected a number"),
        ({"low": True, "high": 4}, "low: True; expected a number"),
        ({"low": 1, "high": 4, "log": "yes"}, "expected true or false"),
    ],
)
def test_a_space_of_a_wrong_form_is_refused_with_its_key(space, message):
    """In one sentence."""
    with pytest.raises(UserError, match=f"search: training.x .*{message}"):
        spaces_of({"training.x": space})


def test_an_empty_search_is_refused():
    """It has nothing to try."""
    with pytest.raises(UserError, match="search is empty"):
        spaces_of({})


@pytest.mark.parametrize("startup", [0, 1, 3])
def test_the_first_trial_is_the_recipe_as_it_stands(tmp_path: Path, startup: int):
    """So the best trial is never below it; values that it lacks are drawn, and the next trial
    differs.
    """
    trials = replace(_trials(tmp_path / "s"), startup=startup, start={"training.rate": 0.02, "training.epochs": 3})
    _run(trials, stop_after=2)
    first, second = (trial.values for trial in ended(trials.open()))
    assert (first["training.rate"], first["training.epochs"]) == (0.02, 3)
    assert first["training.batch"] in (8, 16)
    assert second["training.rate"] != 0.02


@pytest.mark.parametrize(
    ("space", "inside", "outside"),
    [
        (CategoricalDistribution((1, "a", None)), (1, "a", None), (True, "b", 2)),
        (IntDistribution(1, 5), (1, 5), (0, 6, 2.0, True, "2", None)),
        (FloatDistribution(0.0, 0.3, step=0.1), (0.0, 0.1, 0.3, 0), (0.15, 0.4, False)),
        (FloatDistribution(1e-5, 1e-3, log=True), (1e-5, 2e-4), (1e-6, 1)),
    ],
)
def test_a_space_knows_which_values_it_has(space, inside, outside):
    """Only integers if its bounds are, and only values on its steps."""
    assert all(holds(space, value) for value in inside)
    assert not any(holds(space, value) for value in outside)


def _run(trials: Trials, stop_after: int = 10_000) -> list[int]:
    """Run trials as a worker does, but without training; stop within trial ``stop_after``, as if
    killed. Return the requeued trials.
    """
    study, requeued = trials.open(), []
    for number in range(stop_after + 1):
        with trials.next(study, requeued.append) as begun:
            if begun is None or number == stop_after:
                break
            study.tell(begun, begun.params["training.rate"])
    return requeued


def _trials(folder: Path, max_trials: int = 8) -> Trials:
    folder.mkdir(exist_ok=True)
    return Trials(folder, SPACES, max_trials, seed=1, startup=3, warmup=1)


def test_a_stopped_sweep_goes_on_as_an_unbroken_one(tmp_path: Path):
    """Only the killed trial is marked and repeated, with the same values; all later trials are the
    same.
    """
    whole, broken = _trials(tmp_path / "whole"), _trials(tmp_path / "broken")
    assert _run(whole) == []
    _run(broken, stop_after=4)
    assert _run(broken) == [4]
    found = ended(broken.open())
    assert [trial.number for trial in found if trial.state == "lost"] == [4]
    finished = [trial for trial in found if trial.state == "finished"]
    assert [trial.values for trial in finished] == [trial.values for trial in ended(whole.open())]
    assert _run(broken) == []


def test_more_trials_go_on_where_a_sweep_has_ended(tmp_path: Path):
    """Earlier trials are kept."""
    _run(_trials(tmp_path / "s", 3))
    before = ended(_trials(tmp_path / "s").open())
    _run(_trials(tmp_path / "s", 5))
    assert (len(before), ended(_trials(tmp_path / "s").open())[:3]) == (3, before)


def test_a_sweep_of_the_version_before_goes_on(tmp_path: Path):
    """Its config has old paths of classes, and old keys of the corpus's reader, which the digest
    covers; neither matters.
    """
    before = OmegaConf.to_container(OmegaConf.load(Path(__file__).parent / "stored_config.yaml"))
    now = json.loads(json.dumps(before).replace("haltung.model.spec", "haltung.models.spec").replace('"max_line_bytes"', '"max_bytes"'))
    assert now != before
    sweep = Sweep("s", _trials(tmp_path / "s"), (), True, now, ())
    _refuse_other_config(sweep, before)
    with pytest.raises(UserError, match=r"started with model.C=10.0, but would continue with model.C=1.0"):
        _refuse_other_config(replace(sweep, config={**now, "model": {**now["model"], "C": 1.0}}), before)


def test_a_trial_that_kills_its_process_each_time_is_given_up(tmp_path: Path):
    """After three deaths; the other trials are still run."""
    trials = _trials(tmp_path / "s", 4)
    for _ in range(3):
        _run(trials, stop_after=0)
    _run(trials)
    found = ended(trials.open())
    assert [trial.why for trial in found if trial.state == "failed"] == ["its process died 3 times"]
    assert sum(trial.state == "finished" for trial in found) == 3


def test_a_running_trial_is_not_requeued(tmp_path: Path):
    """Other workers skip it while its lock is held."""
    trials = _trials(tmp_path / "s")
    study, requeued = trials.open(), []
    with trials.next(study, requeued.append) as first, trials.next(trials.open(), requeued.append) as second:
        assert (first.number, second.number, requeued) == (0, 1, [])
        assert first.params != second.params


SEARCH = """# a small one
training.encoder_rate: {low: 1.0e-3, high: 5.0e-3, log: true}
training.batch_size: [8, 16]
"""


@pytest.fixture
def home(tmp_path: Path, new_store: Callable[[Path], Store]) -> Path:
    """A folder with a corpus, a store, and a user's search."""
    write_corpus(tmp_path, 80)
    new_store(tmp_path)
    write_search(tmp_path, SEARCH)
    return tmp_path


def write_search(folder: Path, text: str) -> None:
    (folder / "mine/search").mkdir(parents=True, exist_ok=True)
    (folder / "mine/search/small.yaml").write_text(f"# own\n{text}\n", encoding="utf-8")


def words(bert: Path, *more: str) -> tuple[str, ...]:
    return (
        "sweep", *CORPUS, "encoder=local", f"encoder.path={bert}", "encoder.head_rate=1e-2", "model.max_length=32", "training.epochs=2",
        "training.precision=fp32", "search=small", "name=s", "startup=1", "--config-dir", "mine", *more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("search", "more", "message"),
    [
        ("training.encoder_rat: [1.0e-3]", (), "there is no key 'training.encoder_rat', did you mean 'training.encoder_rate'?"),
        ("tracking.uri: [a, b]", (), "'tracking.uri' can't be searched"),
        ("corpus.split.seed: [1, 2]", (), "'corpus.split.seed' can't be searched"),
        ("seed: [1, 2]", (), "'seed' can't be searched"),
        ("training.class_weight: [none, rot]", (), "did you mean 'root'?"),
        ("training.batch_size: {low: 8.0, high: 32.0}", (), "expected a whole number"),
        ("model.dropout: {low: 0.0, high: 1.5}", (), "model.dropout is 1.5: input should be less than 1"),
        ("encoder: {low: 1, high: 2}", (), "'encoder' is a group; expected a list of its choices"),
        ("training.epochs: [1, 2]", (), "training.epochs is both given and searched"),
        ("training.batch_size: 8", (), "expected a list of values"),
        (SEARCH, ("trials=0",), "trials is 0"),
        (SEARCH, ("final_seeds=1,1",), "one is given twice"),
        (SEARCH, ("seed=1,2",), "give each key one value"),
    ],
)
def test_a_wrong_search_is_refused_before_anything_is_trained(tmp_path: Path, bert: Path, search: str, more: tuple[str, ...], message: str):
    """In one sentence, which suggests the nearest valid word."""
    write_corpus(tmp_path, 8)
    write_search(tmp_path, search)
    done = run_here(*words(bert, *more), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "experiments").exists()


def find_run(home: Path, name: str):
    return tracking.find(store_in(home), name)


def _trials_of(home: Path) -> list[dict]:
    return json.loads(tracking.artifact(find_run(home, "s"), "sweep/trials.json").read_text(encoding="utf-8"))["trials"]


@pytest.mark.slow
def test_a_sweep_killed_in_its_second_trial_goes_on(home: Path, bert: Path):
    """After SIGKILL, the finished trial is not repeated, the killed one is marked failed and
    repeated, and the best recipe is trained at the end.
    """
    command = [sys.executable, "-m", "haltung", *words(bert, "trials=3", "final_seeds=1,2")]
    with subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("trial 0"):
                while not list((home / "experiments/sweeps/s").glob("s-001-*/checkpoints")):
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                break
    refused = run_here(*command[3:], cwd=home)
    assert refused.returncode == 2
    assert "resume=true continues it" in refused.stderr
    other = run_here(*command[3:], "resume=true", "training.warmup=0.2", cwd=home)
    assert other.returncode == 2
    assert "was started with training.warmup=0.1" in other.stderr
    done = run_here(*command[3:], "resume=true", cwd=home)
    assert done.returncode == 0, done.stderr
    trials = _trials_of(home)
    assert [trial["state"] for trial in trials[:2]] == ["finished", "lost"]
    assert trials[2]["values"] == trials[1]["values"]
    assert sum(trial["state"] in ("finished", "pruned") for trial in trials) == 3
    parent = find_run(home, "s")
    children = tracking.children(parent)
    by_trial = {child.tags["haltung.trial"]: child.status for child in children if "haltung.trial" in child.tags}
    assert len([child for child in children if child.tags.get("haltung.trial") == "0"]) == 1
    assert (parent.status, by_trial["0"], by_trial["1"]) == ("FINISHED", "FINISHED", "FAILED")
    final = next(child for child in children if child.tags["haltung.kind"] == "seeds")
    assert len(tracking.children(final)) == 2
    assert parent.metrics["dev/stance/macro_f1/mean"] == final.metrics["dev/stance/macro_f1/mean"]
    assert tracking.artifact(parent, "sweep/trials.json").is_file()
    assert not any(key.startswith("test") for run in (parent, *children) for key in run.metrics)
    assert not list((home / "experiments/sweeps/s").glob("s-0*"))
    assert "open test:   haltung evaluate run=s-best split=test" in done.stdout
    assert (final.name, final.status) == ("s-best", "FINISHED")
    resumed = run_here(*command[3:], "resume=true", cwd=home)
    assert resumed.returncode == 0, resumed.stderr
    assert len(tracking.children(parent)) == len(children)


@pytest.mark.slow
def test_a_sweep_says_whether_it_has_gained_anything(home: Path, bert: Path):
    """The initial recipe hardly learns, but one trial does; trials store dev predictions, so they
    can be compared.
    """
    # Of the first three trials, one is the recipe, one repeats it, and one has the other rate.
    write_corpus(home, 160)
    write_search(home, "training.head_rate: [1.0e-9, 1.0e-2]")
    recipe = ("encoder.head_rate=1e-9", "encoder.encoder_rate=1e-9", "training.epochs=4", "seed=2")
    done = run_here(*words(bert, *recipe, "startup=3", "trials=3", "final_seeds=1,2"), cwd=home)
    assert done.returncode == 0, done.stderr
    parent = find_run(home, "s")
    content = json.loads(tracking.artifact(parent, "sweep/trials.json").read_text(encoding="utf-8"))
    first, second = content["trials"][0], content["best"]
    assert (content["start"], second["values"]) == (0, {"training.head_rate": 1e-2})
    assert content["gain"]["value"] == pytest.approx(second["score"] - first["score"])
    assert parent.metrics["sweep/gain_p"] == content["gain"]["p"] < 1
    lines = " ".join(done.stdout.split())
    assert f"best trial {second['number']} against trial 0, the recipe as it stands: +0." in lines
    verdict = "better" if content["gain"]["p"] <= 0.05 else "that may be the luck of having tried so many"
    assert re.search(rf"10 articles; that the best of 2 was chosen [^)]*\): {verdict}", lines)
    assert "haltung compare 'runs=[s-best,s-start]'" in lines
    against = re.search(r"against it: +haltung (.*)", done.stdout)
    shown = run_here(*shlex.split(against[1].partition(" seed=")[0]), "--cfg", cwd=home)
    assert shown.returncode == 0, shown.stderr
    assert OmegaConf.create(shown.stdout)["training"]["head_rate"] == 1e-9
    compared = run_here("compare", f"runs=[{second['run']},{first['run']}]", "split=dev", cwd=home)
    assert compared.returncode == 0, compared.stderr


def test_an_unknown_gain_is_explained(tmp_path: Path, new_store: Callable[[Path], Store]):
    """The initial recipe is outside the search space, has failed, is the only trial, or has no
    stored predictions.
    """
    spaces, start = {"a": CategoricalDistribution((1, 2)), "b": CategoricalDistribution((1, 2))}, {"a": 1, "b": 1}
    store = new_store(tmp_path)
    with tracking.run(store, "old") as old:
        pass
    first, second = Trial(0, "finished", start, 0.5, old.id), Trial(1, "finished", {"a": 2, "b": 1}, 0.6, old.id)
    for trials, values, message in [
        ((first, second), {"a": 1}, "the value of b in the recipe as it stands is not in the search"),
        ((replace(first, state="failed"), second), start, "did not finish"),
        ((first, replace(second, state="pruned")), start, r"no trial other than the recipe as it stands \(trial 0\)"),
        ((first, second), start, "trial 0 has no dev predictions"),
    ]:
        with pytest.raises(UserError, match=message):
            gain_over_start(trials, spaces, values, "mean", store)


def test_a_corpus_that_goes_is_no_fault_of_the_trial(home: Path, monkeypatch: pytest.MonkeyPatch):
    """The sweep ends and names what is missing; it can be resumed with the same values later."""
    write_search(home, "model.C: [0.5, 1.0]")
    command = ("sweep", *LINEAR, "search=small", "name=s", "startup=1", "trials=2", "final_seeds=[]", "--config-dir", "mine")
    train_trial, away = search.train_trial, home / "away"

    def without_corpus(plan: Plan, *more):
        (plan.corpus.folder / "train.parquet").rename(away)
        return train_trial(plan, *more)

    monkeypatch.setattr(search, "train_trial", without_corpus)
    done = run_here(*command, cwd=home)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2, "haltung: data/prepared/jsonl/train.parquet is missing; run haltung prepare corpus=jsonl"
    ), done.stderr  # fmt: skip
    monkeypatch.undo()
    away.rename(home / "data/prepared/jsonl/train.parquet")
    resumed = run_here(*command, "resume=true", cwd=home)
    assert resumed.returncode == 0, resumed.stderr
    lost, again, other = _trials_of(home)
    assert [trial["state"] for trial in (lost, again, other)] == ["lost", "finished", "finished"]
    assert lost["values"] == again["values"]


@pytest.mark.slow
def test_two_workers_share_the_trials_of_one_database(home: Path, bert: Path):
    """Each trial is run once, and ``trials`` is not exceeded. Both start at the same time with the
    same command, as in a job array: one begins the sweep, the other waits for it and joins.
    """
    told = words(bert, "trials=4", "final_seeds=[]", "resume=true")
    command = [sys.executable, "-m", "haltung", *told]
    workers = [subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    (stdout,) = (out for out, _ in said if "shows the result" not in out)
    trials = _trials_of(home)
    assert [trial["number"] for trial in trials] == [0, 1, 2, 3]
    assert trials[0]["values"]["training.batch_size"] == 16
    children = tracking.children(find_run(home, "s"))
    assert sorted(child.tags["haltung.trial"] for child in children) == ["0", "1", "2", "3"]
    # The command shown at the end trains the best recipe on the same corpus, with all arguments of
    # the sweep.
    best = max(trials, key=lambda trial: (trial["score"], -trial["number"]))["values"]
    command = re.search(r"train it: +haltung (.*)", stdout)
    shown = OmegaConf.create(run_here(*shlex.split(command[1]), "--cfg", cwd=home).stdout)
    assert {key: shown["training"][key.rpartition(".")[2]] for key in best} == best
    assert (shown["training"]["epochs"], shown["encoder"]["path"], shown["corpus"]["reader"]["path"]) == (2, str(bert), "texts.jsonl")


@pytest.mark.slow
def test_a_trial_that_cannot_win_is_given_up(home: Path, bert: Path):
    """A trial with a useless learning rate is stopped early; its state in Optuna is PRUNED, and
    MLflow has the reason.
    """
    from optuna import load_study
    from optuna.trial import TrialState

    write_search(home, "training.head_rate: [1.0e-2, 1.0e-9]  # a good rate, and one of no use")
    # The good rate comes first, since it is the recipe's. The encoder hardly changes, so only the
    # head can learn, which it does with this seed.
    more = ("encoder.encoder_rate=1e-9", "training.epochs=4", "seed=2", "trials=6", "final_seeds=[]")
    done = run_here(*words(bert, *more), cwd=home)
    assert done.returncode == 0, done.stderr
    trials = load_study(study_name="sweep", storage=f"sqlite:///{home}/experiments/sweeps/s/trials.db").trials
    assert trials[0].params == {"training.head_rate": 1e-2}
    states = {(trial.params["training.head_rate"], trial.state) for trial in trials}
    assert states == {(1e-2, TrialState.COMPLETE), (1e-9, TrialState.PRUNED)}
    hopeless = next(trial for trial in trials if trial.state == TrialState.PRUNED)
    assert max(hopeless.intermediate_values) < max(trials[0].intermediate_values) == 4
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
    assert f"{pruned} pruned" in done.stdout
    parent = find_run(home, "s")
    child = next(run for run in tracking.children(parent) if run.tags["haltung.trial"] == str(hopeless.number))
    assert (child.status, parent.metrics["sweep/pruned"]) == ("KILLED", pruned)
    assert child.tags["haltung.pruned"].endswith("its best dev score was below the median of the trials before")
    assert not list((home / "experiments/sweeps/s").glob("s-0*"))
