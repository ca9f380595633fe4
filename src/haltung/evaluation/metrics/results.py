"""The figures of an evaluation as frozen records that go to JSON and come back the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from haltung.errors import UserError

FORMAT = 1

# The figures of a task that are compared, logged and averaged over seeds.
HEADLINE = ("macro_f1", "accuracy", "micro_f1", "weighted_f1", "log_loss")


@dataclass(frozen=True)
class Interval:
    """The ends of a confidence interval; ``EvaluationResult.resampling`` says how it was made."""

    low: float
    high: float


@dataclass(frozen=True)
class Resampling:
    """How an evaluation's intervals were made, see ``intervals``."""

    method: str
    level: float
    draws: int
    seed: int


@dataclass(frozen=True)
class LabelMetrics:
    """One label of one task.

    ``support`` counts the segments that have it, ``predicted`` those that are given it, ``correct`` those where both is so. Where
    nothing can be divided by, precision, recall and F1 are 0. ``intervals`` are by figure: precision, recall, f1.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int
    correct: int
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabelMetrics:
        """Make the record of plain data."""
        return cls(**{**data, "intervals": _intervals(data)})


@dataclass(frozen=True)
class Baseline:
    """What always predicting the same would reach: the split's own most frequent label (multi-label: those that most segments have)."""

    labels: tuple[str, ...]
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class TaskMetrics:
    """The figures of one task on the ``n`` segments that are labelled for it.

    ``accuracy`` of a multi-label task is subset accuracy: all labels of a segment right. ``macro_f1`` is the mean over
    ``labels_averaged``: for a single-label task the labels that occur in gold **or** predictions, for a multi-label task all labels,
    which is scikit-learn's default for either. ``micro_f1`` pools the counts of all labels (single-label: equal to accuracy);
    ``weighted_f1`` weights by support. ``log_loss`` is in nats, for a multi-label task the mean over its labels, with probabilities
    clipped to the smallest step of a double. ``labels`` has every label of the task, in the scheme's order. ``confusion[i][j]`` counts
    segments with gold label i and predicted label j; it is empty for a multi-label task. ``collapsed``: all segments are predicted the
    same though their gold labels differ. ``warnings`` are whole sentences. ``intervals`` are by headline figure; one is missing where
    there are too few articles for it, and in files of older versions.
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
    warnings: tuple[str, ...]
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """The labels that some segment has and none is given."""
        return tuple(label.label for label in self.labels if label.support and not label.predicted)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskMetrics:
        """Make the record of plain data, the inverse of ``dataclasses.asdict``."""
        return cls(
            **{
                **data,
                "labels": tuple(LabelMetrics.from_dict(label) for label in data["labels"]),
                "labels_averaged": tuple(data["labels_averaged"]),
                "confusion": tuple(tuple(row) for row in data["confusion"]),
                "majority": Baseline(**{**data["majority"], "labels": tuple(data["majority"]["labels"])}),
                "warnings": tuple(data["warnings"]),
                "intervals": _intervals(data),
            }
        )


@dataclass(frozen=True)
class PhenomenonMetrics:
    """One task on the minimal pairs of one phenomenon of a challenge set.

    ``accuracy`` is over segments, ``both`` the share of pairs with both right. ``differing`` counts the pairs whose gold labels differ in
    this task, and ``apart`` is the share of those whose predictions differ at all, right or wrong (None where there are none):
    a model that looks at keywords alone answers both the same. ``intervals`` of accuracy, both and apart take pairs for independent.
    """

    phenomenon: str
    pairs: int
    accuracy: float
    both: float
    differing: int
    apart: float | None
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PhenomenonMetrics:
        """Make the record of plain data."""
        return cls(**{**data, "intervals": _intervals(data)})


@dataclass(frozen=True)
class EvaluationResult:
    """The figures of one model on one split: ``n`` segments in ``groups`` articles. A task without any gold label is not in ``tasks``.

    ``phenomena`` is filled for a challenge set alone, by task. ``resampling`` is None where no intervals were computed.
    """

    corpus: str
    split: str
    n: int
    groups: int
    scheme: str
    scheme_digest: str
    tasks: Mapping[str, TaskMetrics]
    phenomena: Mapping[str, tuple[PhenomenonMetrics, ...]] = field(default_factory=dict)
    resampling: Resampling | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """All tasks' warnings."""
        return tuple(warning for task in self.tasks.values() for warning in task.warnings)

    @property
    def collapsed(self) -> bool:
        """Whether some task has collapsed to one prediction."""
        return any(task.collapsed for task in self.tasks.values())

    def headline(self) -> dict[str, float]:
        """Return the headline figures flat, as a tracker wants them.

        ``{"stance_macro_f1": …, "stance_macro_f1.low": …, "stance_macro_f1.high": …}``, without the ends where there is no interval.
        """
        out = {f"{name}_{figure}": float(getattr(task, figure)) for name, task in self.tasks.items() for figure in HEADLINE}
        for name, task in self.tasks.items():
            for figure, interval in task.intervals.items():
                out |= {f"{name}_{figure}.low": interval.low, f"{name}_{figure}.high": interval.high}
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, the inverse of ``from_dict``."""
        return {"format": FORMAT, **asdict(self)}

    def to_json(self) -> str:
        """Return the evaluation as JSON text; floats keep every digit."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EvaluationResult:
        """Make the record of plain data.

        Raises:
            KeyError, TypeError: it is not what ``to_dict`` has made; ``read`` turns this into a sentence.
        """
        fields = {name: value for name, value in data.items() if name != "format"}
        phenomena = {name: tuple(PhenomenonMetrics.from_dict(row) for row in rows) for name, rows in data.get("phenomena", {}).items()}
        tasks = {name: TaskMetrics.from_dict(task) for name, task in data["tasks"].items()}
        resampling = Resampling(**data["resampling"]) if data.get("resampling") else None
        return cls(**{**fields, "tasks": tasks, "phenomena": phenomena, "resampling": resampling})


def _intervals(data: Mapping[str, Any]) -> dict[str, Interval]:
    return {figure: Interval(**ends) for figure, ends in data.get("intervals", {}).items()}


def read(path: Path) -> EvaluationResult:
    """Read an ``evaluation.json``.

    Raises:
        UserError: the file is missing, broken, or of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{path}: no such evaluation; haltung evaluate writes one") from None
    except ValueError as error:
        raise UserError(f"{path} is broken ({error}); evaluate again") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else None
        raise UserError(f"{path} is of format {found}, this version reads {FORMAT}; evaluate again")
    try:
        return EvaluationResult.from_dict(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no evaluation ({error}); evaluate again") from None


@dataclass(frozen=True)
class Spread:
    """One figure over several runs; ``deviation`` is the sample standard deviation (n-1), None for a single run.

    ``interval`` is that of the mean, where it was computed (see ``standings.with_standing``).
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]
    interval: Interval | None = None


@dataclass(frozen=True)
class Summary:
    """The headline figures of several runs on the same split: ``tasks[task][figure]``."""

    corpus: str
    split: str
    n: int
    runs: int
    tasks: Mapping[str, Mapping[str, Spread]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)
