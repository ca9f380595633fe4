"""The result of an evaluation as frozen records that round-trip through JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from haltung.evaluation.metrics.dyads import DyadMetrics
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.records import read_record

# The metrics of a task that are compared, logged and averaged over seeds.
HEADLINE = ("macro_f1", "accuracy", "micro_f1", "weighted_f1", "log_loss")
# Warnings, the most severe first; report/ has their sentences.
COLLAPSED, NEVER_PREDICTED, NOT_IN_GOLD = "collapsed", "never_predicted", "not_in_gold"


@dataclass(frozen=True)
class Stored:
    """A record that is stored as a JSON file in format 1."""

    def to_json(self) -> str:
        """Return the record as JSON text, the format first; floats keep every digit."""
        return json.dumps({"format": 1, **asdict(self)}, ensure_ascii=False, indent=2) + "\n"


@dataclass(frozen=True)
class Resampling:
    """How an evaluation's intervals were computed (see ``statistics.bootstrap``)."""

    method: str
    level: float
    draws: int
    seed: int


@dataclass(frozen=True)
class LabelMetrics:
    """One label of one task.

    ``support`` counts the segments that have it, ``predicted`` those predicted to have it, and
    ``correct`` those for which both hold. Precision, recall and F1 are 0 if the denominator is 0.
    ``intervals`` are by metric: precision, recall, f1.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int
    correct: int
    intervals: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """The metrics of always predicting the most frequent label (or the labels of over half)."""

    labels: tuple[str, ...]
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class TaskMetrics:
    """The metrics of one task on the ``n`` segments that are labelled for it.

    ``accuracy`` of a multi-label task is subset accuracy: all labels of a segment are correct.
    ``macro_f1`` is the mean over ``labels_averaged``: for a single-label task the labels that occur
    in gold **or** predictions, for a multi-label task all labels (scikit-learn's default for each).
    ``micro_f1`` pools the counts of all labels (single-label: equal to accuracy); ``weighted_f1``
    weights by support. ``log_loss`` is in nats, for a multi-label task the mean over its labels.
    ``labels`` has every label of the task, in the scheme's order. ``confusion[i][j]`` counts
    segments with gold label i and predicted label j; it is empty for a multi-label task.
    ``collapsed``: all segments have the same prediction although their gold labels differ.
    ``warnings`` are codes derived from the rest, the most severe first. ``intervals``, by headline
    metric, omit undefined ones (as for too few articles); they may be missing in older files.
    """

    task: str
    kind: str
    n: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    weighted_f1: float
    log_loss: float
    labels: tuple[LabelMetrics, ...]
    labels_averaged: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    majority: Baseline
    collapsed: bool
    warnings: tuple[str, ...] = field(init=False)
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Derive the warnings; sentences stored there by older versions are ignored."""
        applies = {COLLAPSED: self.collapsed, NEVER_PREDICTED: self.never_predicted, NOT_IN_GOLD: self.not_in_gold}
        object.__setattr__(self, "warnings", tuple(code for code, reason in applies.items() if reason))

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """The labels that occur in gold but are never predicted."""
        return tuple(label.label for label in self.labels if label.support and not label.predicted)

    @property
    def not_in_gold(self) -> tuple[str, ...]:
        """The labels that are predicted but not in gold; each counts as 0 in macro-F1."""
        return tuple(label.label for label in self.labels if label.predicted and not label.support)


@dataclass(frozen=True)
class PhenomenonMetrics:
    """One task, or the dyads, on the minimal pairs of one phenomenon.

    ``accuracy`` is over segments (for dyads: exact match of a segment's set), ``both`` the share of
    pairs with both correct. ``differing`` counts the pairs whose gold differs. ``apart`` is the
    share of these whose predictions differ, correct or not (None if there are none): a model that
    only looks at keywords predicts both the same. ``intervals`` assume independent pairs.
    """

    phenomenon: str
    pairs: int
    accuracy: float
    both: float
    differing: int
    apart: float | None
    intervals: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationResult(Stored):
    """The metrics of one model on one split of ``n`` segments in ``groups`` articles.

    Tasks without gold labels are not in ``tasks``. ``phenomena``, by task, is only filled for
    minimal pairs, ``dyads`` for a model that predicts them on a split that has them. If both hold,
    so is ``dyad_phenomena``, by the part of a dyad that must match. ``resampling`` is None without
    intervals. ``lone`` counts the segments without an article.
    """

    corpus: str
    split: str
    n: int
    groups: int
    scheme: str
    scheme_digest: str
    tasks: Mapping[str, TaskMetrics]
    phenomena: Mapping[str, tuple[PhenomenonMetrics, ...]] = field(default_factory=dict)
    dyad_phenomena: Mapping[str, tuple[PhenomenonMetrics, ...]] = field(default_factory=dict)
    resampling: Resampling | None = None
    dyads: DyadMetrics | None = None
    lone: int = 0

    def headline(self) -> dict[str, float]:
        """Return the headline metrics as a flat dict for a tracker.

        ``{"stance_macro_f1": …, "stance_macro_f1.low": …, "stance_macro_f1.high": …}``, with those
        of dyads, if any. The ends of missing intervals are omitted.
        """
        out = {f"{name}_{metric}": getattr(task, metric) for name, task in self.tasks.items() for metric in HEADLINE}
        for name, task in self.tasks.items():
            for metric, interval in task.intervals.items():
                out |= {f"{name}_{metric}.low": interval.low, f"{name}_{metric}.high": interval.high}
        return out | (self.dyads.headline() if self.dyads else {})


def read(path: Path) -> EvaluationResult:
    """Read an ``evaluation.json``; ``UserError`` if it is missing, broken, or of another format."""
    return read_record(path, EvaluationResult, "evaluation", "haltung evaluate writes a new one")


@dataclass(frozen=True)
class Spread:
    """One metric over several runs.

    ``deviation`` is the sample standard deviation (n-1), None for a single run; ``interval`` is
    that of the mean, if computed (see ``comparison.with_intervals_of_means``).
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]
    interval: Interval | None = None

    def metrics(self) -> dict[str, float]:
        """Return ``{"mean": …, "sd": …}``, without ``sd`` for a single run."""
        return {"mean": self.mean} if self.deviation is None else {"mean": self.mean, "sd": self.deviation}


@dataclass(frozen=True)
class Summary(Stored):
    """The headline metrics of several runs on the same split: ``tasks[task][metric]``."""

    corpus: str
    split: str
    n: int
    runs: int
    tasks: Mapping[str, Mapping[str, Spread]]

    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return the summary for a tracker, ``{"stance": {"macro_f1": {"mean": …, "sd": …}}}``."""
        return {task: {name: spread.metrics() for name, spread in values.items()} for task, values in self.tasks.items()}
