"""How a reader takes in its rows: what a faulty row is, whether it stops the reading or is dropped, and what makes a reading whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from haltung.corpus.parsing.reading import Dropped, Reading
from haltung.errors import UserError, listed, nearest
from haltung.labels import Scheme
from haltung.records import Segment

ON_ERROR = ("stop", "drop")


class Fault(Exception):
    """A row that cannot be used. ``reason`` is a short fixed name that is counted, ``detail`` a sentence for a person."""

    def __init__(self, reason: str, detail: str, id: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.id = id


class Skip(Fault):
    """A row that its source itself sets aside (rejected, not yet labelled, a tie): dropped and counted, never an error."""


@dataclass(frozen=True)
class Row:
    """One row of a source: where it stands, an id for it where it brings none, and its data, or why they cannot be read."""

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
    """Gathers the segments of one source. ``on_error`` says what a faulty row does: ``stop`` the reading, or ``drop`` out of it."""

    def __init__(self, scheme: Scheme, source: str, on_error: str = "stop") -> None:
        if on_error not in ON_ERROR:
            raise UserError(f"on_error is '{on_error}'{nearest(str(on_error), ON_ERROR)}; allowed are {listed(ON_ERROR)}")
        self.scheme = scheme
        self._source = source
        self._stops = on_error == "stop"
        self._segments: list[Segment] = []
        self._dropped: list[Dropped] = []
        self._seen: dict[str, str] = {}

    @contextmanager
    def row(self, where: str, id: str = "") -> Iterator[None]:
        """Guard what is done with one row.

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
        """Take the segment in.

        Raises:
            Fault: its id has been used before.
        """
        first = self._seen.setdefault(segment.id, segment.where)
        if first != segment.where:
            raise Fault(
                "duplicate_id",
                f"the id '{segment.id}' stands already at {first}; every row needs an id of its own, or none at all",
                segment.id,
            )
        self._segments.append(segment)

    def reading(self, hint: str = "") -> Reading:
        """Return what was gathered.

        Args:
            hint: what to do where no task has a label at all.

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
