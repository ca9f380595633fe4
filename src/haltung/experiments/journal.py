"""Output that grows window by window, so that a long run that was killed can go on."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

from haltung import __version__, files
from haltung.errors import UserError

Item = TypeVar("Item")

BROKEN = ".broken.jsonl"  # ends the name of the file with what could not be used


class Journal:
    """The files of a run at work, and ``OUTPUT.journal`` that says how far they have come.

    Each output grows as ``OUTPUT.partial``, and so does ``OUTPUT.broken.jsonl``. The journal has a
    line for what they depend on, then one for each window: their sizes, and ``counts`` so far. A
    run that was killed leaves all of them, and with ``resume`` the next one goes on behind the last
    window. A ``with`` block keeps other runs away; without a window it leaves nothing.
    """

    def __init__(self, output: Path, outputs: Sequence[Path], depends: Mapping[str, Any], resume: bool | None) -> None:
        """``output`` may be a folder, and has its name only; ``depends`` is plain data."""
        self.output, self.counts, self._resume = output, Counter[str](), resume
        self._path, broken = (output.with_name(output.name + ending) for ending in (".journal", BROKEN))
        self._partial = {target: target.with_name(f"{target.name}.partial") for target in (*outputs, broken)}
        self._depends = json.loads(json.dumps({"version": __version__, **depends}))
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        """Open the files behind their last window.

        Raises ``UserError`` if another run is writing them, or has left them without ``resume``, or
        they depend on something else, or are not what it left.
        """
        from filelock import FileLock, Timeout

        lock = self.output.with_name(f".{self.output.name}.lock")
        with ExitStack() as stack:
            try:
                stack.enter_context(FileLock(lock, timeout=0))
            except Timeout:
                raise UserError(f"another run is writing {self.output} now; wait for its end, or name another output=") from None
            stack.callback(_remove, lock)
            if self._resume is None and self._path.exists():
                found = f"{self._path} is left of a run that was stopped"
                raise UserError(f"{found}; go on with resume=true, or begin anew with resume=false, which deletes what it has done")
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def _open(self, stack: ExitStack) -> None:
        before, *windows = (_lines(self._path) if self._resume else []) or [self._depends]
        if changed := [name for name in {**before, **self._depends} if before.get(name) != self._depends.get(name)]:
            found = "; ".join(f"{name} is {self._depends.get(name)}, was {before.get(name)}" for name in changed)
            raise UserError(f"{self._path} is of another run ({found}); give what that was given, or begin anew with resume=false")
        sizes, counts = windows[-1] if windows else ([0] * len(self._partial), {})
        self.counts.update(counts)
        # Without the other lines, of which the last one may be torn.
        files.write_text(self._path, "".join(json.dumps(line) + "\n" for line in (before, *windows[-1:])))
        if "finished" in counts:
            return
        for path, size in zip(self._partial.values(), sizes, strict=True):
            self._files.append(stack.enter_context(path.open("ab")))
            if self._files[-1].tell() < size:
                raise UserError(f"{path} is shorter than {self._path} says; begin anew with resume=false")
            self._files[-1].truncate(size)
        self._log = stack.enter_context(self._path.open("ab"))

    def __exit__(self, *_: object) -> None:
        if not self.counts:
            for path in (*self._partial.values(), self._path):
                path.unlink(missing_ok=True)
        self._stack.close()

    def append(self, pieces: Iterable[bytes], broken: Iterable[object] = (), /, **counts: int) -> None:
        """Add a window to the outputs, and what was broken; ``counts`` are added to the others."""
        rows = "".join(json.dumps(vars(row), ensure_ascii=False, default=str) + "\n" for row in broken)
        for file, piece in zip(self._files, (*pieces, rows.encode("utf-8", "backslashreplace")), strict=True):
            _write(file, piece)
        self.counts.update(counts)
        line = [[file.tell() for file in self._files], self.counts]
        _write(self._log, json.dumps(line).encode() + b"\n")

    def finish(self, merge: Callable[[Path, Path], None] | None = None) -> None:
        """Give the files their names, and remove the journal.

        ``merge`` makes the first output, given the path of what was written for it and a new one.
        """
        if not self.counts["finished"]:
            self.append([b""] * (len(self._partial) - 1), finished=1)
        for file in self._files:
            file.close()
        for number, (target, partial) in enumerate(self._partial.items()):
            if partial.exists():  # or a run was killed while it did this
                if merge is not None and number == 0:
                    merged = target.with_name(f"{target.name}.merged")
                    merge(partial, merged)
                    merged.replace(target)
                elif partial.stat().st_size or number < len(self._partial) - 1:
                    partial.replace(target)
                else:  # nothing is broken, other than perhaps in an earlier run
                    target.unlink(missing_ok=True)
                partial.unlink(missing_ok=True)
        self._path.unlink()


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _remove(path: Path) -> None:
    with suppress(OSError):  # Windows keeps a file that is open
        path.unlink()


def _lines(path: Path) -> list[Any]:
    found = []
    with suppress(FileNotFoundError, ValueError):  # a line that was torn is the last one
        for line in path.read_bytes().splitlines():
            found.append(json.loads(line))
    return found


def digest(paths: Iterable[Path]) -> str:
    """Return one SHA-256 of files, and of all that folders hold."""
    every = (file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path]))
    # A pipe can be read only once.
    return sha256("".join(files.sha256(file) for file in every if file.is_file()).encode()).hexdigest()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, while a thread makes the next one."""
    iterator = iter(items)

    def following() -> list[Item]:
        return list(islice(iterator, 1))

    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(following)
        while found := coming.result():
            coming = pool.submit(following)
            yield from found
