"""Add a model's answers to a user's sheet as new columns, written as Excel, CSV or Parquet."""

import datetime as dt
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.rows import Fault, RowFaults, SourceRow
from haltung.corpus.readers.sheet import Sheet
from haltung.errors import UserError, listed, writing
from haltung.evaluation.metrics import classification
from haltung.evaluation.metrics.results import TaskMetrics
from haltung.evaluation.predictions import score
from haltung.evaluation.report import style
from haltung.evaluation.report.documents import plain, write_workbook
from haltung.evaluation.report.i18n import word
from haltung.events.records import COLUMNS, ArticleEvents
from haltung.experiments.predict import Labeller, Window, cells_of, windows
from haltung.files import atomic_file, csv_cell
from haltung.labels import STANCE, Scheme, Task
from haltung.records import Answer, Prediction

if TYPE_CHECKING:
    import pandas as pd

KINDS = (".xlsx", ".csv", ".tsv", ".parquet")
NEW = ["events", "dyads"]  # columns of a sheet of articles
_MOST_ROWS, _LONGEST = 1_048_575, 32_767  # Excel's limits: rows below the header, and characters per cell


@dataclass(frozen=True)
class OpenSheet:
    """A sheet that was read: rows, unchanged cells, the columns of our fields, and the output."""

    sheet: Sheet
    to: Path
    rows: Sequence[SourceRow]
    frame: "pd.DataFrame"
    columns: Mapping[str, str]

    @cached_property
    def window(self) -> Window:
        """The segments of the rows, and the rows that have none."""
        # Rows are identified by number: a column named id often identifies a person.
        return next(windows(self.rows, sys.maxsize, {**self.columns, "id": ""}))

    def check_free(self, new: Iterable[str]) -> None:
        """Raise ``UserError`` if the sheet has columns of these names already."""
        if taken := [name for name in new if name in self.frame]:
            raise UserError(f"{self.sheet.path} already has columns {listed(taken)}, which results are written to; rename or delete them")

    def label(self, labeller: Labeller, scheme: Scheme, language: str) -> dict[str, TaskMetrics]:
        """Write the sheet with a model's answers; return metrics of tasks that have a column."""
        import pandas as pd

        names = {task.name: f"{task.name}_predicted" if task.name in self.frame else task.name for task in scheme}
        # All answers have the same columns: a name that is taken is found with the first one.
        (first,) = map(_said, labeller(self.window.segments[:1], False))
        self.check_free(names.get(name, name) for name in first)
        found = list(labeller(self.window.segments, sys.stderr.isatty()))
        said = pd.DataFrame([_said(one) for one in found], index=[number for number, row in enumerate(self.window.rows) if row])
        counted = ((task.title(language), said[task.name], said[f"{task.name}_probability"]) for task in scheme)
        pages = {"sheet_figures": _figures(counted, language)}
        metrics = self._metrics(scheme, [Prediction(one["id"], {}, one["probabilities"]) for one in found])
        against = [
            [scheme[task].title(language), word(name, language), getattr(one, name), one.n]
            + [getattr(one.intervals.get(name), end, None) for end in ("low", "high")]
            for task, one in metrics.items()
            for name in ("accuracy", "macro_f1")
        ]
        if against:
            pages["sheet_metrics"] = _headed(pd.DataFrame(against), ("task", "metric", "value", "segments", "low", "high"), language)
        self._write(said.rename(columns=names), {names[task.name]: task for task in scheme}, pages, language)
        return metrics

    def add_events(self, found: Mapping[str, ArticleEvents], scheme: Scheme, language: str) -> None:
        """Write the sheet with the events of its articles, ``found`` by location of their rows."""
        import pandas as pd

        read = [found.get(row.where) for row in self.rows]
        cells = [{"events": len(one.events), "dyads": _arrows(map(vars, one.events))} if one else {} for one in read]
        events = pd.DataFrame([[getattr(event, name) for name in COLUMNS] for one in read if one for event in one.events], columns=COLUMNS)
        figures = _figures([(scheme[STANCE].title(language), events["stance"], events["probability"])], language)
        new = pd.DataFrame(cells, columns=NEW, dtype=object)
        self._write(new, {}, {"sheet_events": events, "sheet_figures": figures}, language)

    def _gold(self, row: SourceRow, task: Task) -> Answer:
        with suppress(Fault):
            return Fields(row.data, self.columns, self.sheet.list_separator).answer(task)
        return None

    def _metrics(self, scheme: Scheme, predictions: Sequence[Prediction]) -> dict[str, TaskMetrics]:
        tasks = [task for task in scheme if task.name in self.columns]
        gold = [{task.name: self._gold(row, task) for task in tasks} for row in self.window.rows if row]
        scored = score([replace(one, labels=labels) for one, labels in zip(self.window.segments, gold, strict=True)], predictions, scheme)
        return dict(classification.with_intervals(classification.evaluate(scored), scored).tasks) if scored.tasks else {}

    def _write(self, new: "pd.DataFrame", tasks: Mapping[str, Task], pages: Mapping[str, "pd.DataFrame"], language: str) -> None:
        frame, kind = self.frame.join(new), self.to.suffix.lower()
        with writing(self.to), atomic_file(self.to) as scratch:
            if kind == ".xlsx":
                named = {word(name, language): page for name, page in pages.items()}
                colours = {column: style.tint(task) for column, task in tasks.items()}
                write_workbook(scratch, {word("sheet_texts", language): frame, **named}, colours)
            elif kind == ".parquet":
                frame.apply(_of_one_type).to_parquet(scratch, index=False)
            else:
                separator = "\t" if kind == ".tsv" else self.sheet.delimiter()
                plain = frame.map(partial(_plain, separator=separator)).rename(columns=partial(_plain, separator=separator))
                plain.to_csv(scratch, sep=separator, index=False, encoding="utf-8-sig", lineterminator="\r\n")


