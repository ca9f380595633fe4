"""Exports of doccano's text classification projects: JSONL."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from haltung.corpus.parsing.fields import Fields, check_columns
from haltung.corpus.parsing.lines import MAX_LINE_BYTES, existing, json_rows
from haltung.corpus.parsing.rows import Fault, Intake, Reading, Skip, SourceRow, check_unique
from haltung.corpus.parsing.votes import POLICIES, LabelNames, settle
from haltung.errors import UserError, kind, one_of
from haltung.labels import Scheme


@dataclass(frozen=True)
class Doccano:
    """JSONL with a flat list of labels: ``{"id": 1, "text": "…", "label": ["stance/warning", …]}``.

    Older exports (``labels`` or ``cats``, and ``data`` for the text) are read too. All tasks share
    one list of ``labels`` (see ``LabelNames``). Without collaborative annotation there is one file
    per annotator: give them all as ``path``, and ``annotators`` decides (see ``settle``). Lines
    without labels are dropped (``unlabelled``).
    """

    path: str | tuple[str, ...] | list[str]
    columns: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] | None = None
    annotators: str = "first"
    on_error: str = "stop"
    max_line_bytes: int = MAX_LINE_BYTES

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``)."""
        paths = [self.path] if isinstance(self.path, str) else list(self.path)
        if not paths:
            raise UserError("path is empty; expected a file, or the files of several annotators")
        return tuple(existing(path) for path in paths)

    def read(self, scheme: Scheme) -> Reading:
        """Read all lines (see ``Reader``)."""
        one_of("annotators", self.annotators, POLICIES)
        names = LabelNames(scheme, self.labels)
        columns = check_columns(self.columns, scheme)
        files = self.files()
        intake = Intake(scheme, ", ".join(map(str, files)), self.on_error)
        examples: dict[str, list[SourceRow]] = {}
        for path in files:
            seen: dict[str, str] = {}
            for row in json_rows(path, max_line_bytes=self.max_line_bytes):
                with intake.row(row):
                    id = Fields(row.fields(), columns).word("id") or row.made_id
                    # Across files the same id is the same example; inside one file it is a mistake.
                    check_unique("id", id, row.where, seen, "one file has each example once")
                    examples.setdefault(id, []).append(replace(row, made_id=id))
        for rows in examples.values():
            first = rows[0]
            with intake.row(first):
                labels = settle([names.answers(_labels(row.data)) for row in rows], scheme, self.annotators)
                is_older = "text" not in columns and "text" not in first.data and "data" in first.data
                fields = Fields(first.data, {**columns, "text": "data"} if is_older else columns)
                intake.add(fields.segment(scheme, first, labels))
        return intake.reading()


def _labels(data: Mapping[str, object]) -> list[object]:
    key = next((key for key in ("label", "labels", "cats") if key in data), None)
    if key is None:
        raise Skip("unlabelled", "it has no 'label'")
    value = data[key]
    labels = value if isinstance(value, list) else [] if value is None else [value]
    for label in labels:
        if isinstance(label, list | Mapping):
            found = f"a label is {kind(label)} ({label}); this is an export of spans"
            raise Fault("wrong_type", f"{found}, expected one of text classification")
    return labels
