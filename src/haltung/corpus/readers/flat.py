"""Exports with one flat list of labels per text, from doccano and Prodigy (``db-out``)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from haltung.corpus.parsing.fields import Fields, check_columns
from haltung.corpus.parsing.lines import json_rows
from haltung.corpus.parsing.rows import Fault, Intake, Reading, Skip, SourceRow
from haltung.corpus.parsing.votes import AnnotationExport, settle, shares
from haltung.errors import kind, listed, nearest, short
from haltung.labels import Scheme

ANSWERS = ("accept", "reject", "ignore")


@dataclass(frozen=True)
class FlatLabels(AnnotationExport):
    """JSONL with a line per text, or per answer of an annotator: ``{"text", "label": […]}``.

    ``chosen`` are the columns that may have the labels; the first one in a line counts. Lines with
    the same ``key`` are one text. The annotator is the first value in the columns ``annotator``,
    or else the file. Lines of one annotator are merged, so that topic and stance may be annotated
    separately; several annotators are settled (see ``AnnotationExport``). Lines without labels are
    dropped (``unlabelled``), as are Prodigy's with the answer ``reject`` or ``ignore``
    (``rejected``, ``ignored``): a wrong label does not say which one is right.
    """

    chosen: tuple[str, ...] | list[str] = ("label", "labels", "cats")
    key: str = "id"
    annotator: tuple[str, ...] | list[str] = ()

    def read(self, scheme: Scheme) -> Reading:
        """Read all lines (see ``Reader``)."""
        names, columns, files = self.names(scheme), check_columns(self.columns, scheme), self.files()
        intake = Intake(scheme, ", ".join(map(str, files)), self.on_error)
        # key -> first line, its fields, labels by annotator
        texts: dict[str, tuple[SourceRow, Fields, dict[str, list[object]]]] = {}
        for path in files:
            for row in json_rows(path):
                with intake.row(row):
                    data = row.fields()
                    is_older = "text" not in columns and "text" not in data and "data" in data  # an older doccano export
                    fields = Fields(data, {**columns, "text": "data"} if is_older else columns)
                    labels, row = self._labels(data), replace(row, made_id=fields.word("id") or row.made_id)
                    id = fields.word(self.key) or row.made_id
                    first, its_fields, annotators = texts.setdefault(id, (row, fields, {}))
                    if fields.get("text") != its_fields.get("text"):
                        raise Fault("duplicate_id", f"the {self.key} '{short(id)}' is already used at {first.where} with another text", id)
                    annotator = next((str(data[name]) for name in self.annotator if data.get(name)), str(path))
                    annotators.setdefault(annotator, []).extend(labels)
        for row, fields, annotators in texts.values():
            with intake.row(row):
                votes = {annotator: names.answers(dict.fromkeys(labels)) for annotator, labels in annotators.items()}
                several = (list(votes.values()), scheme, self.annotators)
                intake.add(fields.segment(scheme, row, settle(*several), shares(*several)), votes)
        return intake.reading()

    def _labels(self, data: Mapping[str, object]) -> list[object]:
        """Return a line's labels; raise ``Skip`` without a label column, or if not accepted."""
        answer = data.get("answer", "accept") if "accept" in self.chosen else "accept"
        if answer not in ANSWERS:
            raise Fault("wrong_answer", f"the answer is '{short(answer)}'{nearest(str(answer), ANSWERS)}; Prodigy's are {listed(ANSWERS)}")
        if answer != "accept":
            raise Skip("rejected" if answer == "reject" else "ignored", f"the annotator's answer is {answer}")
        if not (columns := [column for column in self.chosen if column in data]):
            raise Skip("unlabelled", f"it has none of the columns {listed(self.chosen)}, only {listed(data)}")
        value = data[columns[0]]
        labels = value if isinstance(value, list) else [] if value is None else [value]
        if spans := [label for label in labels if isinstance(label, list | Mapping)]:
            found = f"a label is {kind(spans[0])} ({short(spans[0])}); this is an export of spans"
            raise Fault("wrong_type", f"{found}, expected one of text classification")
        return labels
