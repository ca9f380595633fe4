"""How far an exported format is from the model that was trained, and how far it may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit

# fp32 is the same computation, so nothing but rounding may differ: the largest difference of a probability, and no label.
EXACT_DIFFERENCE = 1e-4
# What a reduced precision may cost each task: the share of its labels that come out otherwise, and of its macro-F1.
MOST_FLIPS = 0.01
MOST_LOSS = 0.005


@dataclass(frozen=True)
class Comparison:
    """One format on a split, beside the trained model.

    ``difference`` is the largest difference of a probability. ``flips`` has for each task the share of segments whose label (or set of
    labels) differs, ``macro_f1`` the figure for each task that has gold labels, ``documents_per_second`` the speed on one thread.
    """

    difference: float
    flips: Mapping[str, float]
    macro_f1: Mapping[str, float]
    documents_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """Return what ``haltung.json`` says of it; the speed is the machine's and not the bundle's."""
        return {"largest_difference": self.difference, "flips": dict(self.flips), "macro_f1": dict(self.macro_f1)}


def compare(reference: ScoredSplit, found: Mapping[str, np.ndarray], seconds: float) -> Comparison:
    """Return how far the found probabilities, for each task ``[segments, labels]``, are from the reference's."""
    other = dataclasses.replace(reference, probabilities=dict(found))
    difference = max(
        (float(np.abs(found[task.name] - reference.probabilities[task.name]).max(initial=0.0)) for task in reference.scheme), default=0.0
    )
    flips = {}
    for task in reference.scheme:
        # NaN is equal to nothing, and argmax would take it for the highest.
        differs = np.asarray(other.decided(task.name) != reference.decided(task.name)).reshape(len(reference), -1).any(axis=1)
        flips[task.name] = float((differs | ~np.isfinite(found[task.name]).all(axis=1)).mean())
    return Comparison(difference, flips, macro_f1(other), len(reference) / max(seconds, 1e-9))


def macro_f1(scored: ScoredSplit) -> dict[str, float]:
    """Return the macro-F1 of each task that has gold labels; empty where no segment has any."""
    if not any(scored.labelled(task.name).any() for task in scored.scheme):
        return {}
    return {task: figures.macro_f1 for task, figures in evaluate(scored).tasks.items()}


def faults(comparison: Comparison, reference: Mapping[str, float], exact: bool) -> list[str]:
    """Return what speaks against a format, a sentence for each limit that it exceeds; empty where it stays within all of them.

    Args:
        comparison: of the format.
        reference: the trained model's macro-F1 of each task.
        exact: whether it computes in fp32 with weights in fp32.
    """
    out = []
    if not np.isfinite(comparison.difference):
        out.append("some of its probabilities are no numbers")
    if exact and not comparison.difference <= EXACT_DIFFERENCE:
        out.append(f"a probability differs by {comparison.difference:.1e}, allowed is {EXACT_DIFFERENCE:.0e}")
    allowed = 0.0 if exact else MOST_FLIPS
    for task, share in comparison.flips.items():
        if share > allowed:
            out.append(f"{task}: {share:.2%} of the labels flip, allowed {'are none' if exact else f'is {allowed:.0%}'}")
    if not exact:
        for task, value in comparison.macro_f1.items():
            # A rounding error below the limit is no loss.
            if reference[task] - value > MOST_LOSS + 1e-12:
                lost = 100 * (reference[task] - value)
                out.append(f"{task}: macro-F1 falls by {lost:.2f} points to {value:.3f}, allowed is {100 * MOST_LOSS:g}")
    return out


def apart(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference of a probability over all tasks; infinity where one is no number."""
    values = [np.abs(np.asarray(found[task]) - wanted[task]) for task in wanted]
    largest = max((float(value.max(initial=0.0)) for value in values), default=0.0)
    return largest if all(np.isfinite(value).all() for value in values) else float("inf")
