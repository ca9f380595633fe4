"""The directory of a run: which run it is, whether that has finished, and which process has it."""

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

STATE = "run.json"  # the file that says it
BUSY = "{} is being trained by another process; wait for it before you resume it"


@contextmanager
def tracked(
    directory: Path, name: str, store: Store, tags: Mapping[str, object], config: Mapping[str, Any],
    parent: Run | None = None, resume: bool = False,
) -> Iterator[Run]:  # fmt: skip
    """Begin or resume the run of a run directory, and note its id and state there."""
    from filelock import Timeout

    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(lock(directory))
            mark_killed(store, read_state(directory).get("mark"))
        except Timeout:  # the same group, begun twice at once: the other one's run is not to be marked
            if resume or tags.get("haltung.kind") == "adapt":
                raise UserError(BUSY.format(directory)) from None
        state = {**(read_state(directory) if resume else {}), "mark": str(time.time_ns())}
        write_state(directory, state)  # before there is a run, so that it is found however soon it is killed
        with run(store, name, parent, {**tags, MARK: state["mark"]}, state.get("run") if resume else None) as begun:
            state |= {"run": begun.id, "where": begun.where, "finished": False}
            write_state(directory, state)
            begun.params(config)
            yield begun
        write_state(directory, {**state, "finished": True})  # last, since what has finished is not gone on with


def lock(directory: Path) -> "FileLock":
    """Return the lock of a run directory, which one process holds, as often as it likes."""
    from filelock import FileLock

    return FileLock(directory.parent / f".{directory.name}.lock", timeout=0, is_singleton=True)


def read_state(directory: Path) -> dict[str, Any]:
    """Return the noted state of a run directory; empty if there is none."""
    with suppress(OSError, ValueError):
        return dict(json.loads((directory / STATE).read_text(encoding="utf-8")))
    return {}


def write_state(directory: Path, state: Mapping[str, Any]) -> None:
    """Note the state of a run directory, atomically."""
    write_text(directory / STATE, json.dumps(state) + "\n")
