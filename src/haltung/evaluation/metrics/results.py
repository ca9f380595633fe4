"""The result of an evaluation as frozen records that go to JSON and come back the same."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from haltung.evaluation.metrics.dyads import DyadMetrics
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.records import read_record

# The metrics of a task that are compared, logged and averaged over seeds.
HEADLINE = ("macro_f1", "accuracy", "micro_f1", "weighted_f1", "log_loss")
# Warnings, the gravest first; report/ has their sentences.
COLLAPSED, NEVER_PREDICTED, NOT_IN_GOLD = "collapsed", "never_predicted", "not_in_gold"


@dataclass(frozen=True)
class Stored:
    """A record that is stored as a JSON file of the format 1."""

    def to_json(self) -> str:
        """Return the record as JSON text, the format first; floats keep every digit."""
        return json.dumps({"format": 1, **asdict(self)}, ensure_ascii=False, indent=2) + "\n"


@dataclass(frozen=True)
class Resampling:
    """How an evaluation's intervals were made, see ``statistics.bootstrap``."""

    method: str
    level: float
    draws: int
    seed: int


@dataclass(frozen=True)
class LabelMetrics:
    """One label of one task.

    ``support`` counts the segments that have it, ``predicted`` those predicted to have it,
    ``correct`` those where both hold. Where nothing can be divided by, precision, recall and F1 are
    0. ``intervals`` are by metric: precision, recall, f1.
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
    """What always predicting the split's most frequent label (or usual labels) would reach."""

    labels: tuple[str, ...]
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class TaskMetrics:
    """The metrics of one task on the ``n`` segments that are labelled for it.

    ``accuracy`` of a multi-label task is subset accuracy: all labels of a segment right.
    ``macro_f1`` is the mean over ``labels_averaged``: for a single-label task the labels that occur
    in gold **or** predictions, for a multi-label task all labels, which is scikit-learn's default
    for either. ``micro_f1`` pools the counts of all labels (single-label: equal to accuracy);
    ``weighted_f1`` weights by support. ``log_loss`` is in nats, for a multi-label task the mean
    over its labels. ``labels`` has every label of the task, in the scheme's order.
    ``confusion[i][j]`` counts segments with gold label i and predicted label j; it is empty for a
    multi-label task. ``collapsed``: all segments are predicted the same though their gold labels
    differ. ``warnings`` are codes derived from the rest, the gravest first. ``intervals`` are by
    headline metric; one is missing where there are too few articles for it, and in older files.
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
        """Derive the warnings; the sentences that older files hold there are not read."""
        applies = {COLLAPSED: self.collapsed, NEVER_PREDICTED: self.never_predicted, NOT_IN_GOLD: self.not_in_gold}
        object.__setattr__(self, "warnings", tuple(code for code, reason in applies.items() if reason))

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """The labels that some segment has but none is predicted to have."""
        return tuple(label.label for label in self.labels if label.support and not label.predicted)

    @property
    def not_in_gold(self) -> tuple[str, ...]:
        """The labels that are predicted but that no segment has; each counts as 0 in macro-F1."""
        return tuple(label.label for label in self.labels if label.predicted and not label.support)


@dataclass(frozen=True)
class PhenomenonMetrics:
    """One task, or the dyads, on the minimal pairs of one phenomenon.

    ``accuracy`` is over segments (of dyads: exact match of a segment's set), ``both`` the share of
    pairs with both right. ``differing`` counts the pairs whose gold differs, and ``apart`` is the
    share of those whose predictions differ at all, right or wrong (None without any): a model that
    looks at keywords alone answers both the same. ``intervals`` take pairs for independent.
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

    A task without any gold label is not in ``tasks``. ``phenomena``, by task, is filled for minimal
    pairs alone, ``dyads`` for a model that finds them on a split that has them; where both hold,
    ``dyad_phenomena``, by what of a dyad has to be right. ``resampling`` is None without intervals.
    ``lone`` segments name no article.
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
        """Return the headline metrics flat, as a tracker wants them.

        ``{"stance_macro_f1": …, "stance_macro_f1.low": …, "stance_macro_f1.high": …}``, without the
        ends where there is no interval; with those of dyads, where it has them.
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

    ``deviation`` is the sample standard deviation (n-1), None for a single run; ``interval`` that
    of the mean, where it was computed (see ``comparison.with_intervals_of_means``).
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]
    interval: Interval | None = None

    def metrics(self) -> dict[str, float]:
        """Return ``{"mean": …, "sd": …}``, without the latter for a single run."""
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
