"""The user's files with one segment per row: JSONL, CSV, Parquet."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from haltung.corpus.parsing.fields import Fields, check_columns, check_header
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, csv_rows, existing, json_rows
from haltung.corpus.parsing.rows import SPLITS, Fault, Intake, Reading, RowFaults, SourceRow
from haltung.corpus.parsing.votes import POLICIES, settle, shares
from haltung.errors import UserError, first_line, listed, one_of, short
from haltung.labels import Scheme
from haltung.records import TEXT_COLUMNS

Paths = str | Mapping[str, str]  # a file, or one for each split: {"train": "a.csv", …}
SEPARATORS = {"\\t": "\t", "tab": "\t"}  # a shell passes \t as two characters


@dataclass(frozen=True)
class Table(ABC):
    """Files with one segment per row; ``columns`` maps our fields to theirs if they differ."""

    path: Paths
    columns: Mapping[str, str | None] = field(default_factory=dict)
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``)."""
        return tuple(path for _, path in self.parts())

    def parts(self) -> list[tuple[str, Path]]:
        """Return each file with its split (see ``split_files``)."""
        return split_files(self.path)

    def read(self, scheme: Scheme) -> Reading:
        """Read all rows (see ``Reader``)."""
        check_columns(self.columns, scheme)
        annotators = one_of("annotators", getattr(self, "annotators", "error"), POLICIES)
        drops = one_of("on_error", self.on_error, ("stop", "drop")) == "drop"
        files, others = self.parts(), dict[str, Mapping[str, object]]()
        intake = Intake(scheme, ", ".join(str(file) for _, file in files), "drop")
        for split, file in files:
            # Read all rows first: if each row names its columns, only then are all of them known.
            rows = [replace(row, split=split) for row in self.rows(file)]
            header = dict.fromkeys(name for row in rows for name in row.data)
            mapping = self.mapping(list(header), rows)
            unread = header.keys() - mapping.values() - {*TEXT_COLUMNS, *scheme.names}
            if header:
                check_header(file, list(header), mapping)
            for row in rows:
                with intake.row(row):
                    fields = Fields(row.fields(), mapping, getattr(self, "list_separator", ""))
                    votes = fields.votes(scheme) if hasattr(self, "annotators") else {}
                    decided = votes.pop("", {})
                    open_ = [{task: label for task, label in vote.items() if decided.get(task) is None} for vote in votes.values()]
                    labels = settle([decided, *open_], scheme, annotators) if votes else None
                    intake.add(segment := fields.segment(scheme, row, labels, shares(open_, scheme, annotators)), votes)
                    if votes:
                        others[segment.id] = {name: row.data[name] for name in row.data if name in unread}
        if intake.faults and not drops:
            raise RowFaults(intake.faults)
        hint = f"the columns are: {listed(header)}; map one with corpus.reader.columns.{scheme.names[0]}=NAME"
        return replace(intake.reading(hint), others=others)

    def mapping(self, header: Sequence[str], rows: Sequence[SourceRow] = ()) -> dict[str, str]:
        """Return the column of each mapped field; a subclass may use ``header`` and ``rows``."""
        return {key: str(name) for key, name in self.columns.items() if name is not None}

    @abstractmethod
    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""


@dataclass(frozen=True)
class Jsonl(Table):
    """JSONL, one object per line; a multi-label answer is a list. ``path`` may be a folder."""

    encoding: str = "utf-8"
    max_line_bytes: int = MAX_LINE_BYTES

    def parts(self) -> list[tuple[str, Path]]:
        """Return each file with its split; files of a folder are sorted and have none."""
        if not isinstance(self.path, str) or not (folder := Path(self.path).expanduser()).is_dir():
            return super().parts()
        if not (files := sorted(folder.glob("*.jsonl"))):
            raise UserError(f"{folder} has no *.jsonl file; expected at least one, with one object per line")
        return [("", existing(file)) for file in files]

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        return json_rows(path, encoding=self.encoding, max_line_bytes=self.max_line_bytes)


@dataclass(frozen=True)
class Csv(Table):
    """CSV; ``list_separator`` splits multi-label cells, ``names`` replace a missing header."""

    separator: str = ","
    quotechar: str = '"'
    names: tuple[str, ...] | list[str] | None = None
    list_separator: str = ";"
    encoding: str = "utf-8"
    max_line_bytes: int = MAX_LINE_BYTES

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        separator = SEPARATORS.get(self.separator, self.separator)
        rows = csv_rows(path, separator=separator, quotechar=self.quotechar, encoding=self.encoding, max_line_bytes=self.max_line_bytes)
        names = list(self.names) if self.names else None
        for number, cells in rows:
            where = f"{path}, line {number}"
            if names is None:
                if cells[0] == "sep=":  # Excel's directive, which it does not show
                    continue
                names = [cell.strip() for cell in cells]
                check_names(where, names, separator)
                continue
            fault = None
            if len(cells) != len(names):
                fault = Fault("wrong_columns", f"{len(cells)} cells, expected {len(names)} ({listed(names)}) separated by {separator!r}")
            yield SourceRow(where, f"{path.stem}-{number}", {} if fault else dict(zip(names, cells, strict=True)), fault, raw=cells)


@dataclass(frozen=True)
class Parquet(Table):
    """Parquet; labels are strings, multi-label answers lists of strings, dyads lists of structs."""

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=1024):
                    for data in batch.to_pylist():
                        number += 1
                        yield SourceRow(f"{path}, row {number}", f"{path.stem}-{number}", data)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a Parquet file, or damaged after row {number} ({first_line(error)})") from None


def split_files(path: Paths, hint: str = "") -> list[tuple[str, Path]]:
    """Return each file with its split, or ""; ``UserError``, with ``hint``, if one is missing."""
    if not isinstance(path, Mapping):
        return [("", existing(path, hint))]
    if not path:
        raise UserError("path is empty; expected a file, or a file for each split: {train: …, test: …}")
    return [(SPLITS[one_of("a split in path", str(split), SPLITS)], existing(file, hint)) for split, file in path.items()]


def check_names(where: str, names: list[str], separator: str) -> None:
    """Raise ``UserError`` if a header has a name twice, or another separator in its only one."""
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise UserError(f"{where}: the column '{short(twice[0])}' occurs twice in the header ({listed(names)}); give each its own name")
    other = next((mark for mark in ";\t,|" if len(names) == 1 and mark != separator and mark in names[0]), None)
    if other is not None:
        found = f"{where}: the header is a single column, '{short(names[0])}'"
        raise UserError(f"{found}; the separator is {separator!r}, should it be {other!r}?")
