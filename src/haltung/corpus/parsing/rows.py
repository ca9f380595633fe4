"""The interface of a reader, its rows, and how faulty rows are handled."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from haltung.errors import UserError, listed, one_of, short
from haltung.labels import Scheme
from haltung.records import Answer, Segment

Votes = Mapping[str, Mapping[str, Answer]]  # the answer of each annotator to each task
MOST_TOLD = 30  # faults shown per source
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
    """The content of a source, in order; ``votes`` maps a segment's id to annotators' answers."""

    segments: tuple[Segment, ...]
    dropped: tuple[Dropped, ...] = ()
    votes: Mapping[str, Votes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was inferred about the source
    others: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # unread columns of segments with votes
    times: Mapping[str, str] = field(default_factory=dict)  # of the last vote, as sortable text, if known
    unlabelled: str = ""  # the message if no segment has a label


class Reader(Protocol):
    """A source of segments: a frozen dataclass whose fields ``configs/corpus/NAME.yaml`` sets."""

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read; none for a data set of the hub.

        They decide if a prepared corpus is current. ``UserError`` if one is missing or empty.
        """

    def read(self, scheme: Scheme) -> Reading:
        """Read everything.

        Raises ``UserError`` if a setting is invalid, a file is missing or broken, a row is broken
        (with ``on_error="stop"``), an id is used twice, or a label is not in the scheme.
        """


def source_files(reader: Reader) -> tuple[Path, ...]:
    """Return a reader's files; ``UserError`` if it lacks ``files()``, needed to detect changes."""
    if not callable(getattr(reader, "files", None)):
        found = f"the reader {type(reader).__name__} has no method files()"
        raise UserError(f"{found}; add one that returns the paths of the files it reads, () if there are none")
    return tuple(Path(path) for path in reader.files())


class Fault(Exception):
    """A row that cannot be used: a short ``reason`` that is counted, a sentence as ``detail``;
    ``cells`` has a sentence for each column at fault, if that is known.
    """

    def __init__(self, reason: str, detail: str, id: str = "", cells: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.id, self.cells = reason, detail, id, cells or {"": detail}


class Skip(Fault):
    """A row that the source itself excludes (rejected, unlabelled, a tie): dropped, no error."""


class RowFaults(UserError):
    """All faults of a source as (place, column or "", sentence), marked in the file ``copy``."""

    def __init__(self, rows: Sequence[tuple[str, str, str]], copy: str = "") -> None:
        more = f"; and {len(rows) - MOST_TOLD:,} more faults" if len(rows) > MOST_TOLD else ""
        marked = f"; marked in {copy}" if copy else ""
        super().__init__("; ".join(f"{where}: {fault}" for where, _, fault in rows[:MOST_TOLD]) + more + marked)
        files = dict.fromkeys(where.rpartition(", ")[0] for where, *_ in rows)
        found = f"{', '.join(files)} {'have' if len(files) > 1 else 'has'} faults in {len({where for where, *_ in rows}):,} rows{marked}"
        self.rows, self.sentence = rows, f"{found}; correct them (prepare and train leave them out with on_error=drop)"

    def lines(self) -> list[str]:
        """Return a table and a summary, or just the sentence of a single fault."""
        file = self.rows[0][0].rpartition(", ")[0]  # rows of another file keep its name
        table = [("", "column", "fault"), *((where.removeprefix(f"{file}, "), *rest) for where, *rest in self.rows[:MOST_TOLD])]
        first, second = (max(len(row[part]) for row in table) for part in (0, 1))
        shown = [f"{where:<{first}}  {column:<{second}}  {fault}" for where, column, fault in table]
        return [*shown, *["…"] * (len(self.rows) > MOST_TOLD), self.sentence] if len(self.rows) > 1 else [str(self)]


@dataclass(frozen=True)
class SourceRow:
    """A row of a source: data, or fault and raw cells; ``made_id`` and ``split`` are fallbacks."""

    where: str
    made_id: str
    data: Mapping[str, object]
    fault: Fault | None = None
    split: str = ""
    raw: object = ""

    def fields(self) -> Mapping[str, object]:
        """Return the row's data, or raise the ``Fault`` that made it unreadable."""
        if self.fault is not None:
            raise self.fault
        return self.data


class Intake:
    """Collects the segments of a source; ``on_error`` is to ``stop`` or ``drop`` faulty rows."""

    def __init__(self, scheme: Scheme, source: str, on_error: str = "stop") -> None:
        self.scheme = scheme
        self._source = source
        self._stops = one_of("on_error", str(on_error), ("stop", "drop")) == "stop"
        self._segments: list[Segment] = []
        self.dropped: list[Dropped] = []
        self.faults: list[tuple[str, str, str]] = []  # all but those of class ``Skip``
        self._votes: dict[str, Votes] = {}
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
            self.faults += [] if isinstance(fault, Skip) else [(row.where, *cell) for cell in fault.cells.items()]

    def add(self, segment: Segment, votes: Votes | None = None) -> None:
        """Add a segment, or raise a ``Fault`` if its id has been used before."""
        check_unique("id", segment.id, segment.where, self._seen, "every row needs a unique id, or none at all")
        self._segments.append(segment)
        self._votes |= {segment.id: votes} if votes else {}

    def reading(self, hint: str = "") -> Reading:
        """Return what was read; ``UserError`` if there is no row."""
        if not self._segments and not self.dropped:
            raise UserError(f"{self._source} has no rows; expected at least one")
        answers = [answer for segment in self._segments for answer in segment.labels.values()]
        unlabelled = ""
        if answers and all(answer is None for answer in answers):
            found = f"{self._source} has no label for any task of the scheme {self.scheme.name} ({listed(self.scheme.names)})"
            unlabelled = found + (hint and f"; {hint}")
        return Reading(tuple(self._segments), tuple(self.dropped), self._votes, unlabelled=unlabelled)


def check_unique(what: str, id: str, where: str, seen: dict[str, str], hint: str) -> None:
    """Record ``where`` an id is used, or raise a ``Fault`` if it has been used elsewhere."""
    if (first := seen.setdefault(id, where)) != where:
        raise Fault("duplicate_id", f"the {what} '{short(id)}' is already used at {first}; {hint}", id)
