"""A sweep: trials as nested runs of one parent run, in one process or several; at its end the best recipe, trained on several seeds."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from haltung import tracking
from haltung.experiments import train as runs
from haltung.errors import UserError
from haltung.evaluation.report import plots, study_plots
from haltung.evaluation.metrics.results import EvaluationResult, Summary
from haltung.evaluation.metrics.classification import summary
from haltung.evaluation.statistics.best_of_many import Gain
from haltung.experiments.train import Plan, TrainingOutcome
from haltung.experiments.sweep.gains import gained, start_of
from haltung.experiments.sweep.spaces import Value
from haltung.experiments.sweep.trials import Trial, Trials, ended, importances, scores, twin_of
from haltung.tracking import Run, Store
from haltung.tracking.write import flat

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as Begun

# Where so many trials have failed and none has come to an end, the others won't either.
_ALL_FAIL = 3


class Recipe(Protocol):
    """What a sweep searches over; it is pickled for the workers."""

    def plan(self, values: Mapping[str, Value], name: str, seed: int, resume: bool = False) -> Plan:
        """Return what is to be trained with these values.

        Raises:
            UserError: the config does not take a value.
        """
        ...


@dataclass(frozen=True)
class Sweep:
    """What is searched, and how.

    ``trials`` holds the database, the spaces and the number of trials. ``seed`` is that of every trial's training. ``final_seeds`` are
    those that the best recipe is trained with at the end; none: it is not. ``config`` is tracked, and has to be the same in a resumed
    sweep, except for the keys in ``free``.
    """

    name: str
    trials: Trials
    workers: int
    seed: int
    final_seeds: tuple[int, ...]
    resume: bool
    config: Mapping[str, Any]
    free: tuple[str, ...]
    command: Sequence[str]
    language: str = "en"


@dataclass(frozen=True)
class Found:
    """A finished sweep.

    ``gain`` is what the best of the other trials has over ``start``, the one with the recipe as it stands (below 0 where that is the best
    of all); None where that can't be told, and ``untold`` says why. ``final`` is mean and spread on dev of the best recipe over
    ``final_seeds``; ``outcomes`` are its trainings.
    """

    run: str
    where: str
    trials: tuple[Trial, ...]
    best: Trial
    importance: Mapping[str, float]
    start: Trial | None
    gain: Gain | None
    untold: str
    final: Summary | None
    outcomes: tuple[TrainingOutcome, ...]


def search(sweep: Sweep, recipe: Recipe, store: Store, told: Callable[[Trial], None]) -> Found:
    """Run a sweep to its end, or go on with one that was stopped; the test split is never opened.

    Args:
        sweep: what is searched.
        recipe: makes a training of values.
        store: where runs go.
        told: is called with each trial that has ended; with several workers in the worker's own process, so it is pickled too.

    Raises:
        UserError: the sweep exists and is not to be resumed, its config has changed, another process has it, or no trial has finished.
    """
    from filelock import FileLock, Timeout

    folder = sweep.trials.folder
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".sweep.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"the sweep '{sweep.name}' is being run by another process; give workers=N to run several trials at once") from None
    with lock:
        return _search(sweep, recipe, store, told)


def _search(sweep: Sweep, recipe: Recipe, store: Store, told: Callable[[Trial], None]) -> Found:
    folder = sweep.trials.folder
    state = runs.read_state(folder)
    if state and not sweep.resume:
        raise UserError(f"there is a sweep '{sweep.name}' in {folder}; resume=true goes on with it, name=NAME begins another one")
    corpus = recipe.plan({}, sweep.name, sweep.seed).corpus
    if state:
        _same(sweep, state["config"])
        if state["digest"] != corpus.manifest.digest:
            raise UserError(
                f"the corpus {corpus.name} has changed since the sweep '{sweep.name}' was begun; begin another one with name=NAME"
            )
    tags = {"haltung.kind": "sweep", "haltung.corpus": corpus.name, **tracking.provenance(sweep.command)}
    with tracking.run(store, sweep.name, tags=tags, resume=state.get("run")) as parent:
        study = sweep.trials.open()
        runs.write_state(folder, {"run": parent.id, "where": parent.where, "config": dict(sweep.config), "digest": corpus.manifest.digest})
        parent.params(sweep.config)
        if sweep.workers == 1:
            work(sweep, recipe, store, parent.id, 0, told)
        else:
            _in_processes(sweep, recipe, store, parent.id, told)
        trials = ended(study)
        finished = [trial for trial in trials if trial.state == "finished"]
        if not finished:
            raise UserError(f"no trial of the sweep '{sweep.name}' has come to its end{_why(trials)}; search another space")
        best = max(finished, key=lambda trial: (trial.score or 0.0, -trial.number))
        shares = importances(study, sweep.trials.seed)
        start = start_of(trials, sweep.trials.start)
        gain, untold = _gain(sweep, trials, recipe.plan({}, sweep.name, sweep.seed).training.select, store)
        _log(sweep, parent, trials, best, shares, start, gain)
        plans = [recipe.plan(best.values, f"{sweep.name}-best", seed, sweep.resume) for seed in sweep.final_seeds]
        outcomes = _final(plans, store, parent)
        final = summary([outcome.evaluation for outcome in outcomes]) if outcomes else None
        if final is not None:
            parent.metrics({"dev": runs.mean_and_deviation(final)})
    return Found(parent.id, parent.where, tuple(trials), best, shares, start, gain, untold, final, tuple(outcomes))


def work(sweep: Sweep, recipe: Recipe, store: Store, parent: str, worker: int, told: Callable[[Trial], None]) -> None:
    """Run trials until there are enough.

    Raises:
        UserError: the store can't be reached, or all trials fail.
    """
    study, record = sweep.trials.open(worker), tracking.find(store, parent)

    def buried(number: int) -> None:
        for child in tracking.children(record):
            if child.tags.get("haltung.trial") == str(number) and child.status == "RUNNING":
                tracking.lost(tracking.attach(child), "its process died; the trial is tried again")
        for leftover in sweep.trials.folder.glob(f"{_name(sweep, number)}-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    while True:
        with sweep.trials.next(study, worker, buried) as begun:
            if begun is None:
                return
            _try(sweep, recipe, store, tracking.attach(record), study, begun)
        trials = ended(study)
        told(next(trial for trial in trials if trial.number == begun.number))
        failed = [trial for trial in trials if trial.state == "failed"]
        if len(failed) >= _ALL_FAIL and not any(trial.state == "finished" for trial in trials):
            raise UserError(f"the first {len(failed)} trials have failed{_why(failed)}")


def _try(sweep: Sweep, recipe: Recipe, store: Store, parent: Run, study: Study, begun: Begun) -> None:
    from optuna.trial import TrialState

    twin = twin_of(study, begun)
    if twin is not None:
        begun.set_user_attr("twin", twin.number)
        begun.set_user_attr("run", twin.user_attrs.get("run", ""))
        for epoch, score in twin.intermediate_values.items():
            begun.report(score, epoch)
        pruned = twin.state == TrialState.PRUNED
        study.tell(begun, None if pruned else twin.value, state=twin.state)
        return

    def report(point: Mapping[str, float]) -> None:
        _still_wanted()
        if "dev_score" not in point:
            return
        epoch = round(point["epoch"])
        begun.report(point["dev_score"], epoch)
        # Behind the last epoch there is nothing left to be saved.
        if epoch < plan.training.epochs and begun.should_prune():
            reason = f"after epoch {epoch} its best dev score was below the median of the trials before"
            raise tracking.Pruned(reason)

    try:
        plan = replace(recipe.plan(begun.params, _name(sweep, begun.number), sweep.seed), folder=sweep.trials.folder)
        run, figures = runs.train_trial(plan, store, parent, {"haltung.trial": begun.number}, report)
    except tracking.Pruned:
        study.tell(begun, state=TrialState.PRUNED)
    except (UserError, RuntimeError) as error:
        # Too much memory for a batch size, or a rate at which training diverges: that trial has failed, and the others go on.
        begun.set_user_attr("why", f"{type(error).__name__}: {error}"[:500])
        study.tell(begun, state=TrialState.FAIL)
    else:
        begun.set_user_attr("run", run)
        study.tell(begun, score_of(figures, plan.training.select))


def score_of(figures: EvaluationResult, select: str) -> float:
    """Return what a sweep makes large: macro-F1 on dev of the task ``select``, or its mean over all tasks (``mean``)."""
    macro = {task: values.macro_f1 for task, values in figures.tasks.items()}
    return macro.get(select, sum(macro.values()) / max(1, len(macro)))


def _final(plans: Sequence[Plan], store: Store, parent: Run) -> Sequence[TrainingOutcome]:
    if len(plans) > 1:
        return runs.train_seeds(plans, store, parent=parent).outcomes
    return [runs.train(plan, store, parent) for plan in plans]


def _gain(sweep: Sweep, trials: Sequence[Trial], select: str, store: Store) -> tuple[Gain | None, str]:
    """Return what the best of the other trials has over the recipe as it stands, or None and why it can't be told."""
    try:
        return gained(trials, sweep.trials.spaces, sweep.trials.start, select, store), ""
    except UserError as error:
        return None, str(error)


