"""From a stance and its sentence to a PLOVER event, by ``data/crosswalk/plover.csv``."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from haltung import files
from haltung.errors import UserError, listed, nearest

_VERSION = re.compile(r"version: (\d+)")
_COLUMNS = ("stance", "event", "mode", "quad", "intensity", "words", "basis")

# The quad classes, as PLOVER numbers them.
QUADS = {1: "verbal cooperation", 2: "material cooperation", 3: "verbal conflict", 4: "material conflict"}


@dataclass(frozen=True)
class Plover:
    """An event of PLOVER: type, mode ("" if unknown), quad class (1-4), intensity (-10 to 10).

    ``event`` is "" and the numbers are None for ``neutral`` and a warning that threatens no
    punishment, which are no events in PLOVER.
    """

    event: str
    mode: str = ""
    quad: int | None = None
    intensity: float | None = None


@dataclass(frozen=True)
class Rule:
    """One row: a pattern of words (None for the default), and ``basis``, the numbers' source."""

    plover: Plover
    words: re.Pattern[str] | None
    basis: str


@dataclass(frozen=True)
class Crosswalk:
    """The rules of each stance, in order, and the version of their file."""

    version: int
    rules: Mapping[str, tuple[Rule, ...]]

    def event(self, stance: str, text: str) -> Plover:
        """Return the event for a stance in a sentence.

        Raises:
            UserError: the crosswalk does not have the stance.
        """
        if stance not in self.rules:
            raise UserError(f"the PLOVER crosswalk has no stance '{stance}'{nearest(stance, self.rules)}; it has {listed(self.rules)}")
        plain = unicodedata.normalize("NFC", text.replace("\u00ad", "")).lower()
        return next(rule.plover for rule in self.rules[stance] if rule.words is None or rule.words.search(plain))


@lru_cache(maxsize=4096)
def event(stance: str, text: str) -> Plover:
    """Return the event by the shipped crosswalk (see ``Crosswalk.event``)."""
    return load().event(stance, text)


@cache
def load(path: Path | None = None) -> Crosswalk:
    """Read a crosswalk, by default the shipped one.

    Raises:
        UserError: the file is missing or broken.
    """
    path = path or files.shipped("data") / "crosswalk" / "plover.csv"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}; it is part of Haltung, install it again") from None
    version = _VERSION.search(lines[0]) if lines else None
    if version is None:
        raise UserError(f"{path} names no version; expected '# … version: 1' in its first line")
    skipped = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    reader = csv.DictReader(lines[skipped:])
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise UserError(f"{path}, line {skipped + 1}: the columns are {listed(reader.fieldnames or ())}; expected {listed(_COLUMNS)}")
    rules: dict[str, list[Rule]] = {}
    for number, row in enumerate(reader, skipped + 2):
        of_stance = rules.setdefault(row["stance"], [])
        where, quad, intensity = f"{path}, line {number}", row["quad"], row["intensity"]
        if of_stance and of_stance[-1].words is None:
            raise UserError(f"{where}: the stance '{row['stance']}' goes on after its default; put the row without words last")
        try:
            plover = Plover(row["event"], row["mode"], int(quad) if quad else None, float(intensity) if intensity else None)
        except (TypeError, ValueError):
            raise UserError(f"{where}: quad is {quad!r} and intensity {intensity!r}; expected numbers") from None
        of_stance.append(Rule(plover, _pattern(row["words"]) if row["words"] else None, row["basis"]))
    endless = [stance for stance, of_stance in rules.items() if of_stance[-1].words is not None]
    if endless:
        raise UserError(f"{path}: {listed(endless)} has no default; add a row without words")
    return Crosswalk(int(version[1]), {stance: tuple(of_stance) for stance, of_stance in rules.items()})


def _pattern(words: str) -> re.Pattern[str]:
    """Return a pattern of words separated by commas: ``*`` is any letters, ``…`` any words."""
    alternatives = []
    for word in words.split(","):
        parts = [r"\s+".join(re.escape(piece).replace(r"\*", r"[\w-]*") for piece in part.split()) for part in word.split("…")]
        alternatives.append(r"\b.*\b".join(parts))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(alternatives)})(?![\w-])", re.DOTALL)
