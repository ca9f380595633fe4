"""Files and folders are written atomically, and leftovers of a killed process do no harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from haltung import files
from haltung.files import atomic_file, atomic_folder, recover, sha256, write_text


def contents(folder: Path) -> dict[str, str]:
    """Return each file of a folder with its text."""
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    """Return the names in a folder, including hidden ones."""
    return [path.name for path in folder.iterdir()]


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    """Until then, readers see the old file; no temporary file is left."""
    path = tmp_path / "state.json"
    write_text(path, "old")
    with atomic_file(path) as scratch:
        scratch.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
    assert contents(tmp_path) == {"state.json": "new"}


def test_writers_of_one_file_are_not_in_each_others_way(tmp_path):
    """Also within one process, as for threads: the last to finish wins, with its whole content."""
    path = tmp_path / "state.json"
    with atomic_file(path) as first:
        first.write_text("first", encoding="utf-8")
        write_text(path, "second")
        assert contents(tmp_path) == {"state.json": "second", first.name: "first"}
    assert contents(tmp_path) == {"state.json": "first"}


def test_a_failing_block_leaves_the_old_file(tmp_path):
    """The half-written one is removed."""
    path = tmp_path / "state.json"
    write_text(path, "old")

    def fail(scratch: Path) -> None:
        scratch.write_text("half", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), atomic_file(path) as scratch:
        fail(scratch)
    assert contents(tmp_path) == {"state.json": "old"}


@pytest.mark.parametrize("exchange", [True, False], ids=["one step", "two renames"])
def test_a_folder_is_replaced_whole(tmp_path, monkeypatch, exchange):
    """With the system's exchange and without it, only the new files remain, and the folder has
    ordinary permissions.
    """
    if not exchange:
        monkeypatch.setattr(files, "_exchanged", lambda first, second: False)
    folder = tmp_path / "corpus"
    for name in ("old", "new"):
        with atomic_folder(folder) as scratch:
            write_text(scratch / name, name)
    assert contents(folder) == {"new": "new"}
    assert names(tmp_path) == ["corpus"]
    (tmp_path / "plain").mkdir()
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failing_block_leaves_the_old_folder(tmp_path):
    """The half-written one is removed."""
    folder = tmp_path / "corpus"
    with atomic_folder(folder) as scratch:
        write_text(scratch / "old", "old")
    with pytest.raises(OSError, match="disk full"), atomic_folder(folder):
        raise OSError("disk full")
    assert contents(folder) == {"old": "old"}
    assert names(tmp_path) == ["corpus"]


@pytest.mark.parametrize(("keep", "expected"), [(None, "ours"), (lambda folder: (folder / "name").is_file(), "theirs")])
def test_two_processes_that_write_one_folder_leave_one(tmp_path, keep, expected):
    """The last one wins, unless ``keep`` accepts the first one's folder."""
    folder = tmp_path / "encoder"
    with atomic_folder(folder, keep) as ours:
        write_text(ours / "name", "ours")
        with atomic_folder(folder) as theirs:
            write_text(theirs / "name", "theirs")
    assert contents(folder) == {"name": expected}
    assert names(tmp_path) == ["encoder"]


def test_a_killed_process_leaves_the_old_folder(tmp_path):
    """After SIGKILL while writing, a hidden folder is left; a later write removes it if it is a day
    old.
    """
    folder = tmp_path / "corpus"
    with atomic_folder(folder) as scratch:
        write_text(scratch / "old", "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from haltung.files import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as scratch:\n"
        "    (scratch / 'new').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert run.returncode == -signal.SIGKILL
    assert contents(folder) == {"old": "old"}
    (left,) = (path for path in tmp_path.iterdir() if path != folder)
    for day, remaining in ((None, 2), (0, 1)):
        if day is not None:
            os.utime(left, (day, day))
        with atomic_folder(folder):
            pass
        assert len(names(tmp_path)) == remaining


def test_a_kill_between_two_renames_is_recovered(tmp_path):
    """The old folder is restored from its hidden name; an existing folder is not changed."""
    (tmp_path / ".corpus.x.old").mkdir()
    recover(tmp_path / "corpus")
    recover(tmp_path / "corpus")
    assert names(tmp_path) == ["corpus"]


def test_the_digest_is_that_of_the_bytes(tmp_path):
    """SHA-256 of "abc", from FIPS 180-2."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
