"""Inter-coder agreement: Krippendorff's alpha, Cohen's and Fleiss' kappa, agreement by label.

All are computed from sums over articles, for the bootstrap. ``krippendorff``, ``statsmodels`` and
scikit-learn give the same values (tested), but the first takes 20 ms for one draw of 1,000
segments, and each label needs 2,000 draws. Sources: Krippendorff, "Content Analysis" (2004), ch.
11; Cohen (Educational and Psychological Measurement 20, 1960); Fleiss (Psychological Bulletin 76,
1971); by label: Cicchetti and Feinstein (Journal of Clinical Epidemiology 43, 1990).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from haltung.corpus.parsing.rows import Reading
from haltung.corpus.parsing.votes import settle
from haltung.errors import UserError
from haltung.evaluation.metrics.results import Stored
from haltung.evaluation.predictions import Bools, Floats
from haltung.evaluation.statistics.bootstrap import Interval, Statistic, bca_intervals, numbered, per_article
from haltung.labels import Scheme, Task
from haltung.records import Answer, label_ids

_PARTS, _SMALLEST = 10, 10  # course of coding: maximum number of parts, minimum segments per part


@dataclass(frozen=True)
class Coefficient:
    """A measure of agreement (None if undefined) and its interval, if any."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class TaskAgreement:
    """Agreement on the ``n`` segments with two or more answers; ``complete`` of them have all.

    ``measures`` are ``percent`` (the share of equal pairs among a segment's pairs of answers,
    averaged with its number of answers as weight), ``alpha``, and ``kappa`` on the complete
    segments: Cohen's for two coders, Fleiss' for more. For a multi-label task they are means over
    its labels, one against the rest. ``labels`` have ``specific`` agreement (the share of the other
    coders who also give a label that one coder gives) and ``alpha`` (against the rest). ``missing``
    answers and ``counts`` of labels are by coder. ``confusion`` is ``[one's label, the other's]``,
    over both orders for more than two coders, and empty for a multi-label task. ``course``, by the
    number of segments coded, has alpha of a ``part`` and of all ``so_far``; empty for ``n`` < 20.
    """

    n: int
    complete: int
    articles: int
    measures: Mapping[str, Coefficient]
    labels: Mapping[str, Mapping[str, Coefficient]]
    missing: Mapping[str, int]
    counts: Mapping[str, tuple[int, ...]]
    confusion: tuple[tuple[int, ...], ...]
    course: Mapping[int, Mapping[str, Coefficient]]


@dataclass(frozen=True)
class Agreement(Stored):
    """Agreement of ``coders`` by task; ``alone`` if no segment names an article."""

    corpus: str
    coders: tuple[str, ...]
    alone: bool
    tasks: Mapping[str, TaskAgreement]


def agreement(corpus: str, reading: Reading, scheme: Scheme) -> Agreement:
    """Return the agreement of a reading's coders, with intervals by article.

    Alpha is nominal. Raises ``UserError`` if no segment has answers of two coders to the same task.
    """
    segments, tasks = [segment for segment in reading.segments if segment.id in reading.votes], {}
    segments.sort(key=lambda segment: reading.times.get(segment.id, ""))
    coders = tuple(dict.fromkeys(coder for votes in reading.votes.values() for coder in votes))
    for task in scheme:
        answers = [[reading.votes[segment.id].get(coder, {}).get(task.name) for coder in coders] for segment in segments]
        if any(len(row) - row.count(None) > 1 for row in answers):
            tasks[task.name] = _of_task(task, answers, coders, [segment.group for segment in segments])
    if not tasks:
        found = f"{corpus}: no segment has labels of two coders; name their columns, as in coders=[Anna,Ben], or answers=[A.jsonl,B.jsonl]"
        raise UserError(f"{found}, or have a row for each segment and coder, with columns called Coder and ID (or id=COLUMN)")
    return Agreement(corpus, coders, not any(segment.article for segment in segments), tasks)


def recorded(reader: Any, scheme: Scheme) -> dict[str, Any]:
    """Return the agreement of a source's coders and how it is settled, for a manifest, or {}."""
    reading = replace(reader, annotators="first").read(scheme)  # keeps ties, which a reading under another policy may drop
    try:
        found = agreement("", reading, scheme)
    except UserError:
        return {}
    given = [(one.labels, [*reading.votes[one.id].values(), one.labels]) for one in reading.segments if one.id in reading.votes]
    decided = any(settle(votes, scheme, "first") != labels for labels, votes in given)  # by someone else, in the source
    tasks = {name: {"n": task.n, **asdict(task.measures["alpha"])} for name, task in found.tasks.items()}
    return {"coders": len(found.coders), "settled": reader.annotators, "decided": decided, "alone": found.alone, "tasks": tasks}


