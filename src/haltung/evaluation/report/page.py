"""The report of an evaluation: a folder with metrics, predictions, plots, and one HTML page."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung import files
from haltung.errors import UserError
from haltung.evaluation.error_analysis.analysis import ERROR_ANALYSIS, ErrorAnalysis, Mistake
from haltung.evaluation.metrics.calibration import CalibrationReport
from haltung.evaluation.metrics.results import EvaluationResult, TaskMetrics
from haltung.evaluation.predictions import ScoredSplit, write_predictions
from haltung.evaluation.report import plots, style, tables
from haltung.evaluation.report.i18n import brackets, checked, count, number, split_title, word
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS, CALIBRATION, PREDICTIONS, PAGE = "evaluation.json", "calibration.json", "predictions.parquet", "report.html"
# How many of a task's most frequent confusions have a button.
_CONFUSIONS = 12


@dataclass(frozen=True)
class _Content:
    """What a page is made of, but for the plots."""

    result: EvaluationResult
    scheme: Scheme
    calibration: CalibrationReport | None
    analysis: ErrorAnalysis | None
    language: str


def write(
    folder: Path, result: EvaluationResult, split: ScoredSplit, *, language: str = "en", history: Sequence[Mapping[str, float]] = (),
    title: str = "", details: Mapping[str, str] | None = None, calibration: CalibrationReport | None = None,
    analysis: ErrorAnalysis | None = None,
) -> list[Path]:  # fmt: skip
    """Write the report and return its files: page, metrics, predictions, and plots as PNG.

    The folder appears whole or not at all, and replaces an older report there. ``title`` is what
    was evaluated, such as the run's name; ``details`` are facts for the foot of the page. Further
    parts are the training's curves of ``history`` (see ``plots.curves``), reliability and
    coverage against risk of ``calibration``, and slices, masked names and errors of ``analysis``.

    Raises ``UserError`` if the language is unknown, or the folder has something else in it.
    """
    checked(language)
    check_replaceable(folder, METRICS, "report")
    with files.atomic_folder(folder) as scratch:
        content = _Content(result, split.scheme, calibration, analysis, language)
        saved = {(task, kind): style.save(figure, scratch / f"{task}_{kind}") for task, kind, figure in _figures(content)}
        if history:
            saved["", "curves"] = style.save(plots.curves(history, title, language, split.scheme), scratch / "curves")
        texts = {PAGE: _page(content, saved, title, details or {}), METRICS: result.to_json()}
        texts |= {CALIBRATION: calibration.to_json()} if calibration else {}
        texts |= {ERROR_ANALYSIS: analysis.to_json()} if analysis else {}
        for name, text in texts.items():
            (scratch / name).write_text(text, encoding="utf-8")
        write_predictions(scratch / PREDICTIONS, split)
    return [folder / name for name in (*texts, PREDICTIONS, *(path.name for path in saved.values()))]


def check_replaceable(folder: Path, file: str, content: str) -> None:
    """Raise ``UserError`` if a folder has anything but a report, known by its ``file``, in it."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / file).is_file()):
        raise UserError(f"{folder} is not empty and no {content}; nothing was written there, choose another folder with output=FOLDER")


def rendered(template: str, language: str, **values: Any) -> str:
    """Return a page made of a template; ``word`` in it returns a word in the language."""
    return files.rendered("haltung.evaluation.report", template, language=language, word=lambda key: word(key, language), **values)


