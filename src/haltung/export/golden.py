"""The golden answers: inputs as nasty as they come, with the probabilities that the trained model gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.models.predictor import predictions
from haltung.records import Segment

FILE = "golden.jsonl"
_INPUTS = "golden_inputs.jsonl"


@dataclass(frozen=True)
class Golden:
    """One input, why it is there, and what is expected: label (or labels) and probabilities of each task."""

    segment: Segment
    note: str
    labels: Mapping[str, str | tuple[str, ...]]
    probabilities: Mapping[str, Mapping[str, float]]


def inputs() -> list[tuple[Segment, str]]:
    """Return the inputs that come with the package, and what each is there for; our own sentences all."""
    out = []
    # Not splitlines: it would split at characters within a text, too.
    for line in files("haltung.export").joinpath(_INPUTS).read_text(encoding="utf-8").strip("\n").split("\n"):
        row = json.loads(line)
        # Long texts are written down once, with how often they are to be repeated.
        parts = {name: row.get(name, "") * row.get("times", {}).get(name, 1) for name in ("text", "context", "target")}
        out.append((Segment(row["id"], **parts), row["note"]))
    return out


def write(path: Path, given: Sequence[tuple[Segment, str]], probabilities: Mapping[str, np.ndarray], scheme: Scheme) -> None:
    """Write the golden answers, an object a line.

    Args:
        path: of the file.
        given: the inputs.
        probabilities: of the trained model, for each task ``[inputs, labels]``.
        scheme: names tasks and labels.
    """
    lines = []
    for (segment, note), found in zip(given, predictions([segment.id for segment, _ in given], probabilities, scheme), strict=True):
        parts = {name: value for name in ("text", "context", "target") if (value := getattr(segment, name)) or name == "text"}
        labels = {task: list(label) if isinstance(label, tuple) else label for task, label in found.labels.items()}
        # ASCII with escapes: half a character can't be written in UTF-8.
        lines.append(json.dumps({"id": segment.id, "note": note, **parts, "labels": labels, "probabilities": found.probabilities}))
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def read(folder: Path, scheme: Scheme) -> list[Golden]:
    """Read a bundle's golden answers.

    Raises:
        UserError: the file is missing or broken, or speaks of other tasks or labels than the scheme.
    """
    path = folder / FILE
    try:
        lines = path.read_text(encoding="utf-8").strip("\n").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path} is missing, so there is nothing to verify the bundle by; export it again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read ({error}); export the bundle again") from None
    out = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            segment = Segment(str(row["id"]), str(row["text"]), context=str(row.get("context", "")), target=str(row.get("target", "")))
            labels = {task: tuple(label) if isinstance(label, list) else str(label) for task, label in row["labels"].items()}
            values = {task.name: {label: float(row["probabilities"][task.name][label]) for label in task.ids} for task in scheme}
            out.append(Golden(segment, str(row.get("note", "")), labels, values))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}, line {number}: no golden answer of this bundle ({error!r}); export the bundle again") from None
    return out


def expected(golden: Sequence[Golden], scheme: Scheme) -> dict[str, np.ndarray]:
    """Return the expected probabilities of each task, ``[inputs, labels]``."""
    return {task.name: np.array([[one.probabilities[task.name][label] for label in task.ids] for one in golden]) for task in scheme}
