"""``haltung runs``: what has been run, filtered and sorted."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from haltung.cli.build import Language, make, typed
from haltung.cli.config import Request, command
from haltung.errors import UserError, one_of

if TYPE_CHECKING:
    from haltung.experiments.runs import RunRow

KINDS = ("train", "seeds", "ensemble", "sweep", "trial", "folds", "curve", "compare")

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


# Hydra takes `corpus` for a group, whose choices are files; here it is any name.
@command("runs", verbatim=("corpus",), single="each filter takes one value; leave it out to list all")
def run(request: Request) -> None:
    """Print the runs that pass the filters."""
    options, store = typed(RunsOptions, request.settings), make(request.settings["tracking"], "tracking")
    since = _since(options.since, datetime.now(UTC)) if options.since else None

    from haltung.experiments.runs import STATUSES, list_runs
    from haltung.tracking.read import RunFilter

    kind = one_of("kind", options.kind, KINDS) if options.kind else ""
    status = one_of("status", options.status, STATUSES) if options.status else ""
    name = "" if options.name is None else str(options.name)
    rows = list_runs(store, RunFilter(options.corpus or "", kind, name, status, since), options.sort, options.parts)
    shown = rows[: options.limit]
    if options.format == "table":
        _table(shown, len(rows), options.language)
    elif options.format == "csv":
        _csv(shown)
    else:
        print(json.dumps([asdict(row) for row in shown], indent=2, ensure_ascii=False))


def _since(text: str, now: datetime) -> datetime:
    """Return the time of an ISO date or time (local unless it has a zone), or a span before now."""
    if span := re.fullmatch(r"(\d{1,4})([dhw])", text):
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"since is '{text}'; expected a date such as 2026-01-31, or a span such as 7d, 12h or 2w") from None
    return time if time.tzinfo else time.astimezone()


def _table(rows: Sequence[RunRow], total: int, language: str) -> None:
    from rich.console import Console

    from haltung.evaluation.report.i18n import number
    from haltung.evaluation.report.tables import Grid
    from haltung.experiments.runs import tasks_of

    if not rows:
        print("no run passes these filters; haltung runs without filters lists all")
        return
    columns = tasks_of(rows)
    cells = tuple(
        (
            f"{'  ' if row.parent else ''}{row.name}",
            row.id[:8],
            datetime.fromisoformat(row.when).astimezone().strftime("%m-%d %H:%M"),
            row.kind,
            row.corpus,
            row.status,
            row.seed,
            *(number(metrics[task], language) if task in (metrics := getattr(row, split)) else "" for split, task in columns),
        )
        for row in rows
    )
    heads = ("name", "id", "when", "kind", "corpus", "status", "seed", *(f"{split} {task}" for split, task in columns))
    title = f"{len(rows)} runs, macro-F1" if len(rows) == total else f"{len(rows)} of {total} runs (limit={total} lists all), macro-F1"
    # Narrower, rich would cut the numbers off; a terminal that is narrower wraps the lines instead.
    Console(width=max(_WIDTH, Console().width)).print(Grid(title, heads, cells, left=6).rich())


def _csv(rows: Sequence[RunRow]) -> None:
    from haltung.experiments.runs import tasks_of

    columns, names = tasks_of(rows), ("name", "id", "when", "kind", "corpus", "seed", "status", "parent")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*names, *(f"{split}_{task}_macro_f1" for split, task in columns)])
    for row in rows:
        writer.writerow([*(getattr(row, name) for name in names), *(getattr(row, split).get(task, "") for split, task in columns)])
