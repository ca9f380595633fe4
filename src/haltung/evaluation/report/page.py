"""The report of an evaluation: a folder with metrics, predictions, plots, and one HTML page."""

import base64
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from haltung import files
from haltung.errors import UserError
from haltung.evaluation.error_analysis.analysis import ERROR_ANALYSIS, ErrorAnalysis, Mistake
from haltung.evaluation.metrics.calibration import CalibrationReport
from haltung.evaluation.metrics.results import EvaluationResult, TaskMetrics
from haltung.evaluation.predictions import ScoredSplit, write_predictions
from haltung.evaluation.report import plots, style, tables
from haltung.evaluation.report.i18n import brackets, checked, count, estimate, glossary, number, split_title, word

METRICS, CALIBRATION, PREDICTIONS, PAGE = "evaluation.json", "calibration.json", "predictions.parquet", "report.html"
_MOST_CONFUSED = 12  # number of confusions with a button on the page


def write(
    folder: Path, result: EvaluationResult, split: ScoredSplit, *, language: str = "en", history: Sequence[Mapping[str, float]] = (),
    title: str = "", details: Mapping[str, str] | None = None, calibration: CalibrationReport | None = None,
    analysis: ErrorAnalysis | None = None, without_texts: Path | None = None,
) -> list[Path]:  # fmt: skip
    """Write the report and return its files: page, metrics, predictions, and plots as PNG.

    The folder is written atomically and replaces an older report. ``title`` names what was
    evaluated, such as the run; ``details`` are facts for the foot of the page. Optional parts are
    training curves from ``history`` (see ``plots.curves``), reliability and abstention from
    ``calibration``, and slices, masked names and errors from ``analysis``. A copy of the report, in
    which the errors have ids instead of texts, is also written to the new folder ``without_texts``.

    Raises ``UserError`` if the language is unknown, or the folder has other contents.
    """
    scheme = split.scheme
    with report_folder(folder, METRICS, "report", language) as scratch:
        figures = plots.of_tasks(result, scheme, calibration, language)
        saved = {(task, kind): style.save(figure, scratch / f"{task}_{kind}") for task, kind, figure in figures}
        if history:
            saved["", "curves"] = style.save(plots.curves(history, title, language, scheme), scratch / "curves")
        facts = {**(details or {}), word("scheme", language): f"{result.scheme} ({result.scheme_digest})"}
        page = partial(
            rendered, "report.html.j2", language, saved, title=title, result=result, scheme=scheme, calibration=calibration,
            details=facts, tables=tables, coloured=_coloured, confused=_confused,
        )  # fmt: skip
        write_predictions(scratch / PREDICTIONS, split)
        texts = {PAGE: "", METRICS: result.to_json()} | ({CALIBRATION: calibration.to_json()} if calibration else {})
        both = [(scratch, analysis)]
        if without_texts:
            both.insert(0, (shutil.copytree(scratch, without_texts), analysis and analysis.without_texts()))
        for to, shown in both:
            texts |= {PAGE: page(analysis=shown)} | ({ERROR_ANALYSIS: shown.to_json()} if shown else {})
            for name, text in texts.items():
                (to / name).write_text(text, encoding="utf-8")
    return [folder / name for name in (*texts, PREDICTIONS, *(path.name for path in saved.values()))]


@contextmanager
def report_folder(folder: Path, file: str, content: str, language: str) -> Iterator[Path]:
    """Yield a hidden folder that replaces ``folder`` when the block ends (see ``atomic_folder``).

    Raises ``UserError`` if the language is unknown, or ``folder`` is not empty and lacks ``file``.
    """
    checked(language)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / file).is_file()):
        raise UserError(f"{folder} is not empty and has no {content}; nothing was written there, choose another folder with output=FOLDER")
    with files.atomic_folder(folder) as scratch:
        yield scratch


def rendered(template: str, language: str, plots: Mapping[Any, Path], **values: Any) -> str:
    """Return a page rendered from a template, with functions for words and numbers in ``language``.

    ``plots`` are embedded as ``data:`` URIs (``images`` in the template): the page is one file.
    """
    spoken = {one.__name__: partial(one, language=language) for one in (word, number, count, brackets, estimate, split_title)}
    images = {of: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" for of, path in plots.items()}
    return files.rendered(
        "haltung.evaluation.report", template, language=language, images=images, glossary=glossary(language), **spoken, **values
    )


def _confused(metrics: TaskMetrics) -> list[tuple[int, str, str]]:
    """Return the count, gold label and predicted label of the most frequent confusions."""
    names = [label.label for label in metrics.labels]
    counts = [(n, gold, label) for gold, row in zip(names, metrics.confusion, strict=False) for label, n in zip(names, row, strict=True)]
    return sorted((one for one in counts if one[0] and one[1] != one[2]), key=lambda one: -one[0])[:_MOST_CONFUSED]


def _coloured(mistake: Mistake, part: str) -> Iterator[tuple[str, float]]:
    """Split a part's text at its weighted words; the text between them has weight 0."""
    text, end = getattr(mistake, part), 0
    for span in sorted((span for span in mistake.words if span.part == part), key=lambda span: span.start):
        start = max(end, span.start)
        yield text[end:start], 0.0
        if span.end > start:
            yield text[start : span.end], span.weight
        end = max(end, span.end)
    yield text[end:], 0.0
