"""``ErrorAnalysis``: all that is found when a model is looked at more closely than its figures, as a record that goes to JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haltung.errors import UserError
from haltung.evaluation.error_analysis.mistakes import Mistakes
from haltung.evaluation.error_analysis.name_sensitivity import Reliance
from haltung.evaluation.error_analysis.slices import Slices

FORMAT = 1
EXAMINATION = "examination.json"


@dataclass(frozen=True)
class ErrorAnalysis:
    """Slices, reliance on names, and errors to read, of one model on one split.

    ``explained`` counts the mistakes with word importances. ``explanation_gap`` says how far to trust them: the logits that they leave
    unexplained, as a share of those that they explain (means of sizes; None where there are none; 0 for a linear model).
    """

    corpus: str
    split: str
    slices: Slices
    reliance: Reliance
    mistakes: Mistakes
    explained: int
    explanation_gap: float | None

    def metrics(self) -> dict[str, float]:
        """Return the cost of masked names and the share of flips flat, ``{"stance_macro_f1_masked_change": …}``, for a tracker."""
        out: dict[str, float] = {}
        for name, row in self.reliance.tasks.items():
            out[f"{name}_macro_f1_masked_change"] = row.macro_f1_change.value
            if row.flips is not None:
                out[f"{name}_flips"] = row.flips.value
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, the inverse of ``from_dict``."""
        return {
            "format": FORMAT,
            "corpus": self.corpus,
            "split": self.split,
            "slices": self.slices.to_dict(),
            "reliance": self.reliance.to_dict(),
            "mistakes": self.mistakes.to_dict(),
            "explained": self.explained,
            "explanation_gap": self.explanation_gap,
        }

    def to_json(self) -> str:
        """Return the examination as JSON text; floats keep every digit."""
        return json.dumps(self.to_dict(), ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ErrorAnalysis:
        """Make the record of plain data."""
        parts = (Slices.from_dict(data["slices"]), Reliance.from_dict(data["reliance"]), Mistakes.from_dict(data["mistakes"]))
        return cls(data["corpus"], data["split"], *parts, data["explained"], data["explanation_gap"])


def read(path: Path) -> ErrorAnalysis:
    """Read an ``examination.json``.

    Raises:
        UserError: the file is missing, broken, or of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{path}: no such examination; haltung evaluate writes one") from None
    except ValueError as error:
        raise UserError(f"{path} is broken ({error}); evaluate again") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else None
        raise UserError(f"{path} is of format {found}, this version reads {FORMAT}; evaluate again")
    try:
        return ErrorAnalysis.from_dict(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no examination ({error}); evaluate again") from None
