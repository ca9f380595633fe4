"""Metrics on minimal pairs (texts that differ in a single respect), by phenomenon."""

from collections.abc import Mapping, Sequence

import numpy as np

from haltung.evaluation.metrics.dyads import PARTS, WHOLE, DyadSets
from haltung.evaluation.metrics.results import PhenomenonMetrics
from haltung.evaluation.predictions import Ints, ScoredSplit
from haltung.evaluation.statistics.bootstrap import numbered, wilson
from haltung.records import Segment

ALL = "all"  # the row over all phenomena
_SIDES = ("-a", "-b")  # suffixes of the ids of a pair's two segments


def are_minimal_pairs(segments: Sequence[Segment]) -> bool:
    """Return whether each article is a pair, ``ID-a`` and ``ID-b``, with a phenomenon as genre."""
    ids = {segment.id for segment in segments}
    return bool(segments) and all(
        segment.genre and segment.article and segment.id[-2:] in _SIDES and {segment.article + side for side in _SIDES} <= ids
        for segment in segments
    )


def pair_rows(segments: Sequence[Segment]) -> tuple[Ints, np.ndarray]:
    """Return the rows of each pair's segments, ``[pairs, 2]``, and its phenomenon, ``[pairs]``."""
    rows = {segment.id: row for row, segment in enumerate(segments)}
    kinds = {segment.article: segment.genre for segment in segments}
    return np.array([[rows[pair + side] for side in _SIDES] for pair in kinds]), np.array(list(kinds.values()))


def phenomena(split: ScoredSplit, segments: Sequence[Segment]) -> dict[str, tuple[PhenomenonMetrics, ...]]:
    """Return each task's metrics by phenomenon, those of all pairs first.

    Only single-label tasks whose gold labels differ within at least one pair are included. The
    ``segments`` are those of the split, in the same order (see ``are_minimal_pairs``).
    """
    pairs, names = pair_rows(segments)
    out: dict[str, tuple[PhenomenonMetrics, ...]] = {}
    for task in (task for task in split.scheme if task.kind == "single"):
        labelled = split.labelled(task.name)[pairs].all(axis=1)
        gold, decided = split.gold[task.name][pairs], split.decided(task.name)[pairs]
        if (labelled & (gold[:, 0] != gold[:, 1])).any():
            out[task.name] = _by_phenomenon(names[labelled], gold[labelled], decided[labelled])
    return out


def dyad_phenomena(segments: Sequence[Segment], found: DyadSets) -> dict[str, tuple[PhenomenonMetrics, ...]]:
    """Return the metrics of dyads by phenomenon, for whole dyads and for (source, target) alone.

    A segment is correct if its set of ``found`` dyads, possibly empty, equals the gold set.
    """
    pairs, names = pair_rows(segments)
    out: dict[str, tuple[PhenomenonMetrics, ...]] = {}
    for part in (WHOLE, "source, target"):
        sets = [frozenset(map(PARTS[part], row)) for row in (*(segment.dyads for segment in segments), *found)]
        gold, decided = numbered(sets).reshape(2, len(segments))[:, pairs]
        out[part] = _by_phenomenon(names, gold, decided)
    return out


def flat(metrics: Mapping[str, Sequence[PhenomenonMetrics]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return metrics for a tracker, ``{"stance": {"negation": {"accuracy": …, "both": …}}}``."""
    return {task: {row.phenomenon: {"accuracy": row.accuracy, "both": row.both} for row in rows} for task, rows in metrics.items()}


def _by_phenomenon(names: np.ndarray, gold: Ints, decided: Ints) -> tuple[PhenomenonMetrics, ...]:
    """Return the metrics of pairs, ``[pairs, 2]``, over all and for each phenomenon."""
    out = []
    for name in (ALL, *sorted(set(names))):
        rows = np.full(len(names), True) if name == ALL else names == name
        right, differ = gold[rows] == decided[rows], rows & (gold[:, 0] != gold[:, 1])
        apart = float((decided[differ, 0] != decided[differ, 1]).mean()) if differ.any() else None
        accuracy, both = float(right.mean()), float(right.all(axis=1).mean())
        # A pair's segments are not independent, so n is the number of pairs for accuracy too.
        ends = {"accuracy": wilson(accuracy, len(right)), "both": wilson(both, len(right))}
        if apart is not None:
            ends["apart"] = wilson(apart, int(differ.sum()))
        out.append(PhenomenonMetrics(name, len(right), accuracy, both, int(differ.sum()), apart, ends))
    return tuple(out)
