"""Which of the dyads that a model finds probable count: a few numbers, tuned on dev."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haltung.errors import UserError
from haltung.files import write_text


@dataclass(frozen=True)
class Thresholds:
    """How dyads are chosen from probabilities, tuned at the end of a training.

    Of a segment that is not neutral the likeliest pair always counts, as the label standard asks
    for, and any other pair from the probability ``pair`` on. The rest are factors: ``same_actor``
    of pairs with one actor on both sides, ``neutral`` of the stance that means none, ``nobody`` of
    a side without an actor.
    """

    pair: float = 0.4
    same_actor: float = 0.3
    neutral: float = 1.0
    nobody: float = 1.0

    def __post_init__(self) -> None:
        """Raise ``UserError`` where a number is out of its range."""
        for name, value in asdict(self).items():
            if not 0 <= value < float("inf"):
                raise UserError(f"the thresholds of dyads have {name} {value}; expected a number of at least 0")


def path(folder: Path) -> Path:
    """Return the file of the thresholds in a bundle's folder."""
    return folder / "dyads.json"


def write(folder: Path, thresholds: Thresholds, tuned_on: Mapping[str, Any]) -> None:
    """Write thresholds and what they were tuned on into a bundle; ``UserError`` if that fails."""
    try:
        write_text(path(folder), json.dumps({"thresholds": asdict(thresholds), **tuned_on}, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{path(folder)} can't be written: {error.strerror}; copy the bundle to a folder that you may write to") from None


def read(folder: Path) -> Thresholds:
    """Read a bundle's thresholds, the defaults if it has none; ``UserError`` if they are broken."""
    try:
        return Thresholds(**json.loads(path(folder).read_text(encoding="utf-8"))["thresholds"])
    except FileNotFoundError:
        return Thresholds()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        remedy = "write it with haltung dyads tune=true split=dev, or remove it"
        raise UserError(f"{path(folder)} holds no thresholds of dyads; {remedy}") from None
