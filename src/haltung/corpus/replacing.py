"""Put a finished folder in the place of an old one, so that a reader always finds a whole one."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD
_STALE_S = 24 * 3600.0


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give a scratch folder beside ``folder``; when the block ends well it takes the place of ``folder``, else it is removed.

    On Linux the exchange is a single step. Elsewhere (and on file systems that cannot) it is two renames; a process killed between them
    leaves the old folder under a hidden name, and ``recover`` puts it back.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".new", dir=folder.parent))
    try:
        # mkdtemp gives 0700; the finished folder has what mkdir would have given.
        mask = os.umask(0)
        os.umask(mask)
        scratch.chmod(0o777 & ~mask)
        yield scratch
        _sync(scratch)
        _swap(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def recover(folder: Path) -> None:
    """Put an old folder back whose replacement was killed between the two renames; do nothing otherwise."""
    if not folder.exists():
        for old in sorted(folder.parent.glob(f".{folder.name}.*.old")):
            old.rename(folder)
            return


def _swap(scratch: Path, folder: Path) -> None:
    """Afterwards ``scratch`` holds what was at ``folder``, if anything was."""
    recover(folder)
    if not folder.exists():
        scratch.rename(folder)
    elif not _exchanged(scratch, folder):
        old = scratch.with_suffix(".old")
        folder.rename(old)
        try:
            scratch.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library without it
        return False
    done: int = rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE)
    return done == 0


def _sync(folder: Path) -> None:
    """Make sure that the files are on the disk before the folder's name is."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sweep(folder: Path) -> None:
    """Remove what killed runs have left a day ago or more; a younger one may belong to a run that is still going."""
    for left in folder.parent.glob(f".{folder.name}.*.new"):
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)
