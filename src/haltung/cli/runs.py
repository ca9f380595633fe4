"""``haltung runs``: what has been run, filtered and sorted."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from haltung.cli.build import Language, make, typed
from haltung.cli.config import each
from haltung.errors import UserError, listed, nearest, one_of

if TYPE_CHECKING:
    from haltung.tracking import RunRecord, Store

KINDS = ("train", "seeds", "ensemble", "sweep", "trial", "folds", "curve", "compare")
_STATUSES = ("running", "finished", "failed", "killed", "pruned")
_COLUMNS = ("when", "name", "kind", "corpus", "seed", "status")
_WIDTH = 130
_UNITS = {"d": "days", "h": "hours", "w": "weeks"}


@dataclass(frozen=True)
class RunsOptions:
    """The keys of the command."""

    corpus: str | None
    kind: str | None
    name: str | int | None
    since: str | None
    status: str | None
    sort: str
    format: Literal["table", "csv", "json"]
    limit: Annotated[int, Field(ge=1)] | None
    parts: bool
    language: Language


@dataclass(frozen=True)
class RunRow:
    """One run of the list. ``dev`` and ``test`` are macro-F1 by task; of a run over several seeds the mean, of a cross-validation, under
    ``test``, that of the out-of-fold predictions. ``parent`` is the run that it is a part of, or "".
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


def run(arguments: Sequence[str]) -> int:
    """Print the runs that are asked for."""
    # Hydra takes `corpus` for a group, whose choices are files; here it is any name, also of a corpus without a file.
    for request in each("runs", arguments, verbatim=("corpus",), single="each filter takes one value; leave it out to list all"):
        _list(typed(RunsOptions, request.settings), make(request.settings["tracking"], "tracking"))
    return 0


def _list(options: RunsOptions, store: Store) -> None:
    since = _since(options.since, datetime.now(UTC)) if options.since else None
    kind = one_of("kind", options.kind, KINDS) if options.kind else ""
    status = one_of("status", options.status, _STATUSES) if options.status else ""

    from haltung.tracking.read import RunFilter, list_runs

    wanted = RunFilter(
        options.corpus or "", kind, "" if options.name is None else str(options.name), status.replace("pruned", "killed"), since
    )
    rows = [_row(record) for record in list_runs(store, wanted)]
    rows = [row for row in rows if (not status or row.status == status) and (options.parts or not row.parent)]
    shown = _sorted(rows, options.sort)[: options.limit]
    if options.format == "table":
        _table(shown, len(rows), options.language)
    else:
        {"csv": _csv, "json": _json}[options.format](shown)


def _since(text: str, now: datetime) -> datetime:
    """Return a time: an ISO date or date and time (of this machine's zone where it names none), or ``7d``, ``12h``, ``2w`` before now."""
    if found := re.fullmatch(r"(\d{1,4})([dhw])", text):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"since is '{text}'; expected a date such as 2026-01-31, or a span such as 7d, 12h or 2w") from None
    return time if time.tzinfo else time.astimezone()


def _row(record: RunRecord) -> RunRow:
    tags = record.tags
    corpus = tags.get("haltung.corpus", "")
    return RunRow(
        name=record.name,
        id=record.id,
        when=record.started,
        kind=record.kind,
        corpus=corpus,
        seed=record.params.get("seed", ""),
        status="pruned" if "haltung.pruned" in tags else record.status.lower(),
        parent=record.parent,
        dev=_macro(record.metrics, "dev"),
        test=_macro(record.metrics, "test") or _macro(record.metrics, f"{corpus}.test") or _macro(record.metrics, "folds"),
    )


def _macro(metrics: Mapping[str, float], split: str) -> dict[str, float]:
    """Return macro-F1 by task: a run's own figure (``dev/stance_macro_f1``), else its mean over seeds (``dev/stance/macro_f1/mean``)."""
    own = {found[1]: value for key, value in metrics.items() if (found := re.fullmatch(rf"{re.escape(split)}/(\w+)_macro_f1", key))}
    means = {found[1]: value for key, value in metrics.items() if (found := re.fullmatch(rf"{re.escape(split)}/(\w+)/macro_f1/mean", key))}
    return dict(sorted((means | own).items()))


def _sorted(rows: Sequence[RunRow], by: str) -> list[RunRow]:
    """Sort: figures largest first, times newest first, words by the alphabet; runs without the figure come last."""
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


def _table(rows: Sequence[RunRow], total: int, language: str) -> None:
    from rich.console import Console

    from haltung.evaluation.report.i18n import number
    from haltung.evaluation.report.tables import Grid

    if not rows:
        print("no run passes these filters; haltung runs without filters lists all")
        return
    columns = [(split, task) for split in ("dev", "test") for task in sorted({name for row in rows for name in getattr(row, split)})]
    cells = tuple(
        (
            f"{'  ' if row.parent else ''}{row.name}",
            row.id[:8],
            datetime.fromisoformat(row.when).astimezone().strftime("%m-%d %H:%M"),
            row.kind,
            row.corpus,
            row.status,
            row.seed,
            *(number(figures[task], language) if task in (figures := getattr(row, split)) else "" for split, task in columns),
        )
        for row in rows
    )
    heads = ("name", "id", "when", "kind", "corpus", "status", "seed", *(f"{split} {task}" for split, task in columns))
    title = f"{len(rows)} runs, macro-F1" if len(rows) == total else f"{len(rows)} of {total} runs (limit={total} lists all), macro-F1"
    # Narrower, rich would cut the figures off; a terminal that is narrower wraps the lines instead.
    Console(width=max(_WIDTH, Console().width)).print(Grid(title, heads, cells, left=6).rich())


def _csv(rows: Sequence[RunRow]) -> None:
    columns = [(split, task) for split in ("dev", "test") for task in sorted({name for row in rows for name in getattr(row, split)})]
    plain_columns = ("name", "id", "when", "kind", "corpus", "seed", "status", "parent")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*plain_columns, *(f"{split}_{task}_macro_f1" for split, task in columns)])
    for row in rows:
        writer.writerow([*(getattr(row, name) for name in plain_columns), *(getattr(row, split).get(task, "") for split, task in columns)])


def _json(rows: Sequence[RunRow]) -> None:
    print(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
