"""How dyads are chosen from what a model says of each actor: a few numbers, found on dev and kept beside the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haltung.errors import UserError
from haltung.files import write_text


@dataclass(frozen=True)
class Choice:
    """How dyads are chosen from what the two models say; ``haltung dyads tune=true`` finds these numbers on dev.

    ``least``: of a segment that is not neutral the likeliest pair is kept, as the label standard asks for, and any other from this
    probability on. ``alike``: one actor on both sides is so many times as likely. ``neutral`` multiplies the probability of no stance,
    ``nobody`` that of a side which is nobody.
    """

    least: float = 0.4
    alike: float = 0.3
    neutral: float = 1.0
    nobody: float = 1.0

    def __post_init__(self) -> None:
        """Raise ``UserError`` where a number is out of its range."""
        for name, value in asdict(self).items():
            if not 0 <= value < float("inf"):
                raise UserError(f"the choice of dyads has {name} {value}; expected a number of at least 0")


def file(folder: Path) -> Path:
    """Return where a dyad model's choice is kept."""
    return folder / "dyads.json"


def keep(folder: Path, choice: Choice, told: Mapping[str, Any]) -> None:
    """Write a choice into the folder of the dyad model that it was found for, with what it was found on.

    Raises:
        UserError: the folder can't be written.
    """
    path = file(folder)
    try:
        write_text(path, json.dumps({"choice": asdict(choice), **told}, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}; copy the model to a folder that you may write to") from None


def read(folder: Path) -> Choice:
    """Read what ``keep`` has written; the defaults where nothing is kept.

    Raises:
        UserError: the file is there and holds no choice.
    """
    path = file(folder)
    try:
        return Choice(**json.loads(path.read_text(encoding="utf-8"))["choice"])
    except FileNotFoundError:
        return Choice()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} holds no choice of dyads; write it again with haltung dyads tune=true split=dev, or remove it") from None


def copy(folder: Path, to: Path) -> None:
    """Write the choice that is kept in one folder into another, an export of the same model; nothing where none is kept.

    Raises:
        UserError: it holds no choice, or the other folder can't be written.
    """
    if file(folder).is_file():
        choice = read(folder)
        told = json.loads(file(folder).read_text(encoding="utf-8"))
        keep(to, choice, {key: value for key, value in told.items() if key != "choice"})
