"""Exports of doccano's text classification projects: JSONL."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from haltung.corpus.parsing.fields import Fields, check_columns
from haltung.corpus.parsing.lines import json_rows
from haltung.corpus.parsing.rows import Fault, Intake, Reading, Skip, SourceRow, check_unique
from haltung.corpus.parsing.votes import AnnotationExport, settle
from haltung.errors import kind
from haltung.labels import Scheme


@dataclass(frozen=True)
class Doccano(AnnotationExport):
    """JSONL with a flat list of labels: ``{"id": 1, "text": "…", "label": ["stance/warning", …]}``.

    Older exports (``labels`` or ``cats``, and ``data`` for the text) are read too. All tasks share
    one list of labels. Without collaborative annotation there is one file per annotator: give them
    all as ``path`` (see ``AnnotationExport``). Lines without labels are dropped (``unlabelled``).
    """

    def read(self, scheme: Scheme) -> Reading:
        """Read all lines (see ``Reader``)."""
        names, columns, files = self.names(scheme), check_columns(self.columns, scheme), self.files()
        intake = Intake(scheme, ", ".join(map(str, files)), self.on_error)
        examples: dict[str, list[SourceRow]] = {}
        for path in files:
            seen: dict[str, str] = {}
            for row in json_rows(path):
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
