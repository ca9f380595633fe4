"""The exception class for the user's mistakes, and parts of its messages."""

import difflib
import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

# Messages of libraries about a full disk, in errors of many classes; torch names its source file.
_FULL = re.compile("No space left on device|disk is full|Disk quota exceeded|inline_container|iostream error")


class UserError(Exception):
    """A mistake that the user can correct.

    One sentence says what was found, where, what is allowed, what to do; the exit code is 2.
    """

    def lines(self) -> list[str]:
        """Return what a terminal shows: the sentence, and above it a table if there is one."""
        return [str(self)]


@contextmanager
def writing(path: object = None, then: str = "") -> Iterator[None]:
    """Raise ``UserError`` if ``path`` can't be written or, without a path, if a disk is full or a
    file is not accessible; ``then`` says how to continue after a full disk.
    """
    try:
        yield
    except Exception as error:
        is_closed = isinstance(error, OSError) and (path or error.errno in (errno.EROFS, errno.EACCES, errno.EPERM))
        if isinstance(error, UserError) or not (is_closed or is_full(error)):
            raise
        reason, where = getattr(error, "strerror", None) or first_line(error), path or getattr(error, "filename", None) or "a file"
        if not (path or is_full(error)):
            raise UserError(f"{where} can't be opened: {reason}; change its permissions, or name another one") from error
        how = f"the disk is full; make room{then}" if is_full(error) else f"{reason}; name a file in a folder that you may write to"
        raise UserError(f"{where} can't be written: {how}") from error


def is_full(error: BaseException | None) -> bool:
    """Return whether an error, or one of its causes, says that a disk is full."""
    if error is None or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return error is not None
    return bool(_FULL.search(str(error))) or is_full(error.__cause__ or error.__context__)


def nearest(found: str, allowed: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the closest of ``allowed``, "" if none is close."""
    close = difflib.get_close_matches(found[:100], list(allowed)[:10_000], n=1, cutoff=0.6)  # a user's file may have millions
    return f", did you mean '{short(close[0])}'?" if close else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, or its class name; more would fill a screen."""
    if is_full(error):
        return "the disk is full"
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".:")


def short(value: object, around: int = 0) -> str:
    """Return up to 80 characters of a source for a message, from shortly before ``around``."""
    text, start = str(value), max(0, around - 40)
    return "…" * (start > 0) + text[start : start + 80] + "…" * (len(text) > start + 80)


def listed(names: Iterable[object]) -> str:
    """Return the names, each by ``short``, as ``a, b, c`` for a message, ``(none)`` for none."""
    return ", ".join(map(short, names)) or "(none)"


def kind(value: object) -> str:
    """Return the type of a value for a message."""
    if isinstance(value, Mapping):
        return "an object"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", tuple: "a list", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def one_of(key: str, found: str, allowed: Iterable[str]) -> str:
    """Return ``found``, or raise ``UserError`` with the setting's ``key`` if it is not allowed."""
    names = tuple(allowed)
    if found not in names:
        raise UserError(f"{key} is '{short(found)}'{nearest(found, names)}; choose from {listed(names)}")
    return found
