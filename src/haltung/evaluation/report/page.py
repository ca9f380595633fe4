"""The report of one evaluation: a folder with figures, predictions, plots, and one HTML page that holds all of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.errors import UserError
from haltung.evaluation.error_analysis import name_sensitivity as reliance
from haltung.evaluation.error_analysis import slices
from haltung.evaluation.error_analysis.analysis import EXAMINATION, ErrorAnalysis
from haltung.evaluation.metrics.calibration import CalibrationReport
from haltung.evaluation.metrics.results import EvaluationResult, TaskMetrics
from haltung.evaluation.predictions import ScoredSplit, write_predictions
from haltung.evaluation.report import calibration_report, plots, slice_plots, tables
from haltung.evaluation.report import cards as mistake_cards
from haltung.evaluation.report.calibration_report import Part
from haltung.evaluation.report.i18n import checked, number, place, word
from haltung.files import atomic_folder
from haltung.labels import Scheme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES, PREDICTIONS, PAGE = "evaluation.json", "predictions.parquet", "report.html"
CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class _Content:
    """Everything that a page is made of."""

    evaluation: EvaluationResult
    scored: ScoredSplit
    pictures: tuple[Picture, ...]
    calibration: tuple[Part, ...]
    examination: ErrorAnalysis | None


@dataclass(frozen=True)
class Picture:
    """A plot that was saved: of which task ("" for the learning curves), of what kind, and where it lies."""

    task: str
    kind: str
    path: Path


def write(
    folder: Path,
    evaluation: EvaluationResult,
    scored: ScoredSplit,
    *,
    language: str = "en",
    history: Sequence[Mapping[str, float]] = (),
    title: str = "",
    details: Mapping[str, str] | None = None,
    calibration: CalibrationReport | None = None,
    examination: ErrorAnalysis | None = None,
) -> list[Path]:
    """Write the report and return its files; the folder appears whole or not at all, and replaces an older report there.

    Args:
        folder: becomes ``evaluation.json``, ``predictions.parquet``, ``report.html`` and the plots as PNG.
        evaluation: the figures of ``scored``.
        scored: what they were computed from.
        language: of the page and the plots, ``en`` or ``de``.
        history: the training's curve (see ``plots.curves``); without one there is no plot of it.
        title: what was evaluated, such as the run's name.
        details: facts to list at the foot of the page, such as commit, encoder, seed.
        calibration: adds reliability, coverage against risk, and ``calibration.json``.
        examination: adds slices, masked names, errors to read, and ``examination.json``.

    Raises:
        UserError: the language is unknown, or the folder has something other than a report in it.
    """
    checked(language)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / FIGURES).is_file()):
        raise UserError(f"{folder} is not empty and no report; nothing was written there, choose another folder with output=FOLDER")
    with atomic_folder(folder) as scratch:
        parts = calibration_report.page(calibration, scored.scheme, language) if calibration else []
        figures = [*_figures(evaluation, scored, history, title, language), *_calibrated(parts)]
        figures += _sliced(examination, scored.scheme, language)
        pictures = [
            Picture(task, kind, plots.save(figure, scratch / (f"{task}_{kind}" if task else kind))[0]) for task, kind, figure in figures
        ]
        (scratch / FIGURES).write_text(evaluation.to_json(), encoding="utf-8")
        write_predictions(scratch / PREDICTIONS, scored)
        extras = []
        if calibration is not None:
            (scratch / CALIBRATION).write_text(calibration.to_json(), encoding="utf-8")
            extras.append(CALIBRATION)
        if examination is not None:
            (scratch / EXAMINATION).write_text(examination.to_json(), encoding="utf-8")
            extras.append(EXAMINATION)
        content = _Content(evaluation, scored, tuple(pictures), tuple(parts), examination)
        (scratch / PAGE).write_text(_page(content, language, title, details or {}), encoding="utf-8")
    names = (PAGE, FIGURES, PREDICTIONS, *extras)
    return [*(folder / name for name in names), *(folder / picture.path.name for picture in pictures)]


def _figures(
    evaluation: EvaluationResult, scored: ScoredSplit, history: Sequence[Mapping[str, float]], title: str, language: str
) -> Iterator[tuple[str, str, Figure]]:
    for name in evaluation.tasks:
        task = scored.scheme[name]
        if task.kind == "single":
            yield name, "confusion", plots.confusion(evaluation, task, language)
        yield name, "per_label", plots.per_label(evaluation, task, language)
        yield name, "distribution", plots.distribution(evaluation, task, language)
        if name in evaluation.phenomena:
            yield name, "phenomena", plots.phenomena(evaluation, task, language)
    if history:
        yield "", "curves", plots.curves(history, title, language, scored.scheme)


def _calibrated(parts: Sequence[Part]) -> Iterator[tuple[str, str, Figure]]:
    for part in parts:
        if part.figure is not None:
            yield part.task, part.kind, part.figure


def _sliced(examination: ErrorAnalysis | None, scheme: Scheme, language: str) -> Iterator[tuple[str, str, Figure]]:
    for name, rows in (examination.slices.tasks if examination else {}).items():
        if any(row.verdict != "few" for row in rows):
            yield name, "slices", slice_plots.differences(examination.slices, scheme, scheme[name], language)  # type: ignore[union-attr]


def _page(content: _Content, language: str, title: str, details: Mapping[str, str]) -> str:
    import jinja2

    source = resources.files("haltung.evaluation.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined).from_string(
        source
    )
    evaluation, scheme = content.evaluation, content.scored.scheme
    examination = content.examination
    return template.render(
        language=language,
        word=lambda name: word(name, language),
        title=title or place(evaluation.corpus, evaluation.split, language),
        place=place(evaluation.corpus, evaluation.split, language),
        size=tables.size(evaluation, language),
        warnings=tables.told(evaluation, language),
        headline=tables.headline(evaluation, scheme, language),
        sections=[_section(content, name, language) for name in evaluation.tasks],
        calibration=next((part.grid for part in content.calibration if part.kind == "calibration"), None),
        gap=number(examination.explanation_gap, language, 2) if examination and examination.explanation_gap is not None else "",
        masking=reliance.table(examination.reliance, scheme, language) if examination else None,
        curves=next((_inlined(picture, language) for picture in content.pictures if picture.kind == "curves"), None),
        details={**details, word("scheme", language): f"{evaluation.scheme} ({evaluation.scheme_digest})"},
    )


def _tile(title: str, figures: TaskMetrics, figure: str, language: str) -> tuple[str, str, str, str]:
    """Return a figure's name, the figure, its interval ("" where it has none) and the baseline."""
    value, baseline = number(getattr(figures, figure), language), number(getattr(figures.majority, figure), language)
    interval = figures.intervals.get(figure)
    return title, value, tables.brackets(interval, language) if interval else "", baseline


