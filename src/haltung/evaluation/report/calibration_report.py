"""Calibration and abstention of a whole split: one record for ``calibration.json``, for the tracker, and for the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.evaluation.metrics.abstention import TaskAbstention, abstention
from haltung.evaluation.metrics.calibration import TaskCalibration, calibration
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report.tables import Grid
from haltung.files import write_text
from haltung.labels import Scheme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 1
CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Before:
    """The figures of a task without its temperature."""

    ece: float
    brier: float
    log_loss: float


@dataclass(frozen=True)
class CalibrationReport:
    """The calibration of every task that is labelled, and the abstention of every single-label one, by task.

    ``temperatures`` are those that the probabilities were divided by, ``before`` the figures without them, where they were given.
    """

    corpus: str
    split: str
    temperatures: Mapping[str, float]
    tasks: Mapping[str, TaskCalibration]
    abstention: Mapping[str, TaskAbstention]
    before: Mapping[str, Before] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return the figures flat, ``{"stance_temperature": …, "stance_ece": …, "stance_brier": …, "stance_aurc": …}``, for a tracker.

        For each threshold there are ``stance_coverage_at_0.9`` and, where something is kept, ``stance_precision_at_0.9``.
        """
        out: dict[str, float] = {}
        for name, task in self.tasks.items():
            out |= {f"{name}_temperature": self.temperatures.get(name, 1.0), f"{name}_ece": task.ece, f"{name}_brier": task.brier}
            if name in self.before:
                out[f"{name}_ece_before"] = self.before[name].ece
        for name, curve in self.abstention.items():
            out[f"{name}_aurc"] = curve.aurc
            for point in curve.points:
                out[f"{name}_coverage_at_{point.wished:g}"] = point.coverage
                if point.precision is not None:
                    out[f"{name}_precision_at_{point.wished:g}"] = point.precision
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"format": FORMAT, **asdict(self)}

    def write(self, folder: Path) -> Path:
        """Write ``calibration.json`` into a report's folder, atomically."""
        path = folder / CALIBRATION
        write_text(path, json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n")
        return path


@dataclass(frozen=True)
class Part:
    """What a page shows of one task ("" for the table of all): a table or a plot, and of what ``kind`` it is."""

    task: str
    kind: str
    grid: Grid | None = None
    figure: Figure | None = None


def measure(
    scored: ScoredSplit,
    temperatures: Mapping[str, float] | None = None,
    thresholds: Mapping[str, Mapping[float, float | None]] | None = None,
    before: ScoredSplit | None = None,
) -> CalibrationReport:
    """Return the calibration and abstention of a split.

    Args:
        scored: gold labels beside the probabilities as the model gives them, its temperatures applied.
        temperatures: of the tasks, as the bundle has them.
        thresholds: of the single-label tasks for each wished-for precision, as they were chosen on dev.
        before: the same split with the probabilities that the model would give without its temperatures, to compare with.
    """
    tasks = [task for task in scored.scheme if scored.labelled(task.name).any()]
    # Without draws, since intervals are not asked for.
    bare = {task.name: calibration(before, task, draws=0) for task in tasks} if before is not None else {}
    return CalibrationReport(
        corpus=scored.corpus,
        split=scored.split,
        temperatures=dict(temperatures or {}),
        tasks={task.name: calibration(scored, task) for task in tasks},
        abstention={task.name: abstention(scored, task, (thresholds or {}).get(task.name, {})) for task in tasks if task.kind == "single"},
        before={name: Before(figures.ece, figures.brier, figures.log_loss) for name, figures in bare.items()},
    )


def page(report: CalibrationReport, scheme: Scheme, language: str = "en") -> list[Part]:
    """Return all tables and plots, in the order in which a page shows them: the table of all tasks, then those of each task."""
    from haltung.evaluation.report import calibration_plots as plots
    from haltung.evaluation.report import calibration_tables as tables

    parts = [Part("", "calibration", grid=tables.overview(report, scheme, language))]
    for name in report.tasks:
        task = scheme[name]
        parts.append(Part(name, "reliability", figure=plots.reliability(report, task, language)))
        parts.append(Part(name, "reliability_table", grid=tables.reliability(report.tasks[name], task, language)))
        if name in report.abstention:
            parts.append(Part(name, "coverage_risk", figure=plots.coverage_risk(report, task, language)))
            if report.abstention[name].points:
                parts.append(Part(name, "abstention", grid=tables.abstention(report.abstention[name], task, language)))
    return parts
