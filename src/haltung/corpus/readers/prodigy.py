"""Exports of Prodigy's classification recipes (``prodigy db-out``): JSONL."""

from collections.abc import Mapping
from dataclasses import dataclass

from haltung.corpus.parsing.fields import Fields, check_columns
from haltung.corpus.parsing.lines import json_rows
from haltung.corpus.parsing.rows import Fault, Intake, Reading, Skip, SourceRow
from haltung.corpus.parsing.votes import AnnotationExport, settle
from haltung.errors import kind, listed, nearest
from haltung.labels import Scheme

ANSWERS = ("accept", "reject", "ignore")


@dataclass(frozen=True)
class Prodigy(AnnotationExport):
    """JSONL of ``textcat.manual`` and ``choice``, or of a binary recipe (see ``AnnotationExport``).

    The former list the chosen options in ``accept``, the latter has ``label`` and ``answer``. Lines
    with the same ``_input_hash`` are one text: those of one annotator (``_annotator_id`` or
    ``_session_id``) add up, so that topic and stance may be annotated one after the other. Lines
    answered ``reject`` or ``ignore`` are dropped as ``rejected`` and ``ignored``: that a label is
    wrong does not say which is right.
    """

    path: str

    def read(self, scheme: Scheme) -> Reading:
        """Read all lines (see ``Reader``)."""
        names, columns = self.names(scheme), check_columns(self.columns, scheme)
        (path,) = self.files()
        intake = Intake(scheme, str(path), self.on_error)
        # text -> annotator -> (first line, labels)
        texts: dict[object, tuple[SourceRow, dict[str, list[object]]]] = {}
        for row in json_rows(path):
            with intake.row(row):
                data = row.fields()
                accepted = _accepted(data)
                given = data.get("_input_hash")
                key = ("hash", given) if isinstance(given, int | str) else ("line", row.where)
                first, annotators = texts.setdefault(key, (row, {}))
                if data.get("text") != first.data.get("text"):
                    raise Fault("same_hash", f"the _input_hash {given} is already used at {first.where} with another text")
                annotator = str(data.get("_annotator_id") or data.get("_session_id") or "")
                annotators.setdefault(annotator, []).extend(accepted)
        for row, annotators in texts.values():
            with intake.row(row):
                labels = settle([names.answers(dict.fromkeys(chosen)) for chosen in annotators.values()], scheme, self.annotators)
                intake.add(Fields(row.data, columns).segment(scheme, row, labels))
        return intake.reading()


def _accepted(data: Mapping[str, object]) -> list[object]:
    """Return the labels that a line accepts; raise ``Skip`` if its text was rejected or ignored."""
    given = data.get("answer", "accept")
    if given not in ANSWERS:
        raise Fault("wrong_answer", f"the answer is {given!r}{nearest(str(given), ANSWERS)}; Prodigy's are {listed(ANSWERS)}")
    if given != "accept":
        raise Skip("rejected" if given == "reject" else "ignored", f"the annotator's answer is {given}")
    if "accept" in data:
        chosen = data["accept"]
        # Some versions write a single choice as a string.
        chosen = [chosen] if isinstance(chosen, str) else chosen
        if not isinstance(chosen, list):
            raise Fault("wrong_type", f"'accept' is {kind(chosen)}; expected a list of options")
    elif data.get("label") is not None:
        chosen = [data["label"]]
    else:
        raise Fault("missing_field", f"neither 'accept' nor 'label'; this line has {listed(data)}; expected an export of textcat or choice")
    if not all(isinstance(label, str) for label in chosen):
        raise Fault("wrong_type", f"'accept' is {chosen}; expected a list of label names")
    return chosen
