"""The interface of a reader, its rows, and how faulty rows are handled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from haltung.errors import UserError, listed, one_of
from haltung.labels import Scheme
from haltung.records import Segment

ON_ERROR = ("stop", "drop")


@dataclass(frozen=True)
class Dropped:
    """A row that does not reach the corpus.

    ``id`` may be "", ``where`` is its position ("file, line 3"), ``reason`` a short fixed name that
    is counted (``duplicate``, ``empty_text``, ``mojibake``), ``detail`` what exactly is wrong.
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

        Raises:
            UserError: a file is missing or empty.
        """
        ...

    def read(self, scheme: Scheme) -> Reading:
        """Read everything.

        Raises:
            UserError: a setting is invalid, a file is missing or broken, a row is broken (with
                ``on_error="stop"``), an id is used twice, or a label is not in the scheme.
        """
        ...


class Fault(Exception):
    """A row that cannot be used: a short ``reason`` that is counted, a sentence as ``detail``."""

    def __init__(self, reason: str, detail: str, id: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.id = id


class Skip(Fault):
    """A row that its source sets aside (rejected, not yet labelled, a tie): dropped, no error."""


@dataclass(frozen=True)
class SourceRow:
    """One row of a source: its position, an id to use if it has none, its data or their fault."""

    where: str
    made_id: str
    data: Mapping[str, object]
    fault: Fault | None = None

    def fields(self) -> Mapping[str, object]:
        """Return the row's data.

        Raises:
            Fault: they could not be read.
        """
        if self.fault is not None:
            raise self.fault
        return self.data


class Intake:
    """Collects the segments of one source; a faulty row stops the reading or is dropped.

    Args:
        scheme: of the labels.
        source: name of the source, for messages.
        on_error: ``stop`` or ``drop``, for faulty rows.
    """

    def __init__(self, scheme: Scheme, source: str, on_error: str = "stop") -> None:
        self.scheme = scheme
        self._source = source
        self._stops = one_of("on_error", str(on_error), ON_ERROR) == "stop"
        self._segments: list[Segment] = []
        self._dropped: list[Dropped] = []
        self._seen: dict[str, str] = {}

    @contextmanager
    def row(self, where: str, id: str = "") -> Iterator[None]:
        """Handle a ``Fault`` raised while one row is processed.

        Raises:
            UserError: the row is faulty, and faulty rows stop the reading.
        """
        try:
            yield
        except Fault as fault:
            if self._stops and not isinstance(fault, Skip):
                raise UserError(f"{where}: {fault.detail}") from None
            self._dropped.append(Dropped(fault.id or id, where, fault.reason, fault.detail))

    def add(self, segment: Segment) -> None:
        """Add a segment.

        Raises:
            Fault: its id has been used before.
        """
        check_unique("id", segment.id, segment.where, self._seen, "every row needs a unique id, or none at all")
        self._segments.append(segment)

    def reading(self, hint: str = "") -> Reading:
        """Return all segments and dropped rows.

        Args:
            hint: what to do if no task has a label at all.

        Raises:
            UserError: there was no row at all, or no segment has a label for any task.
        """
        if not self._segments and not self._dropped:
            raise UserError(f"{self._source} has no rows; expected at least one")
        if self._segments and not any(answer is not None for segment in self._segments for answer in segment.labels.values()):
            raise UserError(
                f"{self._source} has no label for any task of the scheme {self.scheme.name} ({listed(self.scheme.names)})"
                + (hint and f"; {hint}")
            )
        return Reading(tuple(self._segments), tuple(self._dropped))


def check_unique(what: str, id: str, where: str, seen: dict[str, str], hint: str) -> None:
    """Record ``where`` an id is used.

    Raises:
        Fault: it has been used elsewhere.
    """
    first = seen.setdefault(id, where)
    if first != where:
        raise Fault("duplicate_id", f"the {what} '{id}' is already used at {first}; {hint}", id)
