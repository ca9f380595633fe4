"""The formats of a bundle: how each is made, and how much it may differ from the trained model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np

from haltung.actors.candidates import ROLES
from haltung.errors import UserError, listed
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit
from haltung.files import sha256
from haltung.inference.sessions import has_bf16, is_installed
from haltung.models.predictor import Model, tables
from haltung.models.units import SLOTS
from haltung.records import Prediction

# The writer of each kind, in a module of ``graphs`` that is imported late, since it needs torch.
_GRAPHS = {"linear": "linear:write", "network": "neural:write", "article": "neural:write_articles"}
SIDES = ("source", "target")  # outputs of a model that finds dyads, besides tasks
MAX_DIFFERENCE = 1e-4  # of a probability in fp32, where only rounding may differ
MAX_FLIPS = 0.01  # the share of a task's labels that a reduced precision may change
MAX_LOSS = 0.005


@dataclass(frozen=True)
class FormatComparison:
    """A format compared with the trained model on a split.

    ``difference`` is the largest difference of a probability. ``flips`` has the share of segments
    whose label (or set of labels) differs, for each task, and of those whose likeliest ``source``
    or ``target`` differs. The speed is per second of processor time.
    """

    difference: float
    flips: Mapping[str, float]
    macro_f1: Mapping[str, float]
    documents_per_second: float


def write_graph(model: Model, path: Path) -> dict[str, Any]:
    """Write the model's graph in fp32, and return the entries of ``haltung.json`` on its inputs.

    These are ``views``, what each pass reads, and ``input``, how a text is converted to tensors.
    """
    path.parent.mkdir(exist_ok=True)
    return dict(resolve_name(f"haltung.export.graphs.{_GRAPHS[model.kind]}")(model, path))


def obstacle(name: str) -> str:
    """Return why a format can't be made and measured on this machine; "" if it can."""
    if name != "bf16":
        return ""
    if not is_installed("openvino"):
        return "bf16 is run by OpenVINO, which is not installed; install it with: pip install openvino"
    return "" if has_bf16() else "this processor does not compute in bf16, so it can't be measured here"


def make(name: str, folder: Path) -> dict[str, Any]:
    """Make a format from the fp32 graph and return its entry; ``UserError`` if it is unknown."""
    from haltung.export.graphs import reduced

    if name == "bf16":  # needs no file of its own
        return {**entry(folder, "fp32"), "runtime": "openvino", "hint": "bf16"}
    makers = {"fp16": reduced.halved, "int8": reduced.quantised}
    if name not in makers:
        raise UserError(f"unknown format '{name}'; choose from fp32, {listed(makers)}, bf16")
    makers[name](graph_path(folder, "fp32"), graph_path(folder, name))
    return entry(folder, name)


def graph_path(folder: Path, name: str) -> Path:
    """Return the path of a format's graph."""
    return folder / "onnx" / f"model.{name}.onnx"


def entry(folder: Path, name: str) -> dict[str, Any]:
    """Return a graph's entry in ``haltung.json``."""
    path = graph_path(folder, name)
    return {"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": sha256(path)}


def compare(
    reference: ScoredSplit, expected_sides: Mapping[str, np.ndarray], predicted: Sequence[Prediction], seconds: float
) -> FormatComparison:
    """Compare a format's predictions, and their ``sides``, with those of the model."""
    probabilities, found = tables([one.probabilities for one in predicted], reference.scheme), sides(predicted)
    scored = replace(reference, probabilities=probabilities)
    flips = {side: float((found[side].argmax(axis=1) != values.argmax(axis=1)).mean()) for side, values in expected_sides.items()}
    for task in reference.scheme:
        # A NaN counts as a flip; argmax would take it for the maximum.
        differs = np.asarray(scored.decided(task.name) != reference.decided(task.name)).reshape(len(reference), -1).any(axis=1)
        flips[task.name] = float((differs | ~np.isfinite(probabilities[task.name]).all(axis=1)).mean())
    difference = largest_difference({**probabilities, **found}, {**reference.probabilities, **expected_sides})
    return FormatComparison(difference, flips, macro_f1(scored), len(reference) / max(seconds, 1e-9))


def sides(predicted: Sequence[Prediction]) -> dict[str, np.ndarray]:
    """Return the probabilities of each candidate as ``source`` and as ``target`` in each role.

    The arrays are ``[segments, SLOTS * roles]``; without actors in the predictions there are none.
    """
    if not any(one.actors for one in predicted):
        return {}
    out = {side: np.zeros((len(predicted), SLOTS, len(ROLES))) for side in SIDES}
    for row, one in enumerate(predicted):
        for slot, actor in enumerate(one.actors):
            for side, values in out.items():
                found = getattr(actor, side)
                values[row, slot, : len(found)] = list(found.values())
    return {side: values.reshape(len(predicted), -1) for side, values in out.items()}


def macro_f1(scored: ScoredSplit) -> dict[str, float]:
    """Return the macro-F1 of each task with gold labels."""
    return {task: metrics.macro_f1 for task, metrics in evaluate(scored, required=False).tasks.items()}


def objections(comparison: FormatComparison, reference: Mapping[str, float], exact: bool) -> list[str]:
    """Return a sentence for each limit that a format exceeds.

    ``reference`` has the model's macro-F1 for each task. An ``exact`` format uses fp32 throughout.
    """
    out = []
    if not np.isfinite(comparison.difference):
        out.append("some of its probabilities are not numbers")
    if exact and not comparison.difference <= MAX_DIFFERENCE:
        out.append(f"a probability differs by {comparison.difference:.1e}, but at most {MAX_DIFFERENCE:.0e} is allowed")
    allowed = 0.0 if exact else MAX_FLIPS
    for task, share in comparison.flips.items():
        if share > allowed:
            out.append(f"{task}: {share:.2%} of the labels flip, but {'none may' if exact else f'at most {allowed:.0%} may'}")
    if not exact:
        for task, value in comparison.macro_f1.items():
            if (lost := reference[task] - value) > MAX_LOSS + 1e-12:  # tolerates rounding errors
                out.append(f"{task}: macro-F1 falls by {100 * lost:.2f} points to {value:.3f}, but at most {100 * MAX_LOSS:g} is allowed")
    return out


def largest_difference(probabilities: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference of a probability over all tasks; infinity if one is NaN."""
    values = [np.nan_to_num(np.abs(np.asarray(probabilities[task]) - expected[task]), nan=np.inf, posinf=np.inf) for task in expected]
    return max((float(value.max(initial=0.0)) for value in values), default=0.0)
