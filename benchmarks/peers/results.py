"""Result of a run: the predicted label of each test segment and the cost, in a file small enough
to be kept beside the table.

Uses the standard library only, since ``run.py`` imports it.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# One character per label stores a thousand predictions in a kilobyte.
SIGNS = string.digits + string.ascii_letters


@dataclass(frozen=True)
class Cost:
    """Cost of a run from its start to its last prediction, including child processes.

    ``cpu_seconds`` is user plus system time, ``peak_bytes`` the largest resident set of one
    process. ``load`` is the machine's load average at the start and at the end: under other load,
    ``wall_seconds`` is of little value.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    load: tuple[float, float]
    threads: int
    machine: str


@dataclass(frozen=True)
class Result:
    """Predictions and cost of a run: ``said`` has for each task one label per test segment, in the
    order of the split; ``ids`` is a digest of the ids in that order.
    """

    ids: str
    said: dict[str, tuple[str, ...]]
    cost: Cost


def digest(ids: Iterable[str]) -> str:
    """Return a digest that identifies a test split."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def answers(path: Path, ids: Sequence[str], tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the labels in a file of predictions (JSON Lines): for each task one per id of ``ids``.

    Raises:
        ValueError: a line lacks its id or a task, an id occurs twice, or a segment has no
            prediction, so that a peer can't improve its figures by omitting hard segments.
    """
    found: dict[str, dict[str, str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        row = json.loads(line)
        bare = [name for name in ("id", *tasks) if name not in row]
        if bare:
            raise ValueError(f"{path}, line {number}: expected a row with id and {', '.join(tasks)}, found one without {', '.join(bare)}")
        if row["id"] in found:
            raise ValueError(f"{path}, line {number}: the id '{row['id']}' has been answered before")
        found[row["id"]] = row
    missing = [one for one in ids if one not in found]
    if missing:
        raise ValueError(f"{path}: there is no answer for {len(missing)} of {len(ids)} segments, the first of them {missing[0]}")
    return {task: tuple(found[one][task] for one in ids) for task in tasks}


def write(path: Path, result: Result) -> None:
    """Write a result atomically."""
    tasks = {}
    for task, said in result.said.items():
        labels = sorted(set(said))
        signs = dict(zip(labels, SIGNS, strict=False))
        tasks[task] = {"labels": labels, "said": "".join(signs[label] for label in said)}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}")
    written = {"ids": result.ids, "tasks": tasks, "cost": asdict(result.cost)}
    scratch.write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    scratch.replace(path)


def read(path: Path) -> Result:
    """Return a result written by ``write``.

    Raises:
        ValueError: the file is not one of these.
    """
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        said = {task: tuple(one["labels"][SIGNS.index(sign)] for sign in one["said"]) for task, one in row["tasks"].items()}
        cost = Cost(**{**row["cost"], "load": tuple(row["cost"]["load"])})
        return Result(row["ids"], said, cost)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is no result of run.py ({type(error).__name__}: {error}); delete it, and run the peer again") from error
