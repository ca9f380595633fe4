"""Write output window by window with a journal, so that a killed run can be resumed."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

from filelock import FileLock, Timeout

from haltung import __version__, files
from haltung.errors import UserError, writing

Item = TypeVar("Item")
JOURNAL, BROKEN = ".journal", ".broken.jsonl"  # suffixes of the output's name; BROKEN: rows that could not be used
LEFT = (JOURNAL, BROKEN, ".partial", f"{BROKEN}.partial", ".merged")  # suffixes of all files that a stopped run leaves


class Journal:
    """The output files of a running job, and ``OUTPUT.journal``, which records its progress.

    Outputs and ``OUTPUT.broken.jsonl`` grow as ``….partial``. The journal's first line has what
    they depend on; each further line has, after one window, their sizes and the ``counts`` so far.
    With ``resume``, a run continues from what a killed one has left. A ``with`` block raises
    ``UserError`` if another run is writing, or if files are left that can't be resumed or
    ``resume`` is None.
    """

    def __init__(self, outputs: Sequence[Path], depends: Mapping[str, Any], resume: bool | None) -> None:
        self.output, self.counts, self._resume, self._outputs = outputs[0], Counter[str](), resume, outputs
        self.path, self._broken = (self.output.with_name(self.output.name + ending) for ending in (JOURNAL, BROKEN))
        self._partial = {target: target.with_name(f"{target.name}.partial") for target in (*outputs, self._broken)}
        names = [self.output.name, *(str(output.absolute()) for output in outputs[1:])]
        self._depends = json.loads(json.dumps({"version": __version__, "outputs": names, **depends}))
        self._then = f", then run it again (with resume=true if {self.path} is there)"
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        with writing(self.output, self._then), ExitStack() as stack:
            self.output.parent.mkdir(exist_ok=True)  # the folder of several outputs
            for output in self._outputs:
                lock = output.with_name(f".{output.name}.lock")
                try:
                    stack.enter_context(FileLock(lock, timeout=0))
                except Timeout:
                    raise UserError(f"another run is writing {output} now; wait for it to finish, or name another file") from None
                stack.callback(lock.unlink, missing_ok=True)
            left = self.path.read_bytes() if self.path.exists() else None
            if self._resume is None and left is not None:
                raise UserError(f"{self.path} is from a stopped run; resume=true continues it, resume=false deletes it and starts over")
            for target, partial in self._partial.items():
                is_own = target in (self.output, self._broken) or json.dumps(str(target.absolute())).encode() in (left or b"")
                if partial.exists() and (left is None or not is_own):
                    raise UserError(f"{partial} is left over from another run that was stopped; finish that one first, or delete it")
            before, sizes, counts = self._read(left) if self._resume and left is not None else (self._depends, [0] * len(self._partial), {})
            if changed := [name for name in {**before, **self._depends} if before.get(name) != self._depends.get(name)]:
                found = "; ".join(f"{name} is {self._depends.get(name)}, was {before.get(name)}" for name in changed)
                raise UserError(f"{self.path} is from another run ({found}); give the same settings, or start over with resume=false")
            self.counts.update(counts)
            files.write_text(self.path, "".join(json.dumps(line) + "\n" for line in (before, *([(sizes, counts)] if counts else []))))
            for path, size in zip(() if "finished" in counts else self._partial.values(), sizes, strict=False):
                self._files.append(stack.enter_context(path.open("ab")))
                if self._files[-1].tell() < size:
                    raise UserError(f"{path} is shorter than {self.path} says; start over with resume=false")
                self._files[-1].seek(self._files[-1].truncate(size))
            self._files.append(stack.enter_context(self.path.open("ab")))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.counts:  # there is nothing to resume
            for path in (*self._partial.values(), self.path):
                path.unlink(missing_ok=True)
        with writing(self.output, self._then):  # closing a file flushes the rest of a window
            self._stack.close()

    def _read(self, left: bytes) -> tuple[dict[str, Any], list[int], dict[str, int]]:
        try:
            before, *windows = [json.loads(line) for line in left.split(b"\n")[:-1]]  # an incomplete line has no end
            sizes, counts = windows[-1] if windows else ([0] * len(self._partial), {})
            return {**before}, [*map(int, sizes)], {**counts}
        except (ValueError, TypeError):
            raise UserError(f"{self.path} is damaged, so its run can't continue; start over with resume=false") from None

    def append(self, pieces: Iterable[bytes], broken: Iterable[object] = (), /, **counts: int) -> None:
        """Append a window to the outputs, and its ``broken`` rows; ``counts`` add to the totals."""
        self.counts.update(counts)
        rows = "".join(json.dumps(vars(row), ensure_ascii=False, default=str) + "\n" for row in broken)
        written = [*pieces, rows.encode("utf-8", "backslashreplace")]
        sizes = [file.tell() + len(piece) for file, piece in zip(self._files, written, strict=False)]
        written.append(json.dumps([sizes, self.counts]).encode() + b"\n")
        with writing(self.output, self._then):
            for file, piece in zip(self._files, written, strict=True):
                file.write(piece)
                file.flush()
                os.fsync(file.fileno())

    def finish(self, merge: Callable[[Path, Path], None] | None = None) -> None:
        """Rename the files to their final names (``merge`` makes an output); keep the journal."""
        if not self.counts["finished"]:
            self.append([b""] * (len(self._partial) - 1), finished=1)
        with writing(self.output, self._then):
            # One is missing if a run was killed during this step.
            for target, partial in [one for one in self._partial.items() if one[1].exists()]:
                if target == self._broken and not partial.stat().st_size:
                    target.unlink(missing_ok=True)
                elif merge is not None and target != self._broken:
                    merged = target.with_name(f"{target.name}.merged")
                    merge(partial, merged)
                    merged.replace(target)
                else:
                    partial.replace(target)
                partial.unlink(missing_ok=True)


def digest(paths: Iterable[Path]) -> str:
    """Return one SHA-256 of files and folders' contents; skip pipes: they can be read only once."""
    marks = list[str]()
    for path in paths:
        inside = [path]
        with suppress(OSError):  # a folder may vanish meanwhile
            inside = sorted(path.rglob("*")) if path.is_dir() else inside
        for file in filter(Path.is_file, inside):
            marks.append("unreadable")
            with suppress(OSError):
                marks[-1] = files.sha256(file)
    return sha256("".join(marks).encode()).hexdigest()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items (not None) while a thread, which can't be stopped, computes the next one."""
    iterator = iter(items)
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(next, iterator, None)
        while (found := coming.result()) is not None:
            coming = pool.submit(next, iterator, None)
            yield found
