"""The user's files with one segment per row: JSONL, CSV and Parquet, with a mapping of columns."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from haltung.corpus.parsing.fields import Fields, check_columns, check_header
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, csv_rows, existing, json_rows
from haltung.corpus.parsing.rows import SPLITS, Fault, Intake, Reading, SourceRow
from haltung.errors import UserError, listed, nearest
from haltung.labels import Scheme

# One file, or one for each split: {"train": "a.csv", "test": "b.csv"}.
Paths = str | Mapping[str, str]


@dataclass(frozen=True)
class _Table(ABC):
    """Files with one segment per row; ``columns`` maps our fields to theirs if they differ."""

    path: Paths
    columns: Mapping[str, str | None] = field(default_factory=dict)
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``)."""
        return tuple(path for _, path in split_files(self.path))

    def read(self, scheme: Scheme) -> Reading:
        """Read all rows (see ``Reader``)."""
        mapping = check_columns(self.columns, scheme)
        files = split_files(self.path)
        intake = Intake(scheme, ", ".join(str(file) for _, file in files), self.on_error)
        all_columns: dict[str, None] = {}
        for split, file in files:
            # Read as a whole first: if each row names its columns, only then all are known.
            rows = [replace(row, split=split) for row in self.rows(file)]
            header = dict.fromkeys(name for row in rows for name in row.data)
            all_columns.update(header)
            if header:
                check_header(file, list(header), mapping)
            for row in rows:
                with intake.row(row):
                    intake.add(Fields(row.fields(), mapping, getattr(self, "list_separator", "")).segment(scheme, row))
        return intake.reading(f"the columns are: {listed(all_columns)}; map one with corpus.reader.columns.{scheme.names[0]}=NAME")

    @abstractmethod
    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""


@dataclass(frozen=True)
class Jsonl(_Table):
    """JSONL, one object per line; a multi-label answer is a list."""

    encoding: str = "utf-8"
    max_line_bytes: int = MAX_LINE_BYTES

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        return json_rows(path, encoding=self.encoding, max_line_bytes=self.max_line_bytes)


@dataclass(frozen=True)
class Csv(_Table):
    """CSV; ``list_separator`` is within multi-label cells, ``names`` stand in for a header."""

    separator: str = ","
    quotechar: str = '"'
    names: tuple[str, ...] | list[str] | None = None
    list_separator: str = ";"
    encoding: str = "utf-8"
    max_line_bytes: int = MAX_LINE_BYTES

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        # A shell passes \t as two characters.
        separator = {"\\t": "\t", "tab": "\t"}.get(self.separator, self.separator)
        rows = csv_rows(path, separator=separator, quotechar=self.quotechar, encoding=self.encoding, max_line_bytes=self.max_line_bytes)
        names = list(self.names) if self.names else None
        for number, cells in rows:
            where = f"{path}, line {number}"
            if names is None:
                names = [cell.strip() for cell in cells]
                _check_names(where, names, separator)
                continue
            fault = None
            if len(cells) != len(names):
                fault = Fault("wrong_columns", f"{len(cells)} cells, expected {len(names)} ({listed(names)}) separated by {separator!r}")
            yield SourceRow(where, f"{path.stem}-{number}", {} if fault else dict(zip(names, cells, strict=True)), fault, raw=cells)


@dataclass(frozen=True)
class Parquet(_Table):
    """Parquet; labels are strings, multi-label answers lists of strings, dyads lists of structs."""

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows of one file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                number = 0
                for batch in file.iter_batches(batch_size=1024):
                    for data in batch.to_pylist():
                        number += 1
                        yield SourceRow(f"{path}, row {number}", f"{path.stem}-{number}", data)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not a Parquet file, or a damaged one ({str(error).splitlines()[0]})") from None
        except UnicodeDecodeError as error:
            found = f"{path}, after row {number}: text that is not UTF-8 (byte 0x{error.object[error.start]:02x})"
            raise UserError(f"{found}; write the file again from UTF-8 text") from None


def split_files(path: Paths, hint: str = "") -> list[tuple[str, Path]]:
    """Return each file with its split, "" if the rows name it or nothing does.

    Raises ``UserError`` if a file is missing or empty (``hint``: where it is) or a split unknown.
    """
    if not isinstance(path, Mapping):
        return [("", existing(path, hint))]
    files = []
    for split, file in path.items():
        if split not in SPLITS:
            raise UserError(f"path: unknown split '{split}'{nearest(str(split), SPLITS)}; allowed are {listed(SPLITS)}")
        files.append((SPLITS[split], existing(file, hint)))
    if not files:
        raise UserError("path is empty; expected a file, or a file for each split: {train: …, test: …}")
    return files


def _check_names(where: str, names: list[str], separator: str) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{where}: the column '{twice[0]}' occurs twice in the header ({listed(names)}); every column needs a unique name")
    other = next((mark for mark in ";\t,|" if len(names) == 1 and mark != separator and mark in names[0]), None)
    if other is not None:
        raise UserError(f"{where}: the header is one single column, '{names[0]}'; the separator is {separator!r}, should it be {other!r}?")
