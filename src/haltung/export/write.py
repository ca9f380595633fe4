"""From a trained model to the bundle that another service gets: every format is held against the model before it goes in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from haltung import __version__
from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.metrics.results import EvaluationResult
from haltung.evaluation.predictions import ScoredSplit, score
from haltung.export import card, comparing, description, formats, golden, schemas
from haltung.export.comparing import Comparison
from haltung.files import atomic_folder
from haltung.inference import sessions
from haltung.inference.sessions import Graph
from haltung.models.bundle import DESCRIPTION, FORMAT
from haltung.models.exported import ExportedModel
from haltung.models.predictor import Model, predictions
from haltung.records import Segment

# A client has to agree with the golden answers within this, where the weights are those of the trained model.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Wanted:
    """What is asked for. ``formats`` beside fp32 are tried in order; one of them that is in ``required`` has to succeed."""

    formats: tuple[str, ...] = ("fp16", "bf16")
    required: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Origin:
    """Where a model comes from: the bundle's own ``provenance``, and the split that it is held against."""

    provenance: Mapping[str, Any]
    corpus: str
    split: str
    segments: Sequence[Segment] = field(repr=False)


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    ``folder`` is None where fp32 was refused, so that nothing was written. ``formats`` are those that stayed within the limits, ``refused``
    has the reason for each other one; ``compared`` has the figures of both, ``reference`` the trained model's macro-F1.
    """

    folder: Path | None
    formats: tuple[str, ...]
    refused: Mapping[str, str]
    skipped: Mapping[str, str]
    compared: Mapping[str, Comparison]
    reference: Mapping[str, float]
    bytes: Mapping[str, int]


class _Refused(Exception):
    """fp32 does not agree with the trained model; the folder is left as it was."""


def export(model: Model, folder: Path, origin: Origin, wanted: Wanted, told: Callable[[str], None] = lambda step: None) -> Exported:
    """Write the bundle, atomically; an older one there is replaced.

    Args:
        model: trained and calibrated.
        folder: to write; it may hold an exported bundle, or nothing.
        origin: of the model, with the split that each format is compared on.
        wanted: which formats.
        told: is called with each step's name before it is begun.

    Raises:
        UserError: the folder holds something else, the split is empty, or a library is missing.
    """
    _vacant(folder)
    _nameable(model)
    if not origin.segments:
        raise UserError(f"the {origin.split} split of the corpus '{origin.corpus}' is empty, so no format can be compared with the model")
    for library in ("onnx", "onnxscript", "onnxruntime"):
        sessions.library(library)
    told("the trained model's own answers")
    given = golden.inputs()
    found = model.probabilities([*origin.segments, *(segment for segment, _ in given)], progress=True, precision="fp32")
    rows = len(origin.segments)
    said = predictions([segment.id for segment in origin.segments], {task: values[:rows] for task, values in found.items()}, model.scheme)
    scored = score(origin.segments, said, model.scheme, origin.corpus, origin.split)
    answers = {task: values[rows:] for task, values in found.items()}
    work = _Work(model, origin, scored, given, answers, told)
    try:
        with atomic_folder(folder) as scratch:
            work.write(scratch, wanted)
    except _Refused:
        return work.outcome(None)
    return work.outcome(folder)


class _Work:
    """One export: what it starts from, and what has come of it so far."""

    def __init__(self, model: Model, origin: Origin, scored: ScoredSplit, given: Sequence[tuple[Segment, str]],
                 answers: Mapping[str, np.ndarray], told: Callable[[str], None]) -> None:  # fmt: skip
        self.model, self.origin, self.scored, self.given, self.answers, self.told = model, origin, scored, given, answers, told
        self.macro_f1 = comparing.macro_f1(scored)
        self.formats: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.compared: dict[str, Comparison] = {}

    def outcome(self, folder: Path | None) -> Exported:
        """Return what came of it."""
        sizes = {name: entry["bytes"] for name, entry in self.formats.items()}
        return Exported(folder, tuple(self.formats), self.refused, self.skipped, self.compared, self.macro_f1, sizes)

    def write(self, folder: Path, wanted: Wanted) -> None:
        """Write everything into an empty folder.

        Raises:
            _Refused: fp32 does not agree.
        """
        own = self.model.write(folder)
        # Where the encoder lay on this machine is nobody else's business.
        if "encoder" in own:
            own["encoder"]["path"] = Path(own["encoder"]["path"]).name if own["encoder"]["origin"] == "folder" else own["encoder"]["path"]
        scheme = self.model.scheme
        self.told("fp32")
        content: dict[str, Any] = {
            "format": FORMAT, "haltung": __version__, "kind": self.model.kind,
            "scheme": scheme.to_dict(), "scheme_digest": scheme.digest(),
            "outputs": {task.name: list(task.ids) for task in scheme},
            **own, **formats.write_graph(self.model, formats.file(folder, "fp32")),
            "calibration": self.model.calibration.to_dict(), "formats": self.formats, "refused": self.refused,
            "reference": self.told_of_reference(),
            "provenance": dict(self.origin.provenance),
        }  # fmt: skip
        golden.write(folder / golden.FILE, self.given, self.answers, scheme)
        self.formats["fp32"] = formats.entry(formats.file(folder, "fp32"), folder)
        description.write(folder, content)
        self.admit(folder, "fp32")
        if "fp32" in self.refused:
            raise _Refused
        for name in wanted.formats:
            why = formats.unable(name)
            if why:
                self.skipped[name] = why
                continue
            self.told(name)
            self.formats[name] = formats.made(name, folder)
            self.admit(folder, name)
        schemas.write(folder, scheme, self.model.calibration)
        card.write(folder, content, figures(self.scored))
        description.write(folder, content)
        for path in folder.rglob("*"):
            # Weights are written for their owner alone; a service often runs as somebody else.
            path.chmod(path.stat().st_mode | (0o111 if path.is_dir() else 0) | 0o444)

    def told_of_reference(self) -> dict[str, Any]:
        """Return what the figures of every format are held against."""
        return {"corpus": self.origin.corpus, "split": self.origin.split, "segments": len(self.scored), "macro_f1": self.macro_f1}

    def admit(self, folder: Path, name: str) -> None:
        """Compare a format on the split and on the golden answers; take it out again where it exceeds a limit."""
        entry = self.formats[name]
        model = ExportedModel(folder, Graph.of_entry(folder, name, entry, threads=1))
        began = time.process_time()
        found = model.probabilities(self.origin.segments)
        seconds = time.process_time() - began
        compared = self.compared[name] = comparing.compare(self.scored, found, seconds)
        against = comparing.faults(compared, self.macro_f1, exact=name == "fp32")
        apart = comparing.apart(model.probabilities([segment for segment, _ in self.given]), self.answers)
        if name == "fp32" and apart > TOLERANCE:
            against.append(f"a golden answer differs by {apart:.1e}, allowed is {TOLERANCE:.0e}")
        if against:
            self.refused[name] = "; ".join(against)
            del self.formats[name]
            if not any(other["file"] == entry["file"] for other in self.formats.values()):
                (folder / entry["file"]).unlink()
            return
        # Another processor rounds otherwise; in a reduced precision that is as much as the reduction itself.
        tolerance = TOLERANCE if name == "fp32" else max(TOLERANCE, float(f"{2 * apart:.1e}"))
        entry |= {**compared.to_dict(), "golden": apart, "tolerance": tolerance}


def figures(scored: ScoredSplit) -> EvaluationResult | None:
    """Return the trained model's figures on the split; None where no segment is labelled."""
    return evaluate(scored) if any(scored.labelled(task.name).any() for task in scored.scheme) else None


def _nameable(model: Model) -> None:
    """Refuse a task that is called as an input of the graph is."""
    taken = {"input_ids", "attention_mask", "own_mask", "token_type_ids", "numbers", "counts"}
    if clash := taken & set(model.scheme.names):
        raise UserError(f"the task '{min(clash)}' is called as an input of the graph is, so it can't be exported; call it otherwise")


def _vacant(folder: Path) -> None:
    """Refuse to put a bundle in the place of something else, which would be lost."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder to write the bundle into: to=DIR")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / DESCRIPTION).is_file():
        raise UserError(f"{folder} holds something that is no bundle, which would be lost; name an empty folder, or a new one: to=DIR")
