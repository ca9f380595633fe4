"""What a page shows of calibration and abstention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haltung.evaluation.metrics.calibration import CalibrationReport
from haltung.evaluation.report import calibration_plots as plots
from haltung.evaluation.report import calibration_tables as tables
from haltung.evaluation.report.tables import Grid
from haltung.labels import Scheme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Part:
    """What a page shows of one task ("" for the table of all): a table or a plot, and of what ``kind`` it is."""

    task: str
    kind: str
    grid: Grid | None = None
    figure: Figure | None = None


def page(report: CalibrationReport, scheme: Scheme, language: str = "en") -> list[Part]:
    """Return all tables and plots, in the order in which a page shows them: the table of all tasks, then those of each task."""
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
