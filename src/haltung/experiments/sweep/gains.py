"""What a sweep has gained over the recipe that it began with, told from its trials' predictions of dev."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from haltung import tracking
from haltung.errors import UserError, listed
from haltung.evaluation import outcome
from haltung.evaluation.report import page as report
from haltung.evaluation.statistics.intervals import Articles
from haltung.evaluation.statistics.best_of_many import Gain, articles_by_task, gain
from haltung.experiments.sweep.spaces import Space, Value
from haltung.experiments.sweep.trials import Trial
from haltung.tracking import Store


def start_of(trials: Sequence[Trial], start: Mapping[str, Value]) -> Trial | None:
    """Return the finished trial that is the recipe as it stands; None where there is none."""
    same = (trial for trial in trials if trial.state == "finished" and trial.twin is None and dict(trial.values) == dict(start))
    return next(same, None)


def gained(trials: Sequence[Trial], spaces: Mapping[str, Space], start: Mapping[str, Value], select: str, store: Store) -> Gain:
    """Test the best of the other trials against the recipe as it stands, the choice among them counted in.

    Args:
        trials: all that have ended.
        spaces: what was searched.
        start: the values of the recipe as it stands, of those keys that have one within the search.
        select: the task whose macro-F1 chooses, or ``mean``.
        store: where the trials' runs are.

    Raises:
        UserError: it can't be told; the message says why.
    """
    outside = [key for key in spaces if key not in start]
    if outside:
        raise UserError(f"what the recipe as it stands has for {listed(outside)} is not in the search; let the search hold it")
    first = start_of(trials, start)
    if first is None:
        raise UserError("the trial with the recipe as it stands did not come to its end")
    others = [trial for trial in trials if trial.state == "finished" and trial.twin is None and trial.number != first.number]
    if not others:
        raise UserError(f"no trial but the recipe as it stands (trial {first.number}) has come to its end")
    given_up = sum(trial.state == "pruned" and trial.twin is None for trial in trials)
    return gain(_articles(first, select, store), [_articles(trial, select, store) for trial in others], given_up)


def _articles(trial: Trial, select: str, store: Store) -> list[Articles]:
    record = tracking.find(store, trial.run)
    try:
        scored = outcome.read(tracking.artifact(record, f"dev/{report.PREDICTIONS}"))
    except UserError:
        raise UserError(f"trial {trial.number} has kept no predictions of dev; an older version ran it, or its files were moved") from None
    there = [task.name for task in scored.scheme if scored.labelled(task.name).any()]
    return articles_by_task(scored, [select] if select in there else there)
