"""The exception class for the user's mistakes, and parts of its messages."""

import difflib
from collections.abc import Iterable, Mapping


class UserError(Exception):
    """A mistake that the user can correct.

    One sentence says what was found, where, what is allowed, what to do; the exit code is 2.
    """

    def lines(self) -> list[str]:
        """Return what a terminal shows: the sentence, and above it a table if there is one."""
        return [str(self)]


def nearest(found: str, allowed: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the closest of ``allowed``, "" if none is close."""
    # A file of others may have a million names, or one of a million letters; no slip leads there.
    close = difflib.get_close_matches(found[:100], list(allowed)[:10_000], n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, or its class's name; others fill a screen."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".:")


def listed(names: Iterable[str]) -> str:
    """Return the names as ``a, b, c`` for a message, ``(none)`` if there are none."""
    return ", ".join(names) or "(none)"


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
        raise UserError(f"{key} is '{found}'{nearest(found, names)}; allowed are {listed(names)}")
    return found
