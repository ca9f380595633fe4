"""What has been run: a row for each run, with macro-F1 by task, filtered and sorted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from haltung.errors import UserError, listed, nearest
from haltung.tracking import RunRecord, Store
from haltung.tracking.read import RunFilter
from haltung.tracking.read import list_runs as stored_runs

STATUSES = ("running", "finished", "failed", "killed", "pruned")

_COLUMNS = ("when", "name", "kind", "corpus", "seed", "status")


@dataclass(frozen=True)
class RunRow:
    """One run. ``dev`` and ``test`` are macro-F1 by task.

    Of a run over several seeds they are the mean, of a cross-validation ``test`` is that of the
    out-of-fold predictions. ``parent`` is the run that it is a part of, or "".
    """

    name: str
    id: str
    when: str
    kind: str
    corpus: str
    seed: str
    status: str
    parent: str
    dev: Mapping[str, float]
    test: Mapping[str, float]


def list_runs(store: Store, wanted: RunFilter, sort: str = "when", parts: bool = True) -> list[RunRow]:
    """Return the runs that pass a filter, whose status is one of ``STATUSES``, or "".

    ``sort`` is a column, a task (its macro-F1 on dev), or ``test.TASK``. Metrics come largest
    first, times newest first; runs without the metric come last. ``parts``: whether to list runs
    that are parts of others, such as seeds. Raises ``UserError`` if there is no such store, column
    or task.
    """
    # MLflow knows a pruned trial as a killed one.
    rows = [_row(record) for record in stored_runs(store, replace(wanted, status=wanted.status.replace("pruned", "killed")))]
    rows = [row for row in rows if wanted.status in ("", row.status) and (parts or not row.parent)]
    return _sorted(rows, sort)


def tasks_of(rows: Sequence[RunRow]) -> list[tuple[str, str]]:
    """Return the splits and tasks that the rows have metrics of, such as ``("dev", "stance")``."""
    return [(split, task) for split in ("dev", "test") for task in sorted({name for row in rows for name in getattr(row, split)})]


def _row(record: RunRecord) -> RunRow:
    tags = record.tags
    corpus = tags.get("haltung.corpus", "")
    status = "pruned" if "haltung.pruned" in tags else record.status.lower()
    dev, *others = (_macro_f1(record.metrics, split) for split in ("dev", "test", f"{corpus}.test", "folds"))
    test = next((metrics for metrics in others if metrics), {})
    seed = record.params.get("seed", "")
    return RunRow(record.name, record.id, record.started, record.kind, corpus, seed, status, record.parent, dev, test)


def _macro_f1(metrics: Mapping[str, float], split: str) -> dict[str, float]:
    """Return macro-F1 by task: ``dev/stance_macro_f1``, of seeds ``dev/stance/macro_f1/mean``."""
    single, mean = re.compile(rf"{re.escape(split)}/(\w+)_macro_f1"), re.compile(rf"{re.escape(split)}/(\w+)/macro_f1/mean")
    values = {match[1]: value for pattern in (mean, single) for key, value in metrics.items() if (match := pattern.fullmatch(key))}
    return dict(sorted(values.items()))


def _sorted(rows: Sequence[RunRow], by: str) -> list[RunRow]:
    split, _, task = by.rpartition(".")
    tasks = sorted({name for row in rows for name in (*row.dev, *row.test)})
    if by == "when":
        return sorted(rows, key=lambda row: row.when, reverse=True)
    if by in _COLUMNS:
        return sorted(rows, key=lambda row: str(getattr(row, by)))
    if split not in ("", "dev", "test") or (rows and task not in tasks):
        allowed = (*_COLUMNS, *tasks, *(f"test.{name}" for name in tasks))
        raise UserError(f"sort is '{by}'{nearest(by, allowed)}; allowed are {listed(allowed)}")
    return sorted(rows, key=lambda row: -getattr(row, split or "dev").get(task, float("-inf")))
