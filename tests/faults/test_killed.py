"""Some kills and disturbances of the commands that write (``make faults`` tries many)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from haltung import tracking
from haltung.errors import UserError, first_line, is_full, writing
from haltung.tracking import Store
from haltung.tracking.directory import STATE, tracked

FULL = Path("/dev/full")


# Run in a separate program, since a fork of the tests' process with all its threads can crash.
BAD = """
import sys, time
from pathlib import Path

import killed

def bad(words):
    with Path("out.txt").open("w", encoding="utf-8") as file:
        file.write("whole")
        file.flush()
        until = time.monotonic() + 1
        while Path("in.txt").exists() and time.monotonic() < until:
            time.sleep(0.01)
        file.write(" and more" if "again" not in words else " and other")
    Path("in.txt").read_text(encoding="utf-8")
    return 0

killed.command, killed.MOUNTS = bad, False
home = Path(sys.argv[1])
(home / "made").mkdir()
(home / "made/in.txt").write_text("x", encoding="utf-8")
job = killed.Job(home / "made", ("bad",), ("out.txt",), ("again",), ("in.txt",))
print(killed.tried("bad", job, 2, 1, 71, home / "home"), "in all")
"""


def program(root: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with the tests' modules on its path, for ten minutes at most."""
    folders = os.pathsep.join(map(str, (root / "src", root / "tests", root / "tests/faults")))
    done = [sys.executable, *map(str, words)]
    return subprocess.run(done, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": folders}, check=False, timeout=600)


@pytest.mark.slow
def test_a_killed_or_disturbed_command_ends_as_an_unbroken_one(root: Path, tmp_path: Path) -> None:
    """Kills, a full disk, a read-only folder, an input that vanishes; the program says so if this
    system does not allow mounting a file system.
    """
    done = program(root, root / "tests/faults/killed.py", "--only", "prepare", "--kills", "4", "--disturbed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "0 findings"
    assert " times killed" in done.stdout
    assert "  prepare, vanishing, 1 times: " in done.stdout
    for trouble, name in (("full", "full"), ("read-only", "read_only")):
        assert f"  prepare, {trouble}, 1 times: haltung: " in done.stdout or f"prepare: no {name} file system" in done.stdout, done.stdout


def test_what_is_half_written_left_or_never_ends_is_a_finding(root: Path, tmp_path: Path) -> None:
    """The program detects each of them."""
    done = program(root, "-c", BAD, tmp_path)
    assert "out.txt is half-written" in done.stdout, done.stdout + done.stderr
    assert "out.txt differs from an unbroken run's" in done.stdout
    assert "it ends with 1, it ends with a traceback" in done.stdout
    assert not done.stdout.endswith("\n0 in all\n")


def test_a_run_whose_process_was_killed_is_marked_by_the_next_one(tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """Also if it was killed before its id was stored; a resumed run ends as usual."""
    store, directory = new_store(tmp_path), tmp_path / "runs/a"

    def begin(resume: bool = False) -> tuple[Iterator[object], str]:
        context = tracked(directory, "a", store, {"haltung.kind": "train"}, {"seed": 1}, resume=resume)
        return context, context.__enter__().id  # type: ignore[attr-defined]

    first, second = begin(), begin()
    state = json.loads((directory / STATE).read_text(encoding="utf-8"))
    assert [tracking.find(store, run).status for run in (first[1], second[1])] == ["FAILED", "RUNNING"]
    assert tracking.find(store, first[1]).tags["haltung.error"] == "its process was killed"
    (directory / STATE).write_text(json.dumps({"mark": state["mark"]}), encoding="utf-8")
    third = begin(resume=True)
    assert [tracking.find(store, run).status for run in (second[1], third[1])] == ["FAILED", "RUNNING"]
    fourth = begin(resume=True)
    assert fourth[1] == third[1]
    fourth[0].__exit__(None, None, None)  # type: ignore[attr-defined]
    record = tracking.find(store, fourth[1])
    assert (record.status, "haltung.error" in record.tags) == ("FINISHED", False)


def test_a_group_that_is_begun_twice_at_once_is_not_marked(tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """Of seeds or folds: the second one gets its own run, and can't resume the first one's."""
    store, directory = new_store(tmp_path), tmp_path / "runs/a"
    program = f"import sys, filelock\nwith filelock.FileLock({str(directory.parent / '.a.lock')!r}): print(1, flush=True); sys.stdin.read()"
    with tracked(directory, "a", store, {}, {}) as first:
        pass
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdin
        assert other.stdout.readline() == "1\n"
        tracking.attach(tracking.find(store, first.id)).connection.client.update_run(first.id, status="RUNNING")
        for tags, resume in (({}, True), ({"haltung.kind": "adapt"}, False)):  # an adapted encoder's directory has one run
            with pytest.raises(UserError, match="is being trained by another process"):
                tracked(directory, "a", store, tags, {}, resume=resume).__enter__()
        with tracked(directory, "a", store, {}, {}) as second:
            assert second.id != first.id
        assert tracking.find(store, first.id).status == "RUNNING"
        other.stdin.close()
    with tracked(directory, "a", store, {}, {}):
        pass


@pytest.mark.skipif(not FULL.exists(), reason="needs the device that is always full")
def test_a_full_disk_is_named_whichever_library_meets_it(tmp_path: Path) -> None:
    """Libraries raise errors of their own; torch's does not even state the cause."""
    import torch

    def place() -> Path:
        # Some libraries delete what they could not write: the link, not the device.
        (link := tmp_path / f"{len(list(tmp_path.iterdir()))}.bin").symlink_to(FULL)
        return link

    def checkpoint(size: int) -> None:
        torch.save({"weights": torch.zeros(size)}, place())

    def table() -> None:
        pq.write_table(pa.table({"a": np.random.default_rng(1).random(100_000)}), place())

    for write in (lambda: checkpoint(10), lambda: checkpoint(100_000), table, lambda: place().write_text("x", encoding="utf-8")):
        with pytest.raises(UserError, match="can't be written: the disk is full; make room, then go on"), writing(then=", then go on"):
            write()


def test_what_came_of_a_full_disk_is_told_from_other_faults() -> None:
    """By the cause of an error; other errors are raised unchanged."""
    error = RuntimeError("the database has failed")
    error.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (is_full(error), first_line(error)) == (True, "the disk is full")
    with pytest.raises(RuntimeError, match="diverged"), writing():
        raise RuntimeError("diverged")
    with pytest.raises(FileNotFoundError), writing():
        Path("nowhere/x").read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.txt can't be opened: Permission denied; change its permissions"), writing():
        raise PermissionError(13, "Permission denied", "x.txt")
