"""``haltung runs`` lists runs, ``report`` writes about one, ``ui`` serves MLflow's pages."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.console import Console

from haltung.cli import hint
from haltung.cli.build import Language, command, make, output_file
from haltung.errors import UserError, listed, nearest, one_of, writing
from haltung.evaluation.report import documents
from haltung.evaluation.report.i18n import number
from haltung.evaluation.report.tables import Grid
from haltung.files import csv_cell
from haltung.tracking.read import RunRecord, find, list_runs
from haltung.tracking.store import serve_pages

Kind = Literal["train", "seeds", "ensemble", "sweep", "trial", "folds", "curve", "compare", "adapt"]
Status = Literal["running", "finished", "failed", "killed", "pruned"]
_SORTED_BY = ("when", "name", "kind", "corpus", "seed", "status")
_WIDTH = 130
_UNITS = {"d": "days", "h": "hours", "w": "weeks"}


# Hydra reads `corpus` as a group, whose choices are files; here any name is allowed.
@command("runs", verbatim=("corpus",), single="each filter takes one value; leave it out to list all")
def run(
    *, corpus: str | None, kind: Kind | None, name: str | int | None, since: str | None, status: Status | None, sort: str,
    format: Literal["table", "csv", "json"],  # noqa: A002 -- the key's name
    limit: Annotated[int, Field(ge=1)] | None, parts: bool, language: Language,
    tracking: Mapping[str, Any],
) -> None:  # fmt: skip
    """Print the runs that pass the filters."""
    store = make(tracking, "tracking")
    start = _since(since, datetime.now(UTC)) if since else None
    # In MLflow, the status of a pruned trial is KILLED.
    stored = (status or "").replace("pruned", "killed")
    records = list_runs(store, corpus=corpus or "", kind=kind or "", name="" if name is None else str(name), status=stored, since=start)
    rows = _sorted([row for row in map(_row, records) if status in (None, row["status"]) and (parts or not row["parent"])], sort)
    shown = rows[:limit]
    if format == "table":
        _table(shown, len(rows), language)
    elif format == "csv":
        import pandas as pd

        print(pd.json_normalize(shown, sep="_").map(csv_cell).to_csv(index=False), end="")
    else:
        print(json.dumps(shown, indent=2, ensure_ascii=False))


@command("report", single="one run at a time, since output= is one file", texts=("run", "output"))
def report(
    *, run: str | None, format: Literal["methods"], language: Language, output: str | None,  # noqa: A002, ARG001 -- keys
    tracking: Mapping[str, Any],
) -> None:  # fmt: skip
    """Print or write the methods section on a run."""
    from haltung.experiments.methods import methods

    if not run:
        raise UserError("name the run to write about, as in run=ID; haltung runs lists them")
    if (path := output_file(output)) is not None:
        one_of("the ending of output", path.suffix.lower(), documents.ENDINGS)
    text = methods(find(make(tracking, "tracking"), run), language)
    if path is None:
        print(text)
    else:
        with writing(path):
            documents.write(path, text, language)
        hint("written", str(path))


@command("ui", single="one store at a time; start haltung ui again for another one, with another port")
def ui(host: str, port: Annotated[int, Field(ge=1, le=65535)], tracking: Mapping[str, Any]) -> None:
    """Print the address of MLflow's pages; for a local store, serve them until interrupted."""
    store = make(tracking, "tracking")
    if store.local:
        serve_pages(store, host, port)
    print(f"the runs are on a server, which has its own pages: {store.address}")


def _since(text: str, now: datetime) -> datetime:
    """Return the time of an ISO date or time (local unless it has a zone), or a span before now."""
    if span := re.fullmatch(r"(\d{1,4})([dhw])", text):
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"since is '{text}'; expected a date such as 2026-01-31, or a span such as 7d, 12h or 2w") from None
    return time if time.tzinfo else time.astimezone()


def _row(record: RunRecord) -> dict[str, Any]:
    """Return a run as a row of the list; ``dev`` and ``test`` are macro-F1 by task.

    For several seeds they are means; for a cross-validation, ``test`` is that of the out-of-fold
    predictions. ``parent`` is the id of the parent run, or "".
    """
    corpus = record.tags.get("haltung.corpus", "")
    dev, *others = (_macro_f1(record.metrics, split) for split in ("dev", "test", f"{corpus}.test", "folds"))
    return {
        "name": record.name, "id": record.id, "when": record.started, "kind": record.kind, "corpus": corpus,
        "seed": record.params.get("seed", ""), "status": "pruned" if "haltung.pruned" in record.tags else record.status.lower(),
        "parent": record.parent, "dev": dev, "test": next((metrics for metrics in others if metrics), {}),
    }  # fmt: skip


def _macro_f1(metrics: Mapping[str, float], split: str) -> dict[str, float]:
    """Return macro-F1 by task: ``dev/stance_macro_f1``, for seeds ``dev/stance/macro_f1/mean``."""
    single, mean = re.compile(rf"{re.escape(split)}/(\w+)_macro_f1"), re.compile(rf"{re.escape(split)}/(\w+)/macro_f1/mean")
    values = {match[1]: value for pattern in (mean, single) for key, value in metrics.items() if (match := pattern.fullmatch(key))}
    return dict(sorted(values.items()))


def _sorted(rows: Sequence[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """Return the rows sorted by a column, or a task's macro-F1 on dev (``test.TASK``: on test).

    Metrics are in descending order, times newest first; runs without the metric come last.
    """
    split, _, task = by.rpartition(".")
    tasks = sorted({name for row in rows for name in (*row["dev"], *row["test"])})
    if by in _SORTED_BY:
        return sorted(rows, key=lambda row: row[by], reverse=by == "when")
    if split not in ("", "dev", "test") or (rows and task not in tasks):
        allowed = (*_SORTED_BY, *tasks, *(f"test.{name}" for name in tasks))
        raise UserError(f"sort is '{by}'{nearest(by, allowed)}; choose from {listed(allowed)}")
    return sorted(rows, key=lambda row: -row[split or "dev"].get(task, float("-inf")))


def _table(rows: Sequence[Mapping[str, Any]], total: int, language: str) -> None:
    if not rows:
        print("no run matches these filters; haltung runs without filters lists all")
        return
    columns = [(split, task) for split in ("dev", "test") for task in sorted({name for row in rows for name in row[split]})]
    cells = tuple(
        (
            f"{'  ' if row['parent'] else ''}{row['name']}",
            row["id"][:8],
            datetime.fromisoformat(row["when"]).astimezone().strftime("%m-%d %H:%M"),
            *(row[name] for name in ("kind", "corpus", "status", "seed")),
            *(number(row[split][task], language) if task in row[split] else "" for split, task in columns),
        )
        for row in rows
    )
    heads = ("name", "id", "when", "kind", "corpus", "status", "seed", *(f"{split} {task}" for split, task in columns))
    title = f"{len(rows)} runs, macro-F1" if len(rows) == total else f"{len(rows)} of {total} runs (limit={total} lists all), macro-F1"
    # At a smaller width rich would truncate numbers; a narrower terminal wraps the lines instead.
    Console(width=max(_WIDTH, Console().width)).print(Grid(title, heads, cells, left=6).rich())
