"""Several systems on the same split: where each one stands, and for each pair whether the one is better."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from haltung.errors import UserError, listed, one_of
from haltung.evaluation.comparison.published import Reference
from haltung.evaluation.metrics.results import Interval, Summary
from haltung.evaluation.predictions import Bools, ScoredSplit
from haltung.evaluation.statistics.intervals import DRAWS, LEVEL, SEED, articles_of, intervals_of
from haltung.evaluation.statistics.intervals import FEWEST as INTERVALS_FROM
from haltung.evaluation.statistics.significance import (
    FIGURES,
    Estimate,
    McNemar,
    articles_needed,
    difference,
    holm,
    mcnemar,
    randomisation,
    sampled,
    standing,
)
from haltung.labels import Task

CORRECTIONS = ("holm", "none")

BETTER, WORSE, OPEN = "better", "worse", "not distinguishable"

# Fewer articles than this can't tell systems apart in any way that the tests could be trusted with.
FEWEST = 5


@dataclass(frozen=True, eq=False)
class System:
    """A system: its name, and the predictions of one run, or of several that differ in their seed, with their ids.

    ``seen`` is how many of the segments are known from its training, where it was scored on them all the same.
    """

    name: str
    runs: tuple[ScoredSplit, ...]
    ids: tuple[str, ...] = ()
    seen: int = 0


@dataclass(frozen=True)
class Standing:
    """One system's macro-F1 and accuracy, the mean over its ``runs``; the deviations are over seeds (n-1), None for a single run."""

    system: str
    runs: int
    macro_f1: Estimate
    accuracy: Estimate
    macro_f1_deviation: float | None
    accuracy_deviation: float | None


@dataclass(frozen=True)
class Pair:
    """What can be said of ``first`` against ``second``; differences are first minus second.

    ``corrected`` is the p of macro-F1's difference after the correction, and ``verdict`` rests on it alone: ``first`` is better, worse, or
    not distinguishable from ``second``. ``needed``: how many articles it would take (see ``articles_needed``; None where no number would
    do). ``mcnemar`` is None where a side has several seeds, for it compares two single sets of answers.
    """

    first: str
    second: str
    macro_f1: Estimate
    accuracy: Estimate
    corrected: float
    randomisation: float
    mcnemar: McNemar | None
    verdict: str
    needed: int | None


