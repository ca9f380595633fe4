"""Sweeps: trials as parts of one run, in one or more processes; the best recipe and its gain."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from optuna import Study
from optuna import Trial as OptunaTrial
from optuna.trial import TrialState

from haltung import tracking
from haltung.corpus.store import load
from haltung.errors import UserError, is_full, listed
from haltung.evaluation.metrics.classification import TaskMean, mean_over_tasks
from haltung.evaluation.metrics.results import Summary
from haltung.evaluation.predictions import read_predictions
from haltung.evaluation.report import page
from haltung.evaluation.report.i18n import number, p_value, word
from haltung.evaluation.report.tables import Grid
from haltung.evaluation.statistics.significance import Gain, gain
from haltung.experiments.compare import DIGESTED
from haltung.experiments.sweep.spaces import PlanFactory, Space, Value
from haltung.experiments.sweep.trials import STATES, Trial, Trials, ended
from haltung.experiments.train import TrainingOutcome, train_seeds, train_trial
from haltung.tracking import Run, Store
from haltung.tracking.directory import read_state, write_state

# The keys that may differ between a sweep and its resumption.
FREE = ("trials", "workers", "final_seeds", "resume", "language", "sources", "prepared", "runs", "storage", "sweeps", "tracking", "name")


@dataclass(frozen=True)
class Sweep:
    """What is searched, and how.

    ``trials`` holds the database, the spaces and the number of trials; each is trained with its
    seed, and finally the best recipe with ``final_seeds``. ``config`` is tracked; if resumed, it
    must be the same, except for the keys in ``FREE`` and those of the corpus digest.
    """

    name: str
    trials: Trials
    final_seeds: tuple[int, ...]
    resume: bool
    config: Mapping[str, Any]
    command: Sequence[str]

    def trial_name(self, number: int) -> str:
        """Return the name of a trial's run."""
        return f"{self.name}-{number:03d}"


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    ``start`` is the trial with the unchanged recipe. ``gain`` is the gain of the best other trial
    over it (below 0 if none is better); if it is unknown, it is None and ``no_gain`` says why.
    ``final`` is mean and spread of the best recipe's ``outcomes`` on dev, over the final seeds.
    """

    run: Run
    trials: tuple[Trial, ...]
    best: Trial
    start: Trial | None
    gain: Gain | None
    no_gain: str
    final: Summary | None = None
    outcomes: tuple[TrainingOutcome, ...] = ()


def search(sweep: Sweep, factory: PlanFactory, store: Store, callback: Callable[[Trial], None]) -> SweepResult | None:
    """Run a sweep to its end, or resume one that was stopped; the test split is never opened.

    With ``resume``, a sweep that another process runs is joined, and None is returned. ``callback``
    gets each trial that this process has ended. Raises ``UserError`` if the sweep exists and is not
    to be resumed, its config has changed, or no trial has finished.
    """
    trials, initial = sweep.trials, factory.plan({}, sweep.name, sweep.trials.seed)
    folder, corpus = trials.folder, initial.corpus
    folder.mkdir(parents=True, exist_ok=True)
    study = trials.open()
    with ExitStack() as held:
        is_first, end = held.enter_context(trials.lock("sweep")), time.monotonic() + (600 if sweep.resume else 0)
        # If machines start at once, one of them begins it; if that one fails, another does.
        while not (state := study.user_attrs.get("state", {}) if trials.server else read_state(folder)) and not is_first:
            if time.monotonic() > end:
                break
            time.sleep(1)
            held.close()
            is_first = held.enter_context(trials.lock("sweep"))
        if not is_first and not (sweep.resume and state):
            how = "try again in a moment" if sweep.resume else "resume=true joins it, name=NAME starts another"
            raise UserError(f"the sweep '{sweep.name}' is being run by another process; {how}")
        if state and not sweep.resume:
            raise UserError(f"{trials.server or folder} has a sweep '{sweep.name}'; resume=true continues it, name=NAME starts another")
        if state:
            _refuse_other_config(sweep, state["config"])
        if state and state["digest"] != corpus.manifest.digest:
            raise UserError(f"the corpus {corpus.name} has changed since '{sweep.name}' was started; start another sweep with name=NAME")
        if not is_first:
            work(sweep, factory, store, state["run"], callback)
            return None
        study.set_user_attr("mark", mark := study.user_attrs.get("mark") or str(time.time_ns()))
        tracking.mark_killed(store, mark)
        tags = {"haltung.kind": "sweep", "haltung.corpus": corpus.name, tracking.MARK: mark, **tracking.provenance(sweep.command)}
        with tracking.run(store, sweep.name, tags=tags, resume=state.get("run")) as parent:
            state = {"run": parent.id, "where": parent.where, "config": dict(sweep.config), "digest": corpus.manifest.digest}
            write_state(folder, state)
            study.set_user_attr("state", state)
            parent.params(sweep.config)
            work(sweep, factory, store, parent.id, callback)
            return _result(sweep, factory, store, parent, study, initial.training.select)


def start_of(trials: Sequence[Trial], start: Mapping[str, Value]) -> Trial | None:
    """Return the finished trial with the values ``start`` of the unchanged recipe, or None."""
    return next((trial for trial in trials if trial.state == "finished" and dict(trial.values) == dict(start)), None)


def gain_over_start(trials: Sequence[Trial], spaces: Mapping[str, Space], start: Mapping[str, Value], select: str, store: Store) -> Gain:
    """Test the best of the other trials against the unchanged recipe, corrected for the choice.

    ``start`` has the values of the unchanged recipe that are in the search. ``select`` is the task
    whose macro-F1 is compared, or ``mean``. Raises ``UserError`` if the gain is unknown; the
    message says why.
    """
    if outside := [key for key in spaces if key not in start]:
        raise UserError(f"the value of {listed(outside)} in the recipe as it stands is not in the search; add it to the search")
    if (first := start_of(trials, start)) is None:
        raise UserError("the trial with the recipe as it stands did not finish")
    if not (others := [trial for trial in trials if trial.state == "finished" and trial.number != first.number]):
        raise UserError(f"no trial other than the recipe as it stands (trial {first.number}) has finished")
    pruned = sum(trial.state == "pruned" for trial in trials)
    counts = _counts(first, select, store)
    return gain(counts.sums, [_counts(trial, select, store).sums for trial in others], counts.macro_f1, pruned)


def log_results(run: Run, folder: Path, result: SweepResult) -> None:
    """Write ``trials.json`` into the sweep's folder, and track it with the sweep's metrics."""
    trials, best, start, gained = result.trials, result.best, result.start, result.gain
    content = {
        "best": asdict(best), "start": start and start.number, "gain": gained and asdict(gained),
        "trials": [asdict(trial) for trial in trials],
    }  # fmt: skip
    (folder / "trials.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    run.artifact(folder / "trials.json", "sweep")
    counts = {state: sum(trial.state == state for trial in trials) for state in STATES}
    gains = {} if gained is None else {"gain": gained.value, "gain_p": gained.p}
    run.metrics({"sweep": {"best_score": best.score, "best_trial": best.number, **counts, **gains}})
    run.tags({"haltung.best": json.dumps(dict(best.values), ensure_ascii=False), "haltung.best_run": best.run})


def table(result: SweepResult, language: str = "en") -> Grid:
    """Return a table of the ten best trials."""
    best = sorted((trial for trial in result.trials if trial.state == "finished"), key=lambda trial: -(trial.score or 0.0))[:10]
    # One column for all keys, which wraps: one column per key would not fit a terminal.
    rows = tuple((str(trial.number), brief(trial.values, short=True), number(trial.score or 0.0, language)) for trial in best)
    counts = {state: sum(trial.state == state for trial in result.trials) for state in STATES}
    title = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return Grid(title, (word("trial", language), word("recipe", language), word("dev_macro_f1", language)), rows, left=2)


def verdict(result: SweepResult, language: str = "en") -> str:
    """Return a sentence on whether the search has improved on the unchanged recipe."""
    start, gained = result.start, result.gain
    if start is not None and start.number == result.best.number:
        tried = sum(trial.state in ("finished", "pruned") for trial in result.trials)
        return word("gain_none", language).format(start=start.number, tried=tried)
    if gained is None or start is None:
        return word("gain_unknown", language).format(why=result.no_gain)
    return word("gain", language).format(
        best=result.best.number, start=start.number, value=f"+{number(gained.value, language)}", p=p_value(gained.p, language),
        articles=gained.articles, tried=gained.tried, verdict=word("gain_better" if gained.better else "gain_open", language),
    )  # fmt: skip


def brief(values: Mapping[str, Value], short: bool = False) -> str:
    """Return values as ``key=value`` words; ``short``: only the last part of each key."""

    def text(value: Value) -> str:
        return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)

    return " ".join(f"{key.rpartition('.')[2] if short else key}={text(value)}" for key, value in values.items())


def _result(sweep: Sweep, factory: PlanFactory, store: Store, parent: Run, study: Study, select: str) -> SweepResult:
    """Choose the best trial, compare it with the unchanged recipe, and train its recipe."""
    trials = ended(study)
    if not (finished := [trial for trial in trials if trial.state == "finished"]):
        raise UserError(f"no trial of the sweep '{sweep.name}' has finished{_last_reason(trials)}; search another space")
    best = max(finished, key=lambda trial: (trial.score or 0.0, -trial.number))
    start = start_of(trials, sweep.trials.start)
    gained, why = None, ""
    try:
        gained = gain_over_start(trials, sweep.trials.spaces, sweep.trials.start, select, store)
    except UserError as error:
        why = str(error)
    result = SweepResult(parent, tuple(trials), best, start, gained, why)
    log_results(parent, sweep.trials.folder, result)
    plans = [factory.plan(best.values, f"{sweep.name}-best", seed, sweep.resume) for seed in sweep.final_seeds]
    if not plans:
        return result
    done = train_seeds(plans, store, parent=parent)
    parent.metrics({"dev": done.summary.metrics()})
    return replace(result, final=done.summary, outcomes=done.outcomes)


def work(sweep: Sweep, factory: PlanFactory, store: Store, parent: str, callback: Callable[[Trial], None]) -> None:
    """Run trials until there are enough; raise ``UserError`` if all of them fail."""
    study, record = sweep.trials.open(), tracking.find(store, parent)

    def clean_up(number: int) -> None:
        tracking.mark_killed(store, f"{parent}-{number}", "its process died; the trial is repeated")
        for leftover in sweep.trials.folder.glob(f"{sweep.trial_name(number)}-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    while True:
        with sweep.trials.next(study, clean_up) as begun:
            if begun is not None:
                _run_trial(sweep, factory, store, tracking.attach(record), study, begun)
        if begun is None:
            if not study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                return
            time.sleep(1)  # others run the last ones; if their process dies, they are repeated here
            continue
        trials = ended(study)
        callback(next(trial for trial in trials if trial.number == begun.number))
        failed = [trial for trial in trials if trial.state == "failed"]
        if len(failed) >= 3 and not any(trial.state == "finished" for trial in trials):
            raise UserError(f"the first {len(failed)} trials have failed{_last_reason(failed)}")


def _run_trial(sweep: Sweep, factory: PlanFactory, store: Store, parent: Run, study: Study, begun: OptunaTrial) -> None:
    def report(point: Mapping[str, float]) -> None:
        if "dev_score" not in point:
            return
        epoch = round(point["epoch"])
        begun.report(point["dev_score"], epoch)
        # After the last epoch, pruning would save nothing.
        if epoch < plan.training.epochs and begun.should_prune():
            raise tracking.Pruned(f"after epoch {epoch} its best dev score was below the median of the trials before")

    try:
        plan = replace(factory.plan(begun.params, sweep.trial_name(begun.number), sweep.trials.seed), folder=sweep.trials.folder)
        run, result = train_trial(plan, store, parent, begun.number, report)
    except tracking.Pruned:
        study.tell(begun, state=TrialState.PRUNED)
    except (UserError, RuntimeError) as error:
        # A full disk, or a corpus removed or changed meanwhile, is not the trial's fault.
        if is_full(error) or load(factory.corpus.folder).manifest != factory.corpus.manifest:
            raise
        # Too little memory for a batch size, or a rate at which training diverges.
        begun.set_user_attr("why", f"{type(error).__name__}: {error}"[:500])
        study.tell(begun, state=TrialState.FAIL)
    else:
        begun.set_user_attr("run", run)
        study.tell(begun, plan.training.score({task: metrics.macro_f1 for task, metrics in result.tasks.items()}))


def _refuse_other_config(sweep: Sweep, before: Mapping[str, Any]) -> None:
    now, then = tracking.flat_settings(sweep.config), tracking.flat_settings(before)
    digested = tuple(f"corpus.{key}" for key in DIGESTED)
    for key in sorted(now.keys() | then.keys()):
        if key.partition(".")[0] not in FREE and not key.startswith(digested) and now.get(key) != then.get(key):
            raise UserError(
                f"the sweep '{sweep.name}' was started with {key}={then.get(key)}, but would continue with {key}={now.get(key)}; "
                "resume it with the same arguments, or start another one with name=NAME"
            )


def _last_reason(trials: Sequence[Trial]) -> str:
    reasons = [trial.why for trial in trials if trial.why]
    return f" (the last: {reasons[-1]})" if reasons else ""


def _counts(trial: Trial, select: str, store: Store) -> TaskMean:
    record = tracking.find(store, trial.run)
    try:
        scored = read_predictions(tracking.artifact(record, f"dev/{page.PREDICTIONS}"))
    except UserError:
        raise UserError(f"trial {trial.number} has no dev predictions; an older version ran it, or its files were moved") from None
    labelled = [task.name for task in scored.scheme if scored.labelled(task.name).any()]
    return mean_over_tasks(scored, [select] if select in labelled else labelled)
