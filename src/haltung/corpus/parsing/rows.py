"""The interface of a reader, its rows, and how faulty rows are handled."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from haltung.errors import UserError, listed, one_of
from haltung.labels import Scheme
from haltung.records import Segment

# Names of splits in sources → our names.
SPLITS = {"train": "train", "dev": "dev", "test": "test", "valid": "dev", "validation": "dev", "val": "dev"}


@dataclass(frozen=True)
class Dropped:
    """A row that does not reach the corpus.

    ``where`` is its position ("file, line 3"), ``reason`` a fixed name that is counted
    (``empty_text``), ``detail`` what exactly is wrong; ``id`` may be "".
    """

    id: str
    where: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Reading:
    """The whole of a source, in its order."""

    segments: tuple[Segment, ...]
    dropped: tuple[Dropped, ...] = ()


class Reader(Protocol):
    """A source of segments: a frozen dataclass whose fields ``configs/corpus/NAME.yaml`` sets."""

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read; none for a data set of the hub.

        They decide whether a prepared corpus is current. ``UserError``: one is missing or empty.
        """

    def read(self, scheme: Scheme) -> Reading:
        """Read everything.

        Raises ``UserError`` if a setting is invalid, a file is missing or broken, a row is broken
        (with ``on_error="stop"``), an id is used twice, or a label is not in the scheme.
        """


def source_files(reader: Reader) -> tuple[Path, ...]:
    """Return the files of a reader, which may be the user's own class.

    Raises ``UserError`` if it has no ``files()``: a change of its source would go unnoticed.
    """
    if not callable(getattr(reader, "files", None)):
        found = f"the reader {type(reader).__name__} has no method files()"
        raise UserError(f"{found}; let it return the paths of the files that it reads, () if there are none")
    return tuple(Path(path) for path in reader.files())


class Fault(Exception):
    """A row that cannot be used: a short ``reason`` that is counted, a sentence as ``detail``."""

    def __init__(self, reason: str, detail: str, id: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.id = reason, detail, id


class Skip(Fault):
    """A row that its source sets aside (rejected, not yet labelled, a tie): dropped, no error."""


@dataclass(frozen=True)
class SourceRow:
    """One row of a source: position, id and split if the data have none; data, or fault and raw."""

    where: str
    made_id: str
    data: Mapping[str, object]
    fault: Fault | None = None
    split: str = ""
    raw: object = ""

    def fields(self) -> Mapping[str, object]:
        """Return the row's data, or raise the ``Fault`` for which they could not be read."""
        if self.fault is not None:
            raise self.fault
        return self.data


class Intake:
    """Collects the segments of a source; ``on_error``: faulty rows ``stop`` it, or ``drop``."""

    def __init__(self, scheme: Scheme, source: str, on_error: str = "stop") -> None:
        self.scheme = scheme
        self._source = source
        self._stops = one_of("on_error", str(on_error), ("stop", "drop")) == "stop"
        self._segments: list[Segment] = []
        self.dropped: list[Dropped] = []
        self._seen: dict[str, str] = {}

    @contextmanager
    def row(self, row: SourceRow) -> Iterator[None]:
        """Record a ``Fault`` of one row, or raise ``UserError`` if faults stop the reading."""
        try:
            yield
        except Fault as fault:
            if self._stops and not isinstance(fault, Skip):
                raise UserError(f"{row.where}: {fault.detail}") from None
            self.dropped.append(Dropped(fault.id or row.made_id, row.where, fault.reason, fault.detail))

    def add(self, segment: Segment) -> None:
        """Add a segment, or raise a ``Fault`` if its id has been used before."""
        check_unique("id", segment.id, segment.where, self._seen, "every row needs a unique id, or none at all")
        self._segments.append(segment)

    def reading(self, hint: str = "") -> Reading:
        """Return all segments and dropped rows.

        Raises ``UserError`` if there was no row, or (with ``hint``) no label for any task.
        """
        if not self._segments and not self.dropped:
            raise UserError(f"{self._source} has no rows; expected at least one")
        if self._segments and not any(answer is not None for segment in self._segments for answer in segment.labels.values()):
            found = f"{self._source} has no label for any task of the scheme {self.scheme.name} ({listed(self.scheme.names)})"
            raise UserError(found + (hint and f"; {hint}"))
        return Reading(tuple(self._segments), tuple(self.dropped))


def check_unique(what: str, id: str, where: str, seen: dict[str, str], hint: str) -> None:
    """Record ``where`` an id is used, or raise a ``Fault`` if it has been used elsewhere."""
    first = seen.setdefault(id, where)
    if first != where:
        raise Fault("duplicate_id", f"the {what} '{id}' is already used at {first}; {hint}", id)