def open_sheet(sheet: Sheet, to: Path) -> OpenSheet:
    """Read a sheet; ``UserError`` if it can't be read, or ``to`` is no file that can hold it."""
    import pandas as pd

    if to.suffix.lower() not in KINDS:
        raise UserError(f"{to} can't be used for a labelled sheet; name it output=FILE.xlsx, FILE.csv, FILE.tsv or FILE.parquet")
    opened, columns = sheet.opened()
    rows = list(opened)
    if faults := [(row.where, "", row.fault.detail) for row in rows if row.fault]:
        raise RowFaults(faults)
    if to.suffix.lower() == ".xlsx":
        long = next((row.where for row in rows for cell in row.data.values() if len(str(cell)) > _LONGEST), "")
        if len(rows) > _MOST_ROWS or long:
            found = f"{long} has a cell of more than {_LONGEST:,} characters" if long else f"{sheet.path} has {len(rows):,} rows"
            raise UserError(f"{found}, which a workbook can't hold; name output=FILE.csv or FILE.parquet")
    return OpenSheet(sheet, to, rows, pd.DataFrame([row.raw for row in rows], dtype=object), columns)


def _said(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as the cells of a row."""
    out: dict[str, Any] = {}
    for name, cell in cells_of(SourceRow("", "", {"id": ""}), answer).items():
        out[name] = round(cell, 4) if isinstance(cell, float) else cell
        if "abstained" in answer and name.endswith("_probability"):
            task = name.removesuffix("_probability")
            out[f"{task}_abstained"] = task in answer["abstained"]
    return out | ({"dyads": _arrows(answer["dyads"])} if "dyads" in answer else {})


def _arrows(dyads: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(dict.fromkeys(f"{one['source'] or '–'} → {one['target'] or '–'}: {one['stance']}" for one in dyads))


def _figures(given: Iterable[tuple[str, "pd.Series[Any]", "pd.Series[Any]"]], language: str) -> "pd.DataFrame":
    """Return count, share and mean probability of each label, the most frequent first."""
    import pandas as pd

    parts = []
    for title, labels, probabilities in given:
        part = probabilities.astype(float).groupby(labels.fillna(word("abstained", language))).agg(["size", "mean"])
        part.insert(1, "share", part["size"] / max(1, len(labels)))
        parts.append(part.sort_values("size", ascending=False).rename_axis("label").reset_index().assign(task=title))
    heads = ("task", "label", "size", "share", "mean")
    return _headed(pd.concat(parts)[list(heads)], heads, language)


def _headed(frame: "pd.DataFrame", names: Iterable[str], language: str) -> "pd.DataFrame":
    return frame.set_axis([word(f"sheet_{name}", language) for name in names], axis=1)


def _of_one_type(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column in a form that Parquet can hold: mixed numbers and text become text."""
    import pyarrow as pa

    try:
        pa.array(cells, from_pandas=True)
    except (pa.ArrowException, OverflowError):
        return cells.map(str, na_action="ignore")
    return cells


def _plain(cell: Any, separator: str) -> str:
    """Return a CSV cell, never a formula, with a decimal comma if the separator is ``;``."""
    if cell is None or cell != cell:
        return ""
    text = str(plain(cell)).removesuffix(" 00:00:00") if isinstance(cell, dt.datetime) else str(plain(cell))
    if isinstance(cell, float):
        return text.removesuffix(".0").replace(".", "," if separator == ";" else ".")
    return str(csv_cell(text))
