"""Compare systems on the same split: metrics of each, and for each pair whether one is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from haltung.errors import UserError, listed, one_of
from haltung.evaluation.metrics.classification import Counts, article_counts, sample_metrics
from haltung.evaluation.metrics.results import HEADLINE, Stored, Summary
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.statistics import significance
from haltung.evaluation.statistics.bootstrap import DRAWS, LEVEL, MIN_ARTICLES, SEED, Interval
from haltung.evaluation.statistics.significance import Estimate, Sampled
from haltung.labels import Task

BETTER, WORSE, OPEN = "better", "worse", "not distinguishable"
_MACRO_F1, _ACCURACY = HEADLINE.index("macro_f1"), HEADLINE.index("accuracy")


@dataclass(frozen=True, eq=False)
class System:
    """The predictions of one run, or of one run per seed; ``seen`` counts the segments used to
    train or select it, and ``fixed`` says that nothing in its training is random.
    """

    name: str
    runs: tuple[ScoredSplit, ...]
    ids: tuple[str, ...] = ()
    seen: int = 0
    fixed: bool = False


@dataclass(frozen=True)
class SystemMetrics:
    """One system's mean metrics over its ``runs``; deviations (n-1) are None for a single run."""

    system: str
    runs: int
    macro_f1: Estimate
    accuracy: Estimate
    macro_f1_deviation: float | None
    accuracy_deviation: float | None


@dataclass(frozen=True)
class SystemPair:
    """The comparison of ``first`` with ``second``; differences are first minus second.

    ``corrected`` is the corrected p-value of the difference in macro-F1. It alone determines the
    ``verdict``: ``first`` is better than, worse than, or not distinguishable from ``second``.
    ``needed`` is the number of articles required (see ``articles_needed``), None if none suffices.
    """

    first: str
    second: str
    macro_f1: Estimate
    accuracy: Estimate
    corrected: float
    randomisation: float
    verdict: str
    needed: int | None


@dataclass(frozen=True)
class TaskComparison:
    """One task on ``n`` segments in ``articles`` articles; ``standings`` has the best first."""

    task: str
    n: int
    articles: int
    standings: tuple[SystemMetrics, ...]
    pairs: tuple[SystemPair, ...]