@dataclass(frozen=True)
class TaskComparison:
    """One task: ``n`` segments in ``articles`` articles, the systems with the best first, and every pair in the order they were named."""

    task: str
    n: int
    articles: int
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Comparison:
    """Systems compared on one split. ``alone``: every segment stands alone, so that "articles" are segments.

    ``unshared`` are the tasks that some system has not learned, so that they are not compared.
    ``references`` are published figures to show beside; ``left_out`` are those that hold for a split of another size. ``seen`` maps a
    system to how many of the ``segments`` it knows from its training, where there are any.
    """

    corpus: str
    split: str
    scheme: str
    scheme_digest: str
    systems: tuple[str, ...]
    tasks: Mapping[str, TaskComparison]
    correction: str
    level: float
    draws: int
    seed: int
    alone: bool
    unshared: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    left_out: tuple[Reference, ...] = ()
    segments: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the comparison as JSON text."""
        data: dict[str, Any] = {"format": 1, **asdict(self)}
        return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def compare(
    systems: Sequence[System], tasks: Sequence[str] = (), correction: str = "holm", draws: int = DRAWS, seed: int = SEED
) -> Comparison:
    """Compare systems by macro-F1, in each task by itself.

    Args:
        systems: two or more, all on the same segments; where one has learned fewer tasks than another, those that all know are compared.
        tasks: by name; none: all that the split is labelled for.
        correction: ``holm`` over all pairs of a task, or ``none``.
        draws: of the bootstrap and of the randomisation.
        seed: of these draws.

    Raises:
        UserError: fewer than two systems, another name twice, other segments, gold labels or scheme, or nothing to compare.
    """
    one_of("correction", correction, CORRECTIONS)
    systems, unshared = _shared(systems)
    _comparable(systems)
    first = systems[0].runs[0]
    chosen = [first.scheme[name] for name in tasks] or list(first.scheme)
    there = [task for task in chosen if first.labelled(task.name).any()]
    if not there:
        raise UserError(
            f"nothing to compare: the {first.split} split of {first.corpus} has no labels for {listed(task.name for task in chosen)}; "
            f"name another task=, one of {listed(first.scheme.names)}"
        )
    return Comparison(
        corpus=first.corpus,
        split=first.split,
        scheme=first.scheme.name,
        scheme_digest=first.scheme.digest(),
        systems=tuple(system.name for system in systems),
        tasks={task.name: _task(systems, task, correction, draws, seed) for task in there},
        correction=correction,
        level=LEVEL,
        draws=draws,
        seed=seed,
        alone=len(set(first.groups)) == len(first),
        unshared=unshared,
        segments=len(first),
        seen={system.name: system.seen for system in systems if system.seen},
    )


def with_standing(summary: Summary, runs: Sequence[ScoredSplit], draws: int = DRAWS, seed: int = SEED) -> Summary:
    """Return the summary with intervals for the means of macro-F1 and accuracy, which count articles and seeds (``significance.standing``).

    A task that is labelled in fewer articles than ``intervals.FEWEST`` gets none.

    Args:
        summary: of these runs.
        runs: predictions of each, of the same segments in the same order.
        draws: of the bootstrap.
        seed: of the draws.
    """
    tasks = {}
    for name, figures in summary.tasks.items():
        sums = [articles_of(run, run.scheme[name]) for run in runs]
        tasks[name] = dict(figures)
        if len(sums[0]) < INTERVALS_FROM:
            continue
        sample = sampled(sums, draws, seed)
        for figure in FIGURES:
            found = standing(sample, figure)
            tasks[name][figure] = replace(figures[figure], interval=Interval(found.low, found.high))
    return replace(summary, tasks=tasks)


def _shared(systems: Sequence[System]) -> tuple[Sequence[System], tuple[str, ...]]:
    """Return the systems with the tasks that all of them have, and the names of the others."""
    schemes = [run.scheme for system in systems for run in system.runs]
    every = tuple(dict.fromkeys(name for scheme in schemes for name in scheme.names))
    common = [name for name in every if all(name in scheme.names for scheme in schemes)]
    if not common or len(common) == len(every):
        return systems, ()
    cut = [replace(system, runs=tuple(run.only(common) for run in system.runs)) for system in systems]
    return cut, tuple(name for name in every if name not in common)


def _comparable(systems: Sequence[System]) -> None:
    if len(systems) < 2:
        raise UserError(f"{len(systems)} system{'' if len(systems) == 1 else 's'} to compare; name two or more, as in runs=[A,B]")
    names = [system.name for system in systems]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two systems are called '{twice}'; name each run by its id, or give them names that differ")
    first = systems[0].runs[0]
    for system in systems:
        for run in system.runs:
            if run.scheme.digest() != first.scheme.digest():
                raise UserError(
                    f"{systems[0].name} and {system.name} can't be compared: their label schemes differ, '{first.scheme.name}' (digest "
                    f"{first.scheme.digest()}) and '{run.scheme.name}' ({run.scheme.digest()})"
                )
            same = run.ids == first.ids and all(np.array_equal(run.gold[name], first.gold[name]) for name in first.scheme.names)
            if not same or run.groups != first.groups:
                raise UserError(
                    f"{systems[0].name} and {system.name} can't be compared: their predictions are for other segments, articles or gold "
                    "labels; run haltung evaluate for both on the same split"
                )


def _task(systems: Sequence[System], task: Task, correction: str, draws: int, seed: int) -> TaskComparison:
    sums = [[articles_of(run, task) for run in system.runs] for system in systems]
    articles = len(sums[0][0])
    rows = systems[0].runs[0].labelled(task.name)
    if articles < FEWEST:
        raise UserError(f"the task '{task.name}' is labelled in {articles} articles; at least {FEWEST} are needed to compare systems")
    samples = [sampled(runs, draws, seed) for runs in sums]
    standings = []
    for system, runs, sample in zip(systems, sums, samples, strict=True):
        ends = intervals_of(runs[0], draws, seed) if len(runs) == 1 else []
        macro_f1, accuracy = (_as_evaluated(standing(sample, figure), ends, place) for figure, place in FIGURES.items())
        deviations = sample.values.std(axis=0, ddof=1).tolist() if len(runs) > 1 else (None, None)
        standings.append(Standing(system.name, len(runs), macro_f1, accuracy, *deviations))
    places = list(combinations(range(len(systems)), 2))
    found = [difference(samples[a], samples[b]) for a, b in places]
    values = [one.p for one in found]
    corrected = holm(values) if correction == "holm" else values
    pairs = []
    for place, (a, b) in enumerate(places):
        level = (1 - LEVEL) / (len(places) - _rank(values, place) if correction == "holm" else 1)
        alone = len(sums[a]) == len(sums[b]) == 1
        pairs.append(
            Pair(
                first=systems[a].name,
                second=systems[b].name,
                macro_f1=found[place],
                accuracy=difference(samples[a], samples[b], "accuracy"),
                corrected=corrected[place],
                randomisation=randomisation(sums[a], sums[b], draws, seed),
                mcnemar=mcnemar(_right(systems[a].runs[0], task), _right(systems[b].runs[0], task)) if alone else None,
                verdict=OPEN if corrected[place] > 1 - LEVEL else BETTER if found[place].value > 0 else WORSE,
                needed=articles_needed(found[place], articles, level),
            )
        )
    standings.sort(key=lambda one: -one.macro_f1.value)
    return TaskComparison(task.name, int(rows.sum()), articles, tuple(standings), tuple(pairs))


def _as_evaluated(found: Estimate, ends: Sequence[Interval | None], place: int) -> Estimate:
    """Give a single run the interval that ``haltung evaluate`` gives it."""
    interval = ends[place] if ends else None
    return replace(found, low=interval.low, high=interval.high) if interval else found


def _right(run: ScoredSplit, task: Task) -> Bools:
    """Return which of the labelled segments a run has wholly right."""
    rows = run.labelled(task.name)
    same = np.asarray(run.gold[task.name][rows] == run.decided(task.name)[rows])
    wholly: Bools = np.logical_and.reduce(same.reshape(len(same), -1), axis=1)
    return wholly


def _rank(values: Sequence[float], place: int) -> int:
    """Return how many of the values come before this one in Holm's order."""
    return sorted(range(len(values)), key=lambda other: values[other]).index(place)
