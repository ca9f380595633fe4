"""A challenge set: minimal pairs that differ in one thing and, because of it, in their label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from haltung.corpus.parsing.fields import Fields, kind
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, json_rows, jsonl_files
from haltung.corpus.parsing.rows import Fault, Intake, Reading, Row
from haltung.labels import Scheme

_SIDES = ("a", "b")


@dataclass(frozen=True)
class Pairs:
    """A JSONL file, or a folder of them: ``{"pair", "phenomenon", "context", "segments": [{"text", "topic", "stance", "dyads"}, {…}]}``.

    A pair's id becomes the ``article`` of its two segments and the phenomenon their ``genre``, so that evaluation can count by pair
    and by phenomenon. All of it is test: nobody trains on a challenge set.
    """

    path: str
    source: str = "challenge"
    on_error: str = "stop"
    max_line_bytes: int = MAX_LINE_BYTES

    def files(self) -> tuple[Path, ...]:
        """The files that are read, by name.

        Raises:
            UserError: there is none.
        """
        return jsonl_files(self.path, "minimal pairs")

    def read(self, scheme: Scheme) -> Reading:
        """Read both segments of all pairs.

        Raises:
            UserError: a file, pair or segment is broken, a pair's id stands twice, or a label is not of the scheme.
        """
        intake = Intake(scheme, self.path, self.on_error)
        seen: dict[str, str] = {}
        for path in self.files():
            for row in json_rows(path, max_line_bytes=self.max_line_bytes):
                with intake.row(row.where, row.made_id):
                    self._pair(row, seen, intake)
        return intake.reading()

    def _pair(self, row: Row, seen: dict[str, str], intake: Intake) -> None:
        pair = Fields(row.fields(), {})
        id, phenomenon = pair.word("pair"), pair.text("phenomenon").strip()
        if not id:
            raise Fault("missing_field", "no 'pair'; every pair needs an id of its own")
        if seen.setdefault(id, row.where) != row.where:
            raise Fault("duplicate_id", f"the pair '{id}' stands already at {seen[id]}; every pair needs an id of its own", id)
        if not phenomenon:
            raise Fault("missing_field", "no 'phenomenon'; every pair names what its two segments differ in", id)
        segments = row.data.get("segments")
        if not isinstance(segments, list) or len(segments) != len(_SIDES):
            found = f"a list of {len(segments)}" if isinstance(segments, list) else kind(segments)
            raise Fault("wrong_type", f"'segments' is {found}; expected a list of two segments", id)
        read = []
        for side, segment in zip(_SIDES, segments, strict=True):
            if not isinstance(segment, Mapping):
                raise Fault("wrong_type", f"segment {side} is {kind(segment)}; expected an object", id)
            common = {"id": f"{id}-{side}", "article": id, "genre": phenomenon, "source": self.source, "split": "test"}
            data = {**segment, **common, "context": pair.text("context").strip()}
            try:
                read.append(Fields(data, {}).segment(intake.scheme, f"{row.where}, segment {side}", f"{id}-{side}"))
            except Fault as fault:
                raise Fault(fault.reason, f"segment {side}: {fault.detail}", id) from None
        for segment_ in read:
            intake.add(segment_)
