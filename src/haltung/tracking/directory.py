"""A run's directory: the run's id, whether it has finished, and the process that holds it."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.errors import UserError
from haltung.files import write_text
from haltung.tracking.store import Store
from haltung.tracking.write import MARK, Run, mark_killed, run

if TYPE_CHECKING:
    from filelock import FileLock

STATE = "run.json"  # the file that holds this state
BUSY = "{} is being trained by another process; wait for it before you resume it"


@contextmanager
def tracked(
    directory: Path, name: str, store: Store, tags: Mapping[str, object], config: Mapping[str, Any],
    parent: Run | None = None, resume: bool = False,
) -> Iterator[Run]:  # fmt: skip
    """Start or resume the run of a run directory, and record its id and state there."""
    from filelock import Timeout

    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(lock(directory))
            mark_killed(store, read_state(directory).get("mark"))
        except Timeout:  # the same group, started twice at once: the other process's run must not be marked
            if resume or tags.get("haltung.kind") == "adapt":
                raise UserError(BUSY.format(directory)) from None
        state = {**(read_state(directory) if resume else {}), "mark": str(time.time_ns())}
        write_state(directory, state)  # before the run is created, so that it is found however early it is killed
        with run(store, name, parent, {**tags, MARK: state["mark"]}, state.get("run") if resume else None) as begun:
            state |= {"run": begun.id, "where": begun.where, "finished": False}
            write_state(directory, state)
            begun.params(config)
            yield begun
        write_state(directory, {**state, "finished": True})  # last, since a finished run is not resumed


def lock(directory: Path) -> "FileLock":
    """Return the lock of a run directory, held by one process, which may acquire it repeatedly."""
    from filelock import FileLock

    return FileLock(directory.parent / f".{directory.name}.lock", timeout=0, is_singleton=True)


def read_state(directory: Path) -> dict[str, Any]:
    """Return the recorded state of a run directory; empty if it is missing or unreadable."""
    with suppress(OSError, ValueError):
        return dict(json.loads((directory / STATE).read_text(encoding="utf-8")))
    return {}


def write_state(directory: Path, state: Mapping[str, Any]) -> None:
    """Record the state of a run directory, atomically."""
    write_text(directory / STATE, json.dumps(state) + "\n")
