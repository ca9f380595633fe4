"""The result of a sweep: best trial, gain over the recipe as it stands, table and plots."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from haltung import tracking
from haltung.errors import UserError, listed
from haltung.evaluation.metrics.classification import TaskMean, mean_over_tasks
from haltung.evaluation.metrics.results import Summary
from haltung.evaluation.predictions import read_predictions
from haltung.evaluation.report import page, plots, style
from haltung.evaluation.report.i18n import number, p_value, word
from haltung.evaluation.report.tables import Grid
from haltung.evaluation.statistics.significance import Gain, gain
from haltung.experiments.sweep.spaces import Space, Value
from haltung.experiments.sweep.trials import STATES, Trial
from haltung.experiments.train import TrainingOutcome
from haltung.tracking import Run, Store


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    ``start`` is the trial with the recipe as it stands. ``gain`` is what the best of the other
    trials has over it (below 0 if none is better); None if it is unknown, and then ``no_gain`` says
    why. ``final`` is mean and spread on dev of the best recipe over the final seeds, ``outcomes``
    are its trainings.
    """

    run: str
    where: str
    trials: tuple[Trial, ...]
    best: Trial
    importance: Mapping[str, float]
    start: Trial | None
    gain: Gain | None = None
    no_gain: str = ""
    final: Summary | None = None
    outcomes: tuple[TrainingOutcome, ...] = ()


def start_of(trials: Sequence[Trial], start: Mapping[str, Value]) -> Trial | None:
    """Return the finished trial with these values, which are those of the recipe as it stands."""
    return next((trial for trial in _first_finished(trials) if dict(trial.values) == dict(start)), None)


def gain_over_start(trials: Sequence[Trial], spaces: Mapping[str, Space], start: Mapping[str, Value], select: str, store: Store) -> Gain:
    """Test the best of the other trials against the recipe as it stands, corrected for the choice.

    ``start`` has the values of the recipe as it stands, as far as the search contains them; the
    task ``select`` chooses by its macro-F1, or the ``mean``. Raises ``UserError`` if the gain is
    unknown; the message says why.
    """
    if outside := [key for key in spaces if key not in start]:
        raise UserError(f"the value that the recipe as it stands has for {listed(outside)} is not in the search; add it to the search")
    first = start_of(trials, start)
    if first is None:
        raise UserError("the trial with the recipe as it stands did not finish")
    others = [trial for trial in _first_finished(trials) if trial.number != first.number]
    if not others:
        raise UserError(f"no trial but the recipe as it stands (trial {first.number}) has finished")
    pruned = sum(trial.state == "pruned" and trial.twin is None for trial in trials)
    counts = _counts(first, select, store)
    return gain(counts.sums, [_counts(trial, select, store).sums for trial in others], counts.macro_f1, pruned)


def log_results(run: Run, folder: Path, name: str, language: str, result: SweepResult) -> None:
    """Write plots and ``trials.json`` into the sweep's folder, and track them with its metrics."""
    trials, best, start, gained = result.trials, result.best, result.start, result.gain
    before = None if start is None else start.score
    scores = {state: [(one.number, one.score) for one in trials if one.state == state and one.score is not None] for state in STATES}
    figures = {"history": plots.sweep_history(scores["finished"], scores["pruned"], name, language, before)}
    if result.importance:
        figures["importance"] = plots.importance(result.importance, name, language)
    for title, figure in figures.items():
        run.artifact(style.save(figure, folder / f"{title}.png"), "sweep")
    content = {
        "best": asdict(best), "start": start and start.number, "gain": gained and asdict(gained), "importance": dict(result.importance),
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
    # One column for all keys, which wraps: a column for each would not fit a terminal.
    rows = tuple((str(trial.number), brief(trial.values, short=True), number(trial.score or 0.0, language)) for trial in best)
    counts = {state: sum(trial.state == state for trial in result.trials) for state in STATES}
    title = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return Grid(title, (word("trial", language), word("recipe", language), word("dev_macro_f1", language)), rows, left=2)


def verdict(result: SweepResult, language: str = "en") -> str:
    """Return a sentence on whether the search has improved on the recipe as it stands."""
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
    """Return values as ``key=value`` words; ``short``: with the last part of each key alone."""

    def text(value: Value) -> str:
        if value is None or isinstance(value, bool):
            return json.dumps(value)
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return " ".join(f"{key.rpartition('.')[2] if short else key}={text(value)}" for key, value in values.items())


def _first_finished(trials: Sequence[Trial]) -> list[Trial]:
    """Return the finished trials without those that have taken over the result of another."""
    return [trial for trial in trials if trial.state == "finished" and trial.twin is None]


def _counts(trial: Trial, select: str, store: Store) -> TaskMean:
    record = tracking.find(store, trial.run)
    try:
        scored = read_predictions(tracking.artifact(record, f"dev/{page.PREDICTIONS}"))
    except UserError:
        raise UserError(f"trial {trial.number} has no dev predictions; an older version ran it, or its files were moved") from None
    labelled = [task.name for task in scored.scheme if scored.labelled(task.name).any()]
    return mean_over_tasks(scored, [select] if select in labelled else labelled)