def inlined(plot: Path) -> str:
    """Return a PNG as a ``data:`` URI, so that the page needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(plot.read_bytes()).decode()}"


def _figures(content: _Content) -> Iterator[tuple[str, str, Figure]]:
    """Yield the plots of all tasks, each with its task and kind."""
    result, calibration, analysis, language = content.result, content.calibration, content.analysis, content.language
    for name in result.tasks:
        task = content.scheme[name]
        if task.kind == "single":
            yield name, "confusion", plots.confusion(result, task, language)
        yield name, "per_label", plots.per_label(result, task, language)
        yield name, "distribution", plots.distribution(result, task, language)
        if name in result.phenomena:
            yield name, "phenomena", plots.phenomena(result, task, language)
        if calibration is not None and name in calibration.tasks:
            yield name, "reliability", plots.reliability(calibration, task, language)
            if name in calibration.abstention:
                yield name, "coverage_risk", plots.coverage_risk(calibration, task, language)
        if analysis is not None and any(row.verdict != "few" for row in analysis.slices.tasks.get(name, ())):
            yield name, "slices", plots.slices(analysis.slices, content.scheme, task, language)


def _page(content: _Content, saved: Mapping[tuple[str, str], Path], title: str, details: Mapping[str, str]) -> str:
    result, scheme, analysis, language = content.result, content.scheme, content.analysis, content.language
    subtitle = split_title(result.corpus, result.split, language)
    curves = saved.get(("", "curves"))
    return rendered(
        "report.html.j2", language, title=title or subtitle, split_title=subtitle, size=tables.size(result, language),
        warnings=tables.warnings(result, language), headline=tables.headline(result, scheme, language),
        dyads=tables.dyads({"model": result.dyads}, language) if result.dyads else None,
        dyad_phenomena=tables.dyad_phenomena(result, language),
        sections=[_section(content, saved, name) for name in result.tasks],
        calibration=tables.calibration(content.calibration, scheme, language) if content.calibration else None,
        gap=number(analysis.explanation_gap, language, 2) if analysis and analysis.explanation_gap is not None else "",
        masking=tables.name_sensitivity(analysis.name_sensitivity, scheme, language) if analysis else None,
        curves=(inlined(curves), word("curves", language)) if curves else None,
        details={**details, word("scheme", language): f"{result.scheme} ({result.scheme_digest})"},
        count=count, number=number, coloured=_coloured,
    )  # fmt: skip


def _section(content: _Content, saved: Mapping[tuple[str, str], Path], name: str) -> dict[str, Any]:
    """Return the part of the page about one task; ``saved`` are the plots by task and kind."""
    result, scheme, language = content.result, content.scheme, content.language
    task, metrics = scheme[name], result.tasks[name]
    mistakes = content.analysis.mistakes if content.analysis else None
    listed = [one for one in mistakes.mistakes if one.task == name] if mistakes else []
    abstention = content.calibration.abstention.get(name) if content.calibration else None
    slices = content.analysis.slices if content.analysis else None
    accuracy = "accuracy" if metrics.kind == "single" else "subset_accuracy"
    return {
        "name": name, "title": task.title(language), "names": {label.id: label.name(language) for label in task.labels},
        "per_label": tables.per_label(metrics, task, language),
        "tiles": [_tile("macro_f1", "macro_f1", metrics, language), _tile(accuracy, "accuracy", metrics, language)],
        "phenomena": tables.phenomena(result.phenomena[name], task.title(language), language) if name in result.phenomena else None,
        "plots": {kind: (inlined(path), word(kind, language)) for (of, kind), path in saved.items() if of == name},
        "abstention": tables.abstention(abstention, task, language) if abstention and abstention.points else None,
        "slices": tables.slices(slices, scheme, task, language) if slices and name in slices.tasks else None,
        "wrong": mistakes.wrong.get(name, 0) if mistakes else 0, "mistakes": listed,
        "filters": {side: _options(listed, task, side) for side in ("gold", "predicted")},
        "confusions": [one for one in mistakes.confusions if one.task == name][:_CONFUSIONS] if mistakes else [],
        "issues": [one for one in mistakes.issues if one.task == name] if mistakes else [],
    }  # fmt: skip


def _tile(title: str, metric: str, metrics: TaskMetrics, language: str) -> tuple[str, str, str, str]:
    """Return a metric's name, its value, its interval ("" where it has none) and the baseline."""
    value, baseline = number(getattr(metrics, metric), language), number(getattr(metrics.majority, metric), language)
    interval = metrics.intervals.get(metric)
    return word(title, language), value, brackets(interval, language) if interval else "", baseline


def _options(mistakes: Sequence[Mistake], task: Task, side: str) -> list[tuple[str, ...]]:
    """Return what a filter chooses from: the labels that some mistake has on this side."""
    order = {(label,): position for position, label in enumerate(task.ids)}
    return sorted(dict.fromkeys(getattr(one, side) for one in mistakes), key=lambda labels: order.get(labels, len(order)))


def _coloured(mistake: Mistake, part: str) -> Iterator[tuple[str, float]]:
    """Cut a part's text at its weighted words; the text between them has the weight 0."""
    text, end = getattr(mistake, part), 0
    for span in sorted((span for span in mistake.words if span.part == part), key=lambda span: span.start):
        start = max(end, span.start)
        yield text[end:start], 0.0
        if span.end > start:
            yield text[start : span.end], span.weight
        end = max(end, span.end)
    yield text[end:], 0.0
