"""From a stance and its sentence to a PLOVER event, by ``data/crosswalk/plover.csv``."""

import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from haltung import files
from haltung.errors import UserError, listed, nearest

# The quad classes, as PLOVER numbers them.
QUADS = {1: "verbal cooperation", 2: "material cooperation", 3: "verbal conflict", 4: "material conflict"}


@dataclass(frozen=True)
class Plover:
    """An event of PLOVER: type, mode ("" if unknown), quad class (1-4), intensity (-10 to 10).

    ``event`` is "" and the numbers are None for ``neutral`` and for a warning, which threatens no
    punishment; neither is an event in PLOVER.
    """

    event: str
    mode: str = ""
    quad: int | None = None
    intensity: float | None = None


@lru_cache(maxsize=4096)
def event(stance: str, text: str) -> Plover:
    """Return the event for a stance in a sentence; ``UserError`` if the crosswalk lacks it."""
    rules = load()
    if stance not in rules:
        raise UserError(f"the PLOVER crosswalk has no stance '{stance}'{nearest(stance, rules)}; it has {listed(rules)}")
    plain = unicodedata.normalize("NFC", text.replace("\u00ad", "")).lower()
    return next(plover for plover, words in rules[stance] if words is None or words.search(plain))


@cache
def load() -> Mapping[str, tuple[tuple[Plover, re.Pattern[str] | None], ...]]:
    """Read the crosswalk: each stance's events in order, with a pattern of their words or None."""
    lines = (files.shipped("data") / "crosswalk" / "plover.csv").read_text(encoding="utf-8").splitlines()
    rules: dict[str, list[tuple[Plover, re.Pattern[str] | None]]] = {}
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        quad, intensity = row["quad"], row["intensity"]
        plover = Plover(row["event"], row["mode"], int(quad) if quad else None, float(intensity) if intensity else None)
        rules.setdefault(row["stance"], []).append((plover, _pattern(row["words"]) if row["words"] else None))
    return {stance: tuple(of_stance) for stance, of_stance in rules.items()}


def _pattern(words: str) -> re.Pattern[str]:
    """Return a pattern for comma-separated words: ``*`` is any letters, ``…`` any words."""
    alternatives = []
    for word in words.split(","):
        parts = [r"\s+".join(re.escape(piece).replace(r"\*", r"[\w-]*") for piece in part.split()) for part in word.split("…")]
        alternatives.append(r"\b.*\b".join(parts))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(alternatives)})(?![\w-])", re.DOTALL)
