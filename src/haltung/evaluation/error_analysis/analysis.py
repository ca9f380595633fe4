"""The record of an error analysis: slices, sensitivity to names, and errors to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from haltung.evaluation.error_analysis.mistakes import Mistakes
from haltung.evaluation.error_analysis.name_sensitivity import NameSensitivity
from haltung.evaluation.error_analysis.slices import Slices

FORMAT = 1
ERROR_ANALYSIS = "examination.json"


@dataclass(frozen=True)
class ErrorAnalysis:
    """Slices, sensitivity to names, and errors to read, of one model on one split.

    ``explained`` counts the mistakes with word attributions. ``explanation_gap`` says how far to
    trust them: the share of the logits that they leave unexplained (a ratio of mean absolute
    values; None where there are no attributions; 0 for a linear model).
    """

    corpus: str
    split: str
    slices: Slices
    name_sensitivity: NameSensitivity
    mistakes: Mistakes
    explained: int
    explanation_gap: float | None

    def metrics(self) -> dict[str, float]:
        """Return the changes by masked names and the shares of flips flat, for a tracker.

        ``{"stance_macro_f1_masked_change": …, "stance_flips": …}``.
        """
        out: dict[str, float] = {}
        for name, row in self.name_sensitivity.tasks.items():
            out[f"{name}_macro_f1_masked_change"] = row.macro_f1_change.value
            if row.flips is not None:
                out[f"{name}_flips"] = row.flips.value
        return out

    def to_json(self) -> str:
        """Return the analysis as JSON text; floats keep every digit."""
        # The key that files have had from the first version on.
        data: dict[str, Any] = {("reliance" if name == "name_sensitivity" else name): value for name, value in asdict(self).items()}
        return json.dumps({"format": FORMAT, **data}, ensure_ascii=False) + "\n"
