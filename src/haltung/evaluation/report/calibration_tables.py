"""Calibration and abstention as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haltung.evaluation.metrics.abstention import TaskAbstention
from haltung.evaluation.metrics.calibration import TaskCalibration
from haltung.evaluation.report.i18n import count, number, place, word
from haltung.evaluation.report.tables import Grid
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from haltung.evaluation.metrics.calibration import CalibrationReport


def overview(report: CalibrationReport, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each task: temperature, confidence and accuracy, ECE (also uncalibrated and by chance), Brier score."""
    errors = ("ece", "interval", "ece_before", "ece_by_chance", "brier", "interval", "log_loss")
    columns = ("task", "temperature", "confidence", "hit_rate", *errors)
    rows = []
    for name, figures in report.tasks.items():
        before = report.before.get(name)
        rows.append(
            (
                scheme[name].title(language),
                number(report.temperatures.get(name, 1.0), language, 2),
                number(figures.confidence, language),
                number(figures.accuracy, language),
                number(figures.ece, language),
                span(figures.ece_interval, language),
                "–" if before is None else number(before.ece, language),
                number(figures.ece_by_chance, language),
                number(figures.brier, language),
                span(figures.brier_interval, language),
                number(figures.log_loss, language),
            )
        )
    title = f"{place(report.corpus, report.split, language)}: {word('calibration', language)}"
    return Grid(title, tuple(word(column, language) for column in columns), tuple(rows))


def reliability(figures: TaskCalibration, task: Task, language: str = "en") -> Grid:
    """Return one row for each bin of probabilities."""
    rows = tuple(
        (
            f"{number(part.low, language, 2)} – {number(part.high, language, 2)}",
            count(part.n, language),
            number(part.confidence, language),
            number(part.accuracy, language),
            span(part.interval, language),
        )
        for part in figures.bins
    )
    columns = ("from_to", "segments" if task.kind == "single" else "answers", "confidence", "hit_rate", "interval")
    return Grid(f"{task.title(language)}: {word('reliability', language)}", tuple(word(column, language) for column in columns), rows)


def abstention(figures: TaskAbstention, task: Task, language: str = "en") -> Grid:
    """Return one row for each wished-for precision: the threshold, and the coverage and precision that it has here."""
    rows = tuple(
        (
            number(point.wished, language, 2),
            word("unreached", language) if point.threshold is None else number(point.threshold, language),
            count(point.kept, language),
            number(point.coverage, language),
            span(point.coverage_interval, language),
            "–" if point.precision is None else number(point.precision, language),
            span(point.precision_interval, language),
        )
        for point in figures.points
    )
    columns = ("wished", "threshold", "answered", "coverage", "interval", "precision", "interval")
    title = f"{task.title(language)}: {word('abstention', language)} (AURC {number(figures.aurc, language)})"
    return Grid(title, tuple(word(column, language) for column in columns), rows, left=0)


def span(interval: Interval | None, language: str = "en") -> str:
    """Return ``0.512–0.570``, or "–" where there is none."""
    return "–" if interval is None else f"{number(interval.low, language)}–{number(interval.high, language)}"
