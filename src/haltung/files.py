"""Files and folders: locations of shipped ones, templates, atomic writing, digests."""

import base64
import ctypes
import hashlib
import os
import re
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import uuid4

_PACKAGE = Path(__file__).resolve().parent
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100  # of renameat2(2)
_FORMULA = re.compile(r"(?![+-]?[\d.,]*\d\s?%?$)[=+@\t\r-].", re.DOTALL)


def shipped(name: str) -> Path:
    """Return the folder of the shipped ``configs`` or ``data``; a wheel has it in the package."""
    inside = _PACKAGE / f"_{name}"
    return inside if inside.is_dir() else _PACKAGE.parents[1] / name


def cache() -> Path:
    """Return the folder for what can be built again: ``HALTUNG_CACHE``, or the platform's cache."""
    from platformdirs import user_cache_path

    return Path(os.environ["HALTUNG_CACHE"]) if os.environ.get("HALTUNG_CACHE") else user_cache_path("haltung", appauthor=False)


def rendered(package: str, template: str, **values: Any) -> str:
    """Return a package's Jinja template rendered with the values, which are escaped in HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."), autoescape=template.endswith(".html.j2"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    # One cell of a Markdown table.
    environment.filters["cell"] = lambda text: " ".join(str(text).replace("|", "\\|").split())
    # The hash of a style or script for a content security policy.
    environment.filters["digest"] = lambda text: f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    return environment.get_template(template).render(**values)


def table(package: str, *path: str) -> Iterator[list[str]]:
    """Return the rows of a package's TSV file, without comments (``#``), such as the header."""
    text = resources.files(package).joinpath(*path).read_text(encoding="utf-8")
    return (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))


def csv_cell(cell: Any) -> Any:
    """Return a CSV cell, with ``'`` before text that a spreadsheet would take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def patterns(package: str, name: str) -> Mapping[str, re.Pattern[str]]:
    """Return the compiled regular expressions of a table in a package's ``patterns.toml``."""
    text = resources.files(package).joinpath("patterns.toml").read_text(encoding="utf-8")
    return {key: re.compile(pattern) for key, pattern in tomllib.loads(text)[name].items()}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a hidden path; what is written there replaces ``path`` when the block ends.

    If the block raises, the hidden file is removed and ``path`` stays. The parent must exist.
    """
    scratch = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically (see ``atomic_file``)."""
    with atomic_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def atomic_folder(folder: Path, keep: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield a hidden folder beside ``folder``; it replaces ``folder`` when the block ends.

    If the block raises, the hidden folder is removed and ``folder`` stays as it was. Files are
    synchronised to the disk first. On Linux the replacement is one step. Elsewhere (and on file
    systems that lack the exchange) it takes two renames; a process killed between them leaves the
    old folder under a hidden name, and ``recover`` puts it back. Parents are created. If
    ``keep(folder)`` is true at the end of the block, ``folder`` stays: another process wrote it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}.*.new"):
        with suppress(FileNotFoundError):  # its process may just have renamed it
            # A folder younger than a day may still be in use, not left by a killed process.
            if time.time() - left.stat().st_mtime > 24 * 3600:
                shutil.rmtree(left, ignore_errors=True)
    scratch = folder.parent / f".{folder.name}.{uuid4().hex}.new"
    scratch.mkdir()
    try:
        yield scratch
        for path in scratch.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        if keep is None or not keep(folder):
            _replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def recover(folder: Path) -> None:
    """Put an old folder back if its replacement was killed between the two renames."""
    if not folder.exists():
        for old in sorted(folder.parent.glob(f".{folder.name}.*.old"))[:1]:
            old.rename(folder)


def _replace(scratch: Path, folder: Path) -> None:
    """Move ``scratch`` to ``folder``; an earlier folder is then at ``scratch``, or removed."""
    recover(folder)
    try:
        scratch.rename(folder)
        return
    except OSError:  # the folder exists
        if not folder.exists():
            raise
    if _exchanged(scratch, folder):
        return
    old = scratch.with_suffix(".old")
    folder.rename(old)
    try:
        scratch.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return False if the system can't."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library without it
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0)
