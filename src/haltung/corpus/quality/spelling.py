"""German spelling by hunspell and its dictionaries for Germany, Austria and Switzerland, programs of the system."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from haltung.corpus.parsing.lines import existing, lines
from haltung.errors import UserError
from haltung.records import Segment

INSTALL = "on Debian and Ubuntu apt-get install hunspell hunspell-de-de hunspell-de-at hunspell-de-ch (make system does it)"


def is_there() -> bool:
    """Tell whether hunspell is installed; whether it has its dictionaries is told when they are used."""
    return shutil.which("hunspell") is not None


def allowed(path: str | Path) -> frozenset[str]:
    """Return the words of a file with one a line; lines that begin with # are remarks.

    Raises:
        UserError: the file is missing or not UTF-8.
    """
    words = (line.text.strip() for line in lines(existing(Path(path))))
    return frozenset(word for word in words if word and not word.startswith("#"))


def unknown(texts: Iterable[tuple[Segment, str]], allowed: frozenset[str]) -> list[tuple[str, Segment]]:
    """Return each word that neither its country's dictionary nor ``allowed`` knows, once, with the first segment that has it.

    Args:
        texts: segments with ``DE``, ``AT`` or ``CH``.
        allowed: names and other words that the dictionaries lack.

    Raises:
        UserError: hunspell or one of its dictionaries is not installed.
    """
    homes: dict[str, list[Segment]] = {}
    for segment, country in texts:
        homes.setdefault(country, []).append(segment)
    out: dict[str, Segment] = {}
    for country, segments in homes.items():
        wrong = _misspelt([segment.text for segment in segments], f"de_{country}") - allowed
        if wrong:
            pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(wrong, key=len, reverse=True))) + r")(?!\w)")
            for segment in segments:
                for word in pattern.findall(segment.text):
                    out.setdefault(word, segment)
            # A word that hunspell cut otherwise than we do is told all the same.
            for word in wrong - out.keys():
                out[word] = next((segment for segment in segments if word in segment.text), segments[0])
    return sorted(out.items())


def _misspelt(texts: list[str], dictionary: str) -> set[str]:
    try:
        done = subprocess.run(
            ["hunspell", "-d", dictionary, "-i", "utf-8", "-l"],
            input="\n".join(texts) + "\n", capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise UserError(f"hunspell is not installed, so spelling can't be checked; {INSTALL}, or say spelling=off") from None
    if done.returncode != 0 or "open the dictionar" in done.stderr:
        raise UserError(f"hunspell has no dictionary {dictionary} ({done.stderr.strip()}); {INSTALL}, or say spelling=off")
    return {word.strip(".") for word in done.stdout.split("\n") if word.strip(".-")}