def _section(content: _Content, name: str, language: str) -> dict[str, Any]:
    evaluation, scheme, examination = content.evaluation, content.scored.scheme, content.examination
    task, figures = scheme[name], evaluation.tasks[name]
    found = examination.mistakes if examination else None
    cards = mistake_cards.cards(found.mistakes, task, language) if found else []
    grids = {part.kind: part.grid for part in content.calibration if part.task == name and part.grid is not None}
    by_kind = {picture.kind: _inlined(picture, language) for picture in content.pictures if picture.task == name}
    return {
        "name": name,
        "title": task.title(language),
        "grid": tables.per_label(figures, task, language),
        "headline": [
            _tile(word("macro_f1", language), figures, "macro_f1", language),
            _tile(_accuracy(figures.kind, language), figures, "accuracy", language),
        ],
        "phenomena": tables.phenomena(evaluation.phenomena[name], task, language) if name in evaluation.phenomena else None,
        "pictures": [by_kind[kind] for kind in ("phenomena", "confusion", "per_label", "distribution") if kind in by_kind],
        "calibration": [by_kind[kind] for kind in ("reliability", "coverage_risk") if kind in by_kind],
        "abstention": grids.get("abstention"),
        "slices": slices.table(examination.slices, scheme, task, language) if examination and name in examination.slices.tasks else None,
        "slice_plot": by_kind.get("slices"),
        "wrong": found.wrong.get(name, 0) if found else 0,
        "cards": cards,
        "filters": mistake_cards.filters(scheme, cards),
        "pairs": mistake_cards.pairs(found.confusions, task, language) if found else [],
        "doubts": mistake_cards.doubts(found.issues, task, language) if found else [],
    }


def _accuracy(kind: str, language: str) -> str:
    return word("accuracy" if kind == "single" else "subset_accuracy", language)


def _inlined(picture: Picture, language: str) -> tuple[str, str]:
    return f"data:image/png;base64,{base64.b64encode(picture.path.read_bytes()).decode()}", word(picture.kind, language)
