"""The golden answers of a bundle: difficult inputs with the trained model's probabilities."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from haltung.errors import UserError
from haltung.inference.client import file_of
from haltung.labels import Scheme
from haltung.models.bundle import broken_parts
from haltung.models.predictor import predictions
from haltung.records import Segment

FILE = "golden.jsonl"
_FIELDS = ("text", "context", "target", "article", "headline", "position")


@dataclass(frozen=True)
class Golden:
    """One input, what it tests, and the expected labels and probabilities of each task."""

    segment: Segment
    note: str
    labels: Mapping[str, str | tuple[str, ...]]
    probabilities: Mapping[str, Mapping[str, float]]


def inputs(articles: bool = False) -> list[tuple[Segment, str]]:
    """Return the package's inputs and what each tests; some only for models of ``articles``."""
    out = []
    # Not splitlines, which also splits at characters within a text.
    for line in files("haltung.export").joinpath("golden_inputs.jsonl").read_text(encoding="utf-8").strip("\n").split("\n"):
        row = json.loads(line)
        if "headline" in row and not articles:
            continue
        # Long texts and articles are stored once, with the number of repetitions.
        for name in ("text", "context", "target", "sentences"):
            row[name] = row.get(name, "") * row.get("times", {}).get(name, 1)
        if not row["sentences"]:
            out.append((_segment(row), row["note"]))
        positions = row.get("positions", range(len(row["sentences"])))
        for number, (text, position) in enumerate(zip(row["sentences"], positions, strict=True)):
            one = {**row, "id": f"{row['id']}-{number}", "text": text, "article": row["id"], "position": position}
            out.append((_segment(one), row["note"]))
    return out


def write(path: Path, segments: Sequence[tuple[Segment, str]], probabilities: Mapping[str, np.ndarray], scheme: Scheme) -> None:
    """Write inputs, what each tests, and probabilities, ``[inputs, labels]``, as JSON Lines."""
    lines = []
    predicted = predictions([segment.id for segment, _ in segments], probabilities, scheme)
    for (segment, note), prediction in zip(segments, predicted, strict=True):
        parts = {name: value for name in _FIELDS if (value := getattr(segment, name)) not in ("", None) or name == "text"}
        labels = {task: list(label) if isinstance(label, tuple) else label for task, label in prediction.labels.items()}
        # ASCII with escapes, since UTF-8 can't encode lone surrogates.
        lines.append(json.dumps({"id": segment.id, "note": note, **parts, "labels": labels, "probabilities": prediction.probabilities}))
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def read(folder: Path, scheme: Scheme) -> list[Golden]:
    """Read the golden answers; ``UserError`` if they are missing, broken, or have other labels."""
    with broken_parts(folder):
        path = file_of(folder, FILE, {})
        lines = path.read_text(encoding="utf-8").strip("\n").split("\n")
    out = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            labels = {task: tuple(label) if isinstance(label, list) else str(label) for task, label in row["labels"].items()}
            values = {task.name: {label: float(row["probabilities"][task.name][label]) for label in task.ids} for task in scheme}
            out.append(Golden(_segment(row), str(row.get("note", "")), labels, values))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not a golden answer of this bundle ({error!r}); export the bundle again") from None
    return out


def _segment(row: Mapping[str, Any]) -> Segment:
    text, context, target, article, headline = (str(row.get(name, "")) for name in _FIELDS[:-1])
    position = None if row.get("position") is None else int(row["position"])
    return Segment(str(row["id"]), text, context=context, target=target, article=article, headline=headline, position=position)
