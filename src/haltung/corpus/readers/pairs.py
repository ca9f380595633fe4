"""A challenge set: minimal pairs that differ in one thing and, because of it, in their label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from haltung.corpus.parsing.fields import Fields, kind
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, json_rows, jsonl_files
from haltung.corpus.parsing.rows import Fault, Intake, Reading, SourceRow, check_unique
from haltung.labels import Scheme

_SIDES = ("a", "b")


@dataclass(frozen=True)
class Pairs:
    """JSONL: ``{"pair", "phenomenon", "context", "segments": [{"text", "topic", …}, {…}]}``.

    ``path`` is a file or a folder of files. A pair's id becomes the ``article`` of its two segments
    and the phenomenon their ``genre``, so that evaluation can count by pair and by phenomenon. All
    of it is test: nobody trains on a challenge set.
    """

    path: str
    source: str = "challenge"
    on_error: str = "stop"
    max_line_bytes: int = MAX_LINE_BYTES

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``), by name."""
        return jsonl_files(self.path, "minimal pairs")

    def read(self, scheme: Scheme) -> Reading:
        """Read both segments of all pairs (see ``Reader``)."""
        intake = Intake(scheme, self.path, self.on_error)
        seen: dict[str, str] = {}
        for path in self.files():
            for row in json_rows(path, max_line_bytes=self.max_line_bytes):
                with intake.row(row.where, row.made_id):
                    self._add_pair(row, seen, intake)
        return intake.reading()

    def _add_pair(self, row: SourceRow, seen: dict[str, str], intake: Intake) -> None:
        pair = Fields(row.fields(), {})
        id, phenomenon = pair.word("pair"), pair.text("phenomenon").strip()
        if not id:
            raise Fault("missing_field", "no 'pair'; every pair needs a unique id")
        check_unique("pair", id, row.where, seen, "every pair needs a unique id")
        if not phenomenon:
            raise Fault("missing_field", "no 'phenomenon'; every pair names the difference of its two segments", id)
        segments = row.data.get("segments")
        if not isinstance(segments, list) or len(segments) != len(_SIDES):
            found = f"a list of {len(segments)}" if isinstance(segments, list) else kind(segments)
            raise Fault("wrong_type", f"'segments' is {found}; expected a list of two segments", id)
        both = []
        for side, segment in zip(_SIDES, segments, strict=True):
            if not isinstance(segment, Mapping):
                raise Fault("wrong_type", f"segment {side} is {kind(segment)}; expected an object", id)
            common = {"id": f"{id}-{side}", "article": id, "genre": phenomenon, "source": self.source, "split": "test"}
            data = {**segment, **common, "context": pair.text("context").strip()}
            try:
                both.append(Fields(data, {}).segment(intake.scheme, f"{row.where}, segment {side}", f"{id}-{side}"))
            except Fault as fault:
                raise Fault(fault.reason, f"segment {side}: {fault.detail}", id) from None
        # Added only now: a pair with one broken segment is dropped as a whole.
        for made in both:
            intake.add(made)
