"""Inter-coder agreement as tables, a page, and a workbook of the disagreements to settle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from haltung.corpus.parsing.rows import Reading
from haltung.evaluation.metrics.agreement import Agreement, Coefficient, differing
from haltung.evaluation.report.documents import write_workbook
from haltung.evaluation.report.i18n import word
from haltung.evaluation.report.page import rendered, report_folder
from haltung.evaluation.report.plots import course, matrix
from haltung.evaluation.report.style import save
from haltung.evaluation.report.tables import Cell, Grid, grid
from haltung.files import atomic_file
from haltung.labels import Scheme, Task
from haltung.records import TEXT_COLUMNS, label_ids

DATA, PAGE = "agreement.json", "agreement.html"
_FEW_ARTICLES = 20
_cell: Callable[[Coefficient], Cell] = attrgetter("value", "interval")


def grids(result: Agreement, scheme: Scheme, language: str = "en") -> list[Grid]:
    """Return one table of all tasks, then a table of labels for each task."""
    kappa = "cohen" if len(result.coders) == 2 else "fleiss"
    rows = [(scheme[name].title(language), *map(_cell, one.measures.values()), one.n, one.complete) for name, one in result.tasks.items()]
    columns = ("task", "percent_agreement", "alpha_nominal", kappa, "segments", "coded_by_all")
    out = [grid(f"{result.corpus}: {', '.join(result.coders)}", columns, rows, language)]
    for name, task in result.tasks.items():
        cells = [(*map(_cell, one.values()), *counts) for one, *counts in zip(task.labels.values(), *task.counts.values(), strict=True)]
        labels = [(label.name(language), *row) for label, row in zip(scheme[name].labels, cells, strict=True)]
        last: tuple[Cell, ...] = (word("missing", language), "", "", *task.missing.values())
        title = f"{scheme[name].title(language)} {word('per_label', language)}"
        table = grid(title, ("label", "specific_agreement", "alpha_of_label"), [*labels, last], language)
        out.append(replace(table, columns=table.columns + result.coders))
    return out


def notes(result: Agreement, language: str = "en") -> list[str]:
    """Return the notes needed to read the tables."""
    out, fewest = [word("agreement_explained", language)], min(task.articles for task in result.tasks.values())
    unit = word("segments" if result.alone else "articles", language)
    out += [word("agreement_alone", language)] if result.alone else []
    return out + ([word("agreement_few_articles", language, articles=fewest, unit=unit)] if fewest < _FEW_ARTICLES else [])


def write(folder: Path, result: Agreement, scheme: Scheme, language: str = "en", details: Mapping[str, str] | None = None) -> None:
    """Write page, JSON and plots: confusion (of single-label tasks) and the course of coding.

    The folder is replaced as in ``page.write``, with the same ``UserError``; ``details`` are facts
    for the foot of the page.
    """
    sides = result.coders if len(result.coders) == 2 else (word("a_coder", language), word("another_coder", language))
    with report_folder(folder, DATA, "agreement", language) as scratch:
        figures = {}
        for name, task in result.tasks.items():
            if task.confusion:
                figures[name, "confusion"] = matrix(task.confusion, scheme[name], sides, result.corpus, language)
            if task.course:
                figures[name, "course"] = course(task, scheme[name], result.corpus, language)
        plots = {of: save(figure, scratch / "_".join(of)) for of, figure in figures.items()}
        page = rendered(
            "agreement.html.j2", language, plots, result=result, scheme=scheme, grids=grids(result, scheme, language), sides=sides,
            notes=notes(result, language), details=details or {},
        )  # fmt: skip
        for name, text in {PAGE: page, DATA: result.to_json()}.items():
            (scratch / name).write_text(text, encoding="utf-8")


def write_open(path: Path, reading: Reading, coders: Sequence[str], tasks: Sequence[Task], first: Sequence[str] = ()) -> int:
    """Write all coded segments to a workbook, those to settle first; return the number to settle.

    Each task has a column of its name, with the label if the coders agree, else empty. The unread
    columns of the source follow. ``first`` are ids of segments to settle that precede the others,
    in their order.
    """
    import pandas as pd

    segments, rows = {segment.id: segment for segment in reading.segments}, []
    fields = [name for name in (*TEXT_COLUMNS, "position") if any(getattr(one, name) not in ("", None) for one in segments.values())]
    open_ = dict.fromkeys([*first, *(id for task in tasks for id in differing(reading, task))])
    for id in open_ | dict.fromkeys(reading.votes):
        rows.append({name: getattr(segments[id], name) for name in fields})
        for task in tasks:
            votes = {coder: "; ".join(label_ids(vote.get(task.name))) for coder, vote in reading.votes[id].items()}
            rows[-1] |= {coder if len(tasks) == 1 else f"{task.name} {coder}": votes.get(coder, "") for coder in coders}
            rows[-1][task.name] = "".join(agreed) if len(agreed := {label for label in votes.values() if label}) == 1 else ""
        rows[-1] |= {name: cell for name, cell in reading.others.get(id, {}).items() if name not in rows[-1]}
    with atomic_file(path) as scratch:
        write_workbook(scratch, {"settle": pd.DataFrame(rows)}, {task.name: {"": "#FFF2CC"} for task in tasks})
    return len(open_)