def differing(reading: Reading, task: Task) -> list[str]:
    """Return ids of segments with disagreement: least agreement, then most confused labels."""
    given = {id: [vote[task.name] for vote in votes.values() if vote.get(task.name) is not None] for id, votes in reading.votes.items()}
    labels = {id: frozenset(answers) for id, answers in given.items() if len(set(answers)) > 1}
    often = list(labels.values())
    return sorted(labels, key=lambda id: (max(map(given[id].count, labels[id])) / len(given[id]), -often.count(labels[id])))


def _of_task(task: Task, answers: list[list[Answer]], coders: tuple[str, ...], groups: list[str]) -> TaskAgreement:
    given = np.array([[answer is not None for answer in row] for row in answers])
    chosen = np.array([[[label in label_ids(answer) for label in task.ids] for answer in row] for row in answers])
    missing, counted, single, size = (~given).sum(0).tolist(), given.sum(1) > 1, task.kind == "single", len(task)
    given, chosen, articles = given[counted], chosen[counted], np.array(groups)[counted]
    complete, statistic = given.all(1), partial(_values, single=single)
    percent, alpha, kappa, *by_label = _measured(sums := _sums(given, chosen), articles, statistic)
    if not complete.all():
        kappa = _measured(_sums(given[complete], chosen[complete]), articles[complete], statistic)[2]
    both = [chosen[:, one].T.astype(int) @ chosen[:, other] for one, other in combinations(range(len(coders)), 2)] if single else []
    confusion = sum(counts if len(coders) == 2 else counts + counts.T for counts in both)
    return TaskAgreement(
        len(given), int(complete.sum()), len(set(articles)), {"percent": percent, "alpha": alpha, "kappa": kappa},
        {label: {"specific": by_label[at], "alpha": by_label[size + at]} for at, label in enumerate(task.ids)},
        dict(zip(coders, missing, strict=True)),
        {coder: tuple(chosen[:, at].sum(0).tolist()) for at, coder in enumerate(coders)},
        tuple(map(tuple, np.asarray(confusion).tolist())) if both else (), _course(sums, articles, single),
    )  # fmt: skip


def _course(sums: Floats, articles: np.ndarray, single: bool) -> dict[int, dict[str, Coefficient]]:
    parts = min(_PARTS, len(sums) // _SMALLEST)
    ends = [len(sums) * part // parts for part in range(1, parts + 1)] if parts > 1 else []

    def alpha(start: int, articles: np.ndarray) -> Coefficient:
        return _measured(sums[start : start + len(articles)], articles, lambda drawn: _values(drawn, single)[..., 1:2])[0]

    # With a single article, so_far has no interval; it would take ten times as long as the parts'.
    return {end: {"part": alpha(at, articles[at:end]), "so_far": alpha(0, np.zeros(end))} for at, end in pairwise([0, *ends])}


def _measured(sums: Floats, articles: np.ndarray, statistic: Statistic) -> list[Coefficient]:
    sums = per_article(sums, numbered(articles.tolist()), 1)
    values, intervals = statistic(sums.sum(axis=0)).tolist(), bca_intervals(sums, statistic)
    return [Coefficient(value if math.isfinite(value) else None, interval) for value, interval in zip(values, intervals, strict=True)]


def _sums(given: Bools, chosen: Bools) -> Floats:
    """Return pairs that agree on a label and each coder's labels, ``[n, 1 + coders, labels + 1]``.

    A segment is weighted by its number of answers (Krippendorff), which is in the last column.
    """
    answers = np.concatenate([chosen, given[..., None]], axis=2).astype(np.float64)
    counts = answers.sum(1)
    pairs = counts * (counts - 1) / (given.sum(1) - 1)[:, None]
    return np.concatenate([pairs[:, None], answers], axis=1)


def _values(sums: Floats, single: bool) -> Floats:
    """Return percent, alpha and kappa of the task, then specific agreement and alpha by label."""
    agreed, by, answers = sums[..., 0, :-1], sums[..., 1:, :-1], sums[..., 1:, -1:]
    labels, n = by.sum(-2), answers.sum(-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        alphas = 1 - (n - 1) * (labels - agreed) / (labels * (n - labels))
        shares = by / answers
        first, second = (shares[..., 0, :], shares[..., 1, :]) if by.shape[-2] == 2 else (shares.mean(-2), shares.mean(-2))
        if single:
            percent, chance = agreed.sum(-1, keepdims=True) / n, (first * second).sum(-1, keepdims=True)
            alpha = 1 - (n - 1) * n * (1 - percent) / (n**2 - (labels**2).sum(-1, keepdims=True))
        else:
            percent, chance, alpha = 1 - 2 * (labels - agreed) / n, first * second + (1 - first) * (1 - second), alphas
        whole = (percent, alpha, (percent - chance) / (1 - chance))
        means = [np.nansum(values, axis=-1, keepdims=True) / np.isfinite(values).sum(-1, keepdims=True) for values in whole]
        return np.concatenate([*means, agreed / labels, alphas], axis=-1)
