"""Exports of Label Studio's classification projects as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from haltung.corpus.parsing.fields import Fields, check_columns
from haltung.corpus.parsing.lines import MAX_DOCUMENT_BYTES, document_rows
from haltung.corpus.parsing.rows import Fault, Intake, Reading, Skip, SourceRow
from haltung.corpus.parsing.votes import AnnotationExport, settle, shares
from haltung.errors import UserError, kind, listed, nearest
from haltung.labels import Scheme


@dataclass(frozen=True)
class LabelStudio(AnnotationExport):
    """An export as JSON, not JSON-MIN (see ``AnnotationExport``).

    ``tasks`` maps our tasks to the ``name`` of a ``<Choices>`` in the labelling interface
    (``from_name`` in the export) if they differ; ``columns`` has keys of the items' ``data``.
    Cancelled annotations and predictions are ignored; if there is ground truth, it alone counts.
    """

    path: str
    tasks: Mapping[str, str | None] = field(default_factory=dict)
    max_bytes: int = MAX_DOCUMENT_BYTES

    def read(self, scheme: Scheme) -> Reading:
        """Read all items (see ``Reader``); ``UserError`` if no ``<Choices>`` belongs to a task."""
        names, columns = self.names(scheme), check_columns(self.columns, scheme)
        (path,) = self.files()
        rows = list(document_rows(path, "a Label Studio export as JSON, which is a list of items", self.max_bytes))
        if any(row.data and "data" not in row.data for row in rows):
            raise UserError(f"{path} has items without 'data', so this is Label Studio's JSON-MIN; export JSON")
        tasks = _tasks(path, self.tasks, scheme, rows)
        intake, times = Intake(scheme, str(path), self.on_error), dict[str, str]()
        for read in rows:
            row = read if read.data.get("id") is None else replace(read, made_id=str(read.data["id"]))
            with intake.row(row):
                item = row.fields()
                counted = _counted(item)
                chosen = [_results(entry) for entry in counted]
                votes = [{task: names.within(task, vote[name]) for task, name in tasks.items() if name in vote} for vote in chosen]
                labels = settle(votes, scheme, self.annotators)
                if not isinstance(data := item.get("data"), Mapping):
                    raise Fault("wrong_type", f"'data' is {kind(data)}; expected an object")
                # What the user imported, with the item's id if no ``id`` is mapped.
                fields = Fields(data if "id" in columns else {**data, "id": item.get("id")}, columns)
                segment = fields.segment(scheme, row, labels, shares(votes, scheme, self.annotators))
                intake.add(segment, dict(zip(_coders(counted), votes, strict=False)))
                times[segment.id] = max(str(entry.get("created_at") or "") for entry in counted)
        return replace(intake.reading(), times=times)


def _coders(counted: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the annotators' ids, in order; none unless all are known and distinct."""
    by = [entry.get("completed_by") for entry in counted]
    coders = {str(one.get("id") if isinstance(one, Mapping) else one): None for one in by}
    return list(coders) if len(coders) == len(by) and "None" not in coders else []


def _counted(item: Mapping[str, object]) -> list[Mapping[str, Any]]:
    """Return the annotations of a JSON item that count; raise ``Skip`` if none does."""
    annotations = item.get("annotations", item.get("completions"))
    if annotations is not None and not isinstance(annotations, list):
        raise Fault("wrong_type", f"'annotations' is {kind(annotations)}; expected a list")
    if not (made := [entry for entry in annotations or () if isinstance(entry, Mapping)]):
        raise Skip("unlabelled", "it has no annotation")
    if not (valid := [entry for entry in made if not entry.get("was_cancelled") and not entry.get("skipped")]):
        raise Skip("cancelled", "all its annotations were cancelled")
    return [entry for entry in valid if entry.get("ground_truth")] or valid


def _results(entry: object) -> Mapping[str, list[object]]:
    """Return the choices made in an annotation, by the name of each answered ``<Choices>``."""
    results = entry.get("result") if isinstance(entry, Mapping) else None
    chosen: dict[str, list[object]] = {}
    for result in results if isinstance(results, list) else ():
        value = result.get("value") if isinstance(result, Mapping) else None
        if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
            chosen.setdefault(str(result.get("from_name")), []).extend(value["choices"])
    return chosen


def _tasks(path: Path, mapped: Mapping[str, str | None], scheme: Scheme, rows: Sequence[SourceRow]) -> dict[str, str]:
    """Return each task's ``<Choices>`` name; ``UserError`` if a mapped one, or each, is missing."""
    given = {task: name for task, name in mapped.items() if name}
    annotations = (row.data.get("annotations", row.data.get("completions")) for row in rows)
    found = dict.fromkeys(name for made in annotations if isinstance(made, list) for entry in made for name in _results(entry))
    for task, name in given.items():
        scheme[task]  # raises if it lacks the task
        if name not in found:
            raise UserError(f"{path}: no choices called '{name}' (for {task}){nearest(name, found)}; there are {listed(found)}")
    tasks = {task: given.get(task, task) for task in scheme.names}
    if found and found.keys().isdisjoint(tasks.values()):
        wrong = f"no choices have the name of a task in the scheme {scheme.name} ({listed(scheme.names)})"
        raise UserError(f"{path}: {wrong}; there are {listed(found)}; map them with tasks: {{{scheme.names[0]}: NAME}}")
    return tasks
