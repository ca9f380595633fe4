"""Labels that are likely wrong, with reasons: a page, a sheet to correct, and rows to relabel."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from haltung.corpus.parsing.rows import Reading
from haltung.errors import UserError
from haltung.evaluation.error_analysis.analysis import label_issues, mistakes
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report.agreement import write_open
from haltung.evaluation.report.page import rendered, report_folder
from haltung.experiments.explain import explained
from haltung.experiments.labelling.suggest import text_vectors
from haltung.experiments.labelling.suggest import write as write_tasks
from haltung.models import bundle
from haltung.records import Segment

PAGE, SHEET, ROWS = "issues.html", "issues.xlsx", "issues.jsonl"
EXPLAINED = 20  # issues get word weights for the model's label; the sentence is read again for each word


def write(
    folder: Path, split: ScoredSplit, segments: Sequence[Segment], n: int, language: str, details: Mapping[str, str],
    judges: Mapping[Path, Collection[str]],
) -> int:  # fmt: skip
    """Write up to ``n`` labels of a corpus that contradict its out-of-fold predictions, the
    likeliest errors first; return their number.

    The sheet has all segments, the doubtful ones first, without the labels in doubt. ``judges``
    maps the folds' bundles to the ids that each has not been trained on. Raises ``UserError`` if
    the segments differ from those of ``split``, or as ``report_folder``.
    """
    rows, known = {id: row for row, id in enumerate(split.ids)}, {one.id: one for one in segments}
    if rows.keys() != known.keys():
        raise UserError("the corpus has changed since the run was made; train it again, with folds=5")
    corpus = [known[id] for id in split.ids]
    found = [one for task in split.tasks for one in label_issues(split, corpus, task, n)]
    found = sorted(found, key=lambda one: one.quality)[:n]
    vectors, shown = text_vectors([one.text for one in corpus]), []
    for one in found:
        row, values = rows[one.id], split.probabilities[one.task][rows[one.id]]
        likely = [(split.scheme[one.task].ids[label], float(values[label])) for label in (-values).argsort()[:3]]
        near = (other for other in (vectors @ -vectors[row].T).toarray().ravel().argsort() if split.groups[other] != split.groups[row])
        others = (corpus[other] for other in near)
        shown.append((one, likely, list(islice((other for other in others if other.labels.get(one.task)), 3))))
    asked = {(one.task, one.id) for one in found[:EXPLAINED]}
    wrong = [one for task in split.tasks for one in mistakes(split, corpus, task, len(split)) if (one.task, one.id) in asked]
    judged = (explained(bundle.load(path), corpus, [own for own in wrong if own.id in ids]) for path, ids in judges.items())
    reasons = {(one.task, one.id): one for some in judged for one in some}  # with word weights for the label that the fold's model gave
    votes = {id: {"before": dict(one.labels), "model": dict(one.labels)} for id, one in known.items()}
    for one in found:
        votes[one.id]["model"][one.task] = one.suggested
        known[one.id] = replace(known[one.id], labels={**known[one.id].labels, one.task: None})
    with report_folder(folder, PAGE, "list of issues", language) as scratch:
        page = rendered("issues.html.j2", language, {}, shown=shown, reasons=reasons, split=split, details=details)
        (scratch / PAGE).write_text(page, encoding="utf-8")
        doubtful = list(dict.fromkeys(one.id for one in found))
        write_open(scratch / SHEET, Reading(tuple(known.values()), votes=votes), ("before", "model"), split.tasks, doubtful)
        write_tasks(scratch / ROWS, [known[id] for id in doubtful], split.scheme, "jsonl")
    return len(found)
