"""A comparison as a folder: one HTML page that holds all of it, and the tables for a paper and for machines."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from haltung.errors import UserError
from haltung.evaluation.comparison import OPEN, Comparison
from haltung.evaluation.report import comparison_plots, comparison_tables, plots
from haltung.evaluation.report.i18n import checked, place, word
from haltung.files import atomic_folder
from haltung.labels import Scheme

DATA, PAGE, MARKDOWN, LATEX = "comparison.json", "comparison.html", "comparison.md", "comparison.tex"
STANDINGS, PAIRS = "leaderboard.csv", "pairs.csv"


def write(
    folder: Path, comparison: Comparison, scheme: Scheme, language: str = "en", details: Mapping[str, str] | None = None
) -> list[Path]:
    """Write the comparison and return its files; the folder appears whole or not at all, and replaces an older comparison there.

    Args:
        folder: becomes the page, Markdown, LaTeX, CSV, JSON, and a forest plot for each task.
        comparison: what was found.
        scheme: names tasks.
        language: of page, Markdown, LaTeX and plots, ``en`` or ``de``.
        details: facts to list at the foot of the page, such as the command and the runs' ids.

    Raises:
        UserError: the language is unknown, or the folder has something other than a comparison in it.
    """
    checked(language)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / DATA).is_file()):
        raise UserError(f"{folder} is not empty and no comparison; nothing was written there, choose another folder with output=FOLDER")
    with atomic_folder(folder) as scratch:
        pictures = {
            task: plots.save(comparison_plots.forest(comparison, task, scheme, language), scratch / f"{task}_forest")[0]
            for task in comparison.tasks
        }
        texts = {
            DATA: comparison.to_json(),
            STANDINGS: comparison_tables.standings_csv(comparison),
            PAIRS: comparison_tables.pairs_csv(comparison),
            MARKDOWN: comparison_tables.markdown(comparison, scheme, language),
            LATEX: comparison_tables.latex(comparison, scheme, language),
            PAGE: _page(comparison, scheme, pictures, language, details or {}),
        }
        for name, text in texts.items():
            (scratch / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts] + [folder / picture.name for picture in pictures.values()]


def _page(comparison: Comparison, scheme: Scheme, pictures: Mapping[str, Path], language: str, details: Mapping[str, str]) -> str:
    import jinja2

    source = resources.files("haltung.evaluation.report").joinpath("comparison.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    sections = [
        {
            "name": task,
            "title": scheme[task].title(language),
            "leaderboard": comparison_tables.leaderboard(comparison, task, scheme, language),
            "pairs": comparison_tables.pairs(comparison, task, scheme, language),
            "verdicts": [(pair.verdict != OPEN, comparison_tables.sentence(pair, comparison, language)) for pair in found.pairs],
            "picture": f"data:image/png;base64,{base64.b64encode(pictures[task].read_bytes()).decode()}",
        }
        for task, found in comparison.tasks.items()
    ]
    return environment.from_string(source).render(
        language=language,
        word=lambda name: word(name, language),
        title=" · ".join(comparison.systems),
        place=place(comparison.corpus, comparison.split, language),
        sections=sections,
        notes=comparison_tables.notes(comparison, language),
        details={**details, word("scheme", language): f"{comparison.scheme} ({comparison.scheme_digest})"},
    )