def _log(
    sweep: Sweep, parent: Run, trials: Sequence[Trial], best: Trial, shares: Mapping[str, float], start: Trial | None, gain: Gain | None
) -> None:
    folder, language = sweep.trials.folder, sweep.language
    before = None if start is None else start.score
    pictures = [study_plots.history(scores(trials, "finished"), scores(trials, "pruned"), sweep.name, language, before)]
    pictures += [study_plots.importance(shares, sweep.name, language)] if shares else []
    for name, picture in zip(("history", "importance"), pictures, strict=False):
        parent.artifact(plots.save(picture, folder / f"{name}.png")[0], "sweep")
    told = {
        "best": asdict(best), "start": start and start.number, "gain": gain and asdict(gain), "importance": dict(shares),
        "trials": [asdict(trial) for trial in trials],
    }  # fmt: skip
    (folder / "trials.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    parent.artifact(folder / "trials.json", "sweep")
    counts = {state: sum(trial.state == state for trial in trials) for state in ("finished", "pruned", "failed", "lost")}
    gains = {} if gain is None else {"gain": gain.value, "gain_p": gain.p}
    parent.metrics({"sweep": {"best_score": best.score, "best_trial": best.number, **counts, **gains}})
    parent.tags({"haltung.best": json.dumps(dict(best.values), ensure_ascii=False), "haltung.best_run": best.run})


def _in_processes(sweep: Sweep, recipe: Recipe, store: Store, parent: str, told: Callable[[Trial], None]) -> None:
    # Several trainings with a thread for each core would be slower than one after the other.
    threads = str(max(1, (os.cpu_count() or 1) // sweep.workers))
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", threads)
    # Spawned, since a forked process would share the database's connection and torch's threads.
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_worker, args=(sweep, recipe, store, parent, worker, told), name=f"worker-{worker}")
        for worker in range(1, sweep.workers + 1)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
    # What a worker that died has left undone, this process does itself.
    if any(process.exitcode for process in processes):
        work(sweep, recipe, store, parent, 0, told)


def _worker(sweep: Sweep, recipe: Recipe, store: Store, parent: str, worker: int, told: Callable[[Trial], None]) -> None:
    # Several progress bars on one terminal are illegible.
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        work(sweep, recipe, store, parent, worker, told)
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        sys.exit(f"haltung: worker {worker}: {error}")


def _still_wanted() -> None:
    """End a worker whose sweep was killed: another one may have begun to resume it."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        sys.exit("haltung: the sweep has gone, so its worker stops; resume=true goes on with it")


def _name(sweep: Sweep, number: int) -> str:
    return f"{sweep.name}-{number:03d}"


def _same(sweep: Sweep, before: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a resumed sweep would mix trials of two different configs."""
    now, then = dict(flat(sweep.config, ".")), dict(flat(before, "."))
    for key in sorted(now.keys() | then.keys()):
        if key.partition(".")[0] not in sweep.free and now.get(key) != then.get(key):
            raise UserError(
                f"the sweep '{sweep.name}' was begun with {key}={then.get(key)}, and is to go on with {key}={now.get(key)}; "
                "resume it with the same words, or begin another one with name=NAME"
            )


def _why(trials: Sequence[Trial]) -> str:
    reasons = [trial.why for trial in trials if trial.why]
    return f" (the last: {reasons[-1]})" if reasons else ""
