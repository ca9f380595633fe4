"""A few kills and disturbances of the commands that write (``make faults`` tries many)."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from haltung import tracking
from haltung.errors import UserError, first_line, is_full, writing
from haltung.experiments.train import STATE, tracked
from haltung.tracking import Store

FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def killed(root: Path) -> Iterator[ModuleType]:
    """The program."""
    spec = importlib.util.spec_from_file_location("killed", root / "tests/faults/killed.py")
    assert spec
    assert spec.loader
    module = sys.modules["killed"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_killed_or_disturbed_command_ends_as_an_unbroken_one(root: Path, tmp_path: Path) -> None:
    """Kills, a full disk, a folder that is read-only, an input that vanishes; where this system
    lets nobody mount a file system, the program says so.
    """
    words = ["--only", "prepare", "--kills", "2", "--disturbed", "1"]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root / 'tests'}", "TMPDIR": str(tmp_path)}
    program = [sys.executable, str(root / "tests/faults/killed.py"), *words]
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "0 findings"
    assert "  prepare, vanishing, 1 times: " in done.stdout
    assert "  prepare, read-only, 1 times: haltung: " in done.stdout or "prepare: no read_only file system" in done.stdout


def test_what_is_half_written_left_or_never_ends_is_a_finding(
    killed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The program itself sees what it looks for."""

    def bad(words: list[str]) -> int:
        with Path("out.txt").open("w", encoding="utf-8") as file:
            file.write("whole")
            file.flush()
            until = time.monotonic() + 1
            while Path("in.txt").exists() and time.monotonic() < until:
                time.sleep(0.01)
            file.write(" and more" if "again" not in words else " and other")
        Path("in.txt").read_text(encoding="utf-8")
        return 0

    monkeypatch.setattr(killed, "command", bad)
    monkeypatch.setattr(killed, "MOUNTS", False)
    (tmp_path / "made").mkdir()
    (tmp_path / "made/in.txt").write_text("x", encoding="utf-8")
    job = killed.Job(tmp_path / "made", ("bad",), ("out.txt",), ("again",), ("in.txt",))
    assert killed.tried("bad", job, 2, 1, 71, tmp_path / "home") > 0
    said = capfd.readouterr().out
    assert "out.txt is half-written" in said
    assert "out.txt differs from an unbroken run's" in said
    assert "it ends with 1, it ends with a traceback" in said


def test_a_run_whose_process_was_killed_is_marked_by_the_next_one(tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """Also where it was killed before its id was noted; one that is gone on with ends as any."""
    store, directory = new_store(tmp_path), tmp_path / "runs/a"

    def begin(resume: bool = False) -> tuple[Iterator[object], str]:
        context = tracked(directory, "a", store, {"haltung.kind": "train"}, {"seed": 1}, resume=resume)
        return context, context.__enter__().id  # type: ignore[attr-defined]

    first = begin()
    state = json.loads((directory / STATE).read_text(encoding="utf-8"))
    second = begin()
    assert [tracking.find(store, run).status for run in (first[1], second[1])] == ["FAILED", "RUNNING"]
    assert tracking.find(store, first[1]).tags["haltung.error"] == "its process was killed"
    (directory / STATE).write_text(json.dumps({"mark": state["mark"]}), encoding="utf-8")
    third = begin(resume=True)
    assert [tracking.find(store, run).status for run in (second[1], third[1])] == ["FAILED", "RUNNING"]
    fourth = begin(resume=True)
    assert fourth[1] == third[1]
    fourth[0].__exit__(None, None, None)  # type: ignore[attr-defined]
    assert tracking.find(store, fourth[1]).status == "FINISHED"


@pytest.mark.skipif(not FULL.exists(), reason="needs the device that is always full")
def test_a_full_disk_is_named_whichever_library_meets_it(tmp_path: Path) -> None:
    """They raise errors of their own; torch's does not even say what it was."""
    import torch

    def place() -> Path:
        # Some delete what they could not write: a link, not the device.
        (link := tmp_path / f"{len(list(tmp_path.iterdir()))}.bin").symlink_to(FULL)
        return link

    def checkpoint() -> None:
        torch.save({"weights": torch.zeros(100_000)}, place())

    def table() -> None:
        pq.write_table(pa.table({"a": np.random.default_rng(1).random(100_000)}), place())

    for write in (checkpoint, table, lambda: place().write_text("x", encoding="utf-8")):
        with pytest.raises(UserError, match="can't be written: the disk is full; make room, then go on"), writing(then=", then go on"):
            write()


def test_what_came_of_a_full_disk_is_told_from_other_faults() -> None:
    """By the error behind an error; whatever else fails stays what it is."""
    error = RuntimeError("the database has failed")
    error.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (is_full(error), first_line(error)) == (True, "the disk is full")
    with pytest.raises(RuntimeError, match="diverged"), writing():
        raise RuntimeError("diverged")
    with pytest.raises(FileNotFoundError), writing():
        Path("nowhere/x").read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.txt can't be written: Permission denied"), writing():
        raise PermissionError(13, "Permission denied", "x.txt")