@dataclass(frozen=True)
class Comparison(Stored):
    """Systems compared on one split.

    ``alone``: each group has a single segment, so "articles" are segments. ``unshared`` tasks are
    not compared because some system has not learned them. ``seen`` maps a system to the number of
    ``segments`` used to train or select it; training of ``fixed`` systems is not random.
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
    segments: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()


def compare(
    systems: Sequence[System], tasks: Sequence[str] = (), correction: str = "holm", draws: int = DRAWS, seed: int = SEED
) -> Comparison:
    """Compare two or more systems on the same segments by macro-F1, separately for each task.

    By default, ``tasks`` are all that have gold labels and that every system has learned. The
    correction is ``holm`` over all pairs of a task, or ``none``. Raises ``UserError`` for fewer
    than two systems, equal names, other segments, gold or schemes, too few articles, or no labels.
    """
    one_of("correction", correction, ("holm", "none"))
    systems, unshared = _shared(systems)
    _check_comparable(systems)
    first = systems[0].runs[0]
    chosen = [first.scheme[name] for name in tasks] or list(first.scheme)
    if not (labelled := [task for task in chosen if first.labelled(task.name).any()]):
        found = f"the {first.split} split of {first.corpus} has no labels for {listed(task.name for task in chosen)}"
        raise UserError(f"nothing to compare: {found}; name another task=, one of {listed(first.scheme.names)}")
    return Comparison(
        corpus=first.corpus, split=first.split, scheme=first.scheme.name, scheme_digest=first.scheme.digest(),
        systems=tuple(system.name for system in systems),
        tasks={task.name: _task(systems, task, correction, draws, seed) for task in labelled},
        correction=correction, level=LEVEL, draws=draws, seed=seed, alone=len(set(first.groups)) == len(first), unshared=unshared,
        segments=len(first), seen={system.name: system.seen for system in systems if system.seen},
        fixed=tuple(system.name for system in systems if system.fixed),
    )  # fmt: skip


def with_intervals_of_means(summary: Summary, runs: Sequence[ScoredSplit]) -> Summary:
    """Return the summary of ``runs`` with intervals for the means of macro-F1 and accuracy.

    They account for articles and seeds; a task labelled in too few articles gets none.
    """
    tasks = {}
    for name, metrics in summary.tasks.items():
        counts = [article_counts(run, run.scheme[name]) for run in runs]
        tasks[name] = dict(metrics)
        if len(counts[0].sums) >= MIN_ARTICLES:
            sample = sample_metrics(counts)
            for index in (_MACRO_F1, _ACCURACY):
                estimate = significance.mean(sample, index)
                tasks[name][HEADLINE[index]] = replace(metrics[HEADLINE[index]], interval=Interval(estimate.low, estimate.high))
    return replace(summary, tasks=tasks)


def _shared(systems: Sequence[System]) -> tuple[Sequence[System], tuple[str, ...]]:
    """Return the systems, reduced to the tasks shared by all, and the names of other tasks."""
    schemes = [run.scheme for system in systems for run in system.runs]
    every = tuple(dict.fromkeys(name for scheme in schemes for name in scheme.names))
    common = [name for name in every if all(name in scheme.names for scheme in schemes)]
    if not common or len(common) == len(every):
        return systems, ()
    cut = [replace(system, runs=tuple(run.only(common) for run in system.runs)) for system in systems]
    return cut, tuple(name for name in every if name not in common)


def _check_comparable(systems: Sequence[System]) -> None:
    if len(systems) < 2:
        raise UserError(f"{len(systems)} system{'' if len(systems) == 1 else 's'} to compare; name two or more, as in runs=[A,B]")
    names = [system.name for system in systems]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"two systems are called '{twice[0]}'; name each run by its id, or give them different names")
    first = systems[0].runs[0]
    for name, run in ((system.name, run) for system in systems for run in system.runs):
        refused = f"{names[0]} and {name} can't be compared: "
        if run.scheme.digest() != first.scheme.digest():
            schemes = (f"'{one.scheme.name}' (digest {one.scheme.digest()})" for one in (first, run))
            raise UserError(f"{refused}their label schemes differ, {' and '.join(schemes)}")
        same_gold = all(np.array_equal(run.gold[name], first.gold[name]) for name in first.scheme.names)
        if (run.ids, run.groups) != (first.ids, first.groups) or not same_gold:
            found = "their predictions are for different segments, articles or gold labels"
            raise UserError(f"{refused}{found}; run haltung evaluate for both on the same split")


def _task(systems: Sequence[System], task: Task, correction: str, draws: int, seed: int) -> TaskComparison:
    counts = [[article_counts(run, task) for run in system.runs] for system in systems]
    if (articles := len(counts[0][0].sums)) < significance.MIN_ARTICLES:
        fewest = significance.MIN_ARTICLES
        raise UserError(f"the task '{task.name}' is labelled in {articles} articles; at least {fewest} are needed to compare systems")
    samples = [sample_metrics(runs, draws, seed) for runs in counts]
    standings = [_metrics(*one, draws, seed) for one in zip(systems, counts, samples, strict=True)]
    order = list(combinations(range(len(systems)), 2))
    differences = [significance.difference(samples[a], samples[b], _MACRO_F1) for a, b in order]
    values = [one.p for one in differences]
    corrected = significance.holm(values) if correction == "holm" else values
    # The rank of each value in Holm's order, from 0.
    ranks = np.argsort(np.argsort(values, kind="stable")).tolist()
    pairs = []
    for index, (a, b) in enumerate(order):
        level = (1 - LEVEL) / (len(order) - ranks[index] if correction == "holm" else 1)
        sums = [np.mean([run.sums for run in counts[side]], axis=0) for side in (a, b)]
        pairs.append(SystemPair(
            first=systems[a].name, second=systems[b].name, macro_f1=differences[index], corrected=corrected[index],
            accuracy=significance.difference(samples[a], samples[b], _ACCURACY),
            randomisation=significance.randomisation(sums[0], sums[1], lambda part: counts[0][0].of(part).macro_f1(), draws, seed),
            verdict=OPEN if corrected[index] > 1 - LEVEL else BETTER if differences[index].value > 0 else WORSE,
            needed=significance.articles_needed(differences[index], articles, level),
        ))  # fmt: skip
    n = int(systems[0].runs[0].labelled(task.name).sum())
    return TaskComparison(task.name, n, articles, tuple(sorted(standings, key=lambda one: -one.macro_f1.value)), tuple(pairs))


def _metrics(system: System, runs: Sequence[Counts], sample: Sampled, draws: int, seed: int) -> SystemMetrics:
    # A single run gets the same interval as in haltung evaluate.
    ends = runs[0].intervals(draws, seed) if len(runs) == 1 else [None] * len(HEADLINE)
    macro_f1, accuracy = (significance.mean(sample, index, ends[index]) for index in (_MACRO_F1, _ACCURACY))
    if len(runs) == 1:
        return SystemMetrics(system.name, 1, macro_f1, accuracy, None, None)
    deviations = sample.values.std(axis=0, ddof=1)
    return SystemMetrics(system.name, len(runs), macro_f1, accuracy, float(deviations[_MACRO_F1]), float(deviations[_ACCURACY]))
