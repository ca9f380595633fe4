"""Export of a trained model to a bundle, all formats of which have been compared with it."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from haltung import __version__
from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.metrics.results import EvaluationResult
from haltung.evaluation.predictions import ScoredSplit, score
from haltung.export import documents, formats, golden
from haltung.export.formats import SIDES, FormatComparison
from haltung.files import atomic_folder, sha256
from haltung.inference.client import FORMAT, LIMIT
from haltung.inference.sessions import Graph, library
from haltung.models.bundle import DESCRIPTION, VECTORS, ExportedModel
from haltung.models.predictor import Model
from haltung.records import Segment

# Tasks with these names would clash with inputs of the graph, or with its other outputs.
_TAKEN = ("input_ids", "attention_mask", "own_mask", "token_type_ids", "numbers", "counts")
_TAKEN_BY_ARTICLES = ("positions", "sentence", "place", "kind", *VECTORS, *SIDES)


@dataclass(frozen=True)
class ReferenceSplit:
    """The split on which formats are compared with the trained model; ``figures`` are the model's
    out-of-fold results if it has learned from these segments, else None.
    """

    corpus: str
    split: str
    segments: Sequence[Segment] = field(repr=False)
    figures: EvaluationResult | None = None

    def evaluation(self, scored: ScoredSplit) -> EvaluationResult | None:
        """Return the results for the tasks of ``scored``, None if nothing is labelled."""
        if self.figures:
            return replace(self.figures, tasks={name: task for name, task in self.figures.tasks.items() if name in scored.scheme.names})
        return evaluate(scored) if scored.tasks else None


@dataclass(frozen=True)
class ExportResult:
    """The outcome: ``folder`` is None if fp32 was refused, so that nothing was written. ``formats``
    are within the limits; others were ``refused``, or ``skipped`` as not measurable here.
    ``reference`` has the trained model's macro-F1 per task, ``bytes`` the size of each format.
    """

    folder: Path | None
    formats: tuple[str, ...]
    refused: Mapping[str, str]
    skipped: Mapping[str, str]
    comparisons: Mapping[str, FormatComparison]
    reference: Mapping[str, float]
    bytes: Mapping[str, int]


def export(
    model: Model, folder: Path, reference: ReferenceSplit, provenance: Mapping[str, Any], wanted: Sequence[str] = ("fp16", "bf16"),
    callback: Callable[[str], None] = lambda step: None, beside: Sequence[Path] = (),
) -> ExportResult:  # fmt: skip
    """Write a bundle atomically into a folder that is new, empty, or holds an older bundle.

    ``wanted`` are the formats to try besides fp32; ``callback`` gets each step's name first;
    ``beside`` are files to copy. ``UserError`` if the folder holds something else, a task has the
    name of an input or output of a graph, the split is empty, or a library is not installed.
    """
    check_target(folder, reference, (folder / DESCRIPTION).is_file(), "a bundle")
    if clash := {*_TAKEN, *(_TAKEN_BY_ARTICLES if model.reads_articles else ())} & set(model.scheme.names):
        raise UserError(f"the task '{min(clash)}' has the same name as an input of the graph, so it can't be exported; rename it")
    for name in ("onnx", "onnxscript", "onnxruntime"):
        library(name)
    callback("the trained model's own predictions")
    job = _Export(model, reference, callback)
    with suppress(NothingAgrees), atomic_folder(folder) as scratch:
        for path in beside:
            shutil.copyfile(path, scratch / path.name)
        job.write(scratch, provenance, wanted)
    written = None if "fp32" in job.refused else folder
    sizes = {name: entry["bytes"] for name, entry in job.formats.items()}
    return ExportResult(written, tuple(job.formats), job.refused, job.skipped, job.comparisons, job.macro_f1, sizes)


def check_target(folder: Path, reference: ReferenceSplit, older: bool, what: str) -> None:
    """Raise ``UserError`` if the folder holds anything but an older one, or the split is empty."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder to write to: to=DIR")
    if folder.is_dir() and any(folder.iterdir()) and not older:
        raise UserError(f"{folder} contains something that is not {what} and would be lost; name an empty folder, or a new one: to=DIR")
    if not reference.segments:
        empty = f"the {reference.split} split of the corpus '{reference.corpus}' is empty"
        raise UserError(f"{empty}, so nothing can be compared with the model")


class NothingAgrees(Exception):
    """Nothing agrees with the trained model in fp32; the folder stays unchanged."""


class _Export:
    """An export in progress: the model's predictions, and the formats so far."""

    def __init__(self, model: Model, reference: ReferenceSplit, callback: Callable[[str], None]) -> None:
        self.model, self.reference, self.callback = model, reference, callback
        self.inputs = golden.inputs(model.reads_articles)
        self.golden_segments = [segment for segment, _ in self.inputs]
        predicted = model.predict(reference.segments, progress=True, precision="fp32")
        self.scored: ScoredSplit = score(reference.segments, predicted, model.scheme, reference.corpus, reference.split)
        self.sides = formats.sides(predicted)
        self.golden = model.probabilities(self.golden_segments, precision="fp32")
        self.macro_f1 = formats.macro_f1(self.scored)
        self.formats: dict[str, dict[str, Any]] = {}
        self.refused, self.skipped = dict[str, str](), dict[str, str]()
        self.comparisons: dict[str, FormatComparison] = {}

    def write(self, folder: Path, provenance: Mapping[str, Any], wanted: Sequence[str]) -> None:
        """Write all files into an empty folder, or raise ``NothingAgrees``."""
        model, scheme, reference = self.model, self.model.scheme, self.reference
        evaluation = reference.evaluation(self.scored)
        figures = {name: task.macro_f1 for name, task in evaluation.tasks.items()} if evaluation else {}
        parts = model.write(folder)
        if parts.get("encoder", {}).get("origin") == "folder":
            # The encoder's path on this machine is private.
            parts["encoder"]["path"] = Path(parts["encoder"]["path"]).name
        golden.write(folder / golden.FILE, self.inputs, self.golden, scheme)
        self.callback("fp32")
        graph = formats.write_graph(model, formats.graph_path(folder, "fp32"))
        self.formats["fp32"] = formats.entry(folder, "fp32")
        content: dict[str, Any] = {
            "format": FORMAT, "haltung": __version__, "kind": model.kind,
            "scheme": scheme.to_dict(), "scheme_digest": scheme.digest(), "outputs": {task.name: list(task.ids) for task in scheme},
            **parts, **graph, "calibration": asdict(model.calibration), "formats": self.formats, "refused": self.refused,
            "reference": {"corpus": reference.corpus, "split": reference.split, "segments": len(self.scored), "macro_f1": figures},
            "provenance": dict(provenance),
        }  # fmt: skip
        write_description(folder, content)
        self.admit(folder, "fp32")
        if "fp32" in self.refused:
            raise NothingAgrees
        for name in wanted:
            if obstacle := formats.obstacle(name):
                self.skipped[name] = obstacle
                continue
            self.callback(name)
            self.formats[name] = formats.make(name, folder)
            write_description(folder, content)
            self.admit(folder, name)
        documents.write_schemas(folder, scheme, model.calibration)
        documents.write_card(folder, content, evaluation)
        runtimes = {entry.get("runtime", "onnxruntime") for entry in self.formats.values()}
        documents.write_sbom(folder, content, ["numpy", *runtimes, *(["tokenizers"] if "tokenizer" in content["input"] else [])])
        write_description(folder, content)
        make_readable(folder)

    def admit(self, folder: Path, name: str) -> None:
        """Compare a format on split and golden answers; drop it if it exceeds a limit."""
        entry = self.formats[name]
        exported = ExportedModel(folder, Graph.of_entry(folder, name, entry, threads=1))
        began = time.process_time()
        predicted = exported.predict(self.reference.segments)
        comparison = self.comparisons[name] = formats.compare(self.scored, self.sides, predicted, time.process_time() - began)
        objections = formats.objections(comparison, self.macro_f1, exact=name == "fp32")
        difference = formats.largest_difference(exported.probabilities(self.golden_segments), self.golden)
        if name == "fp32" and difference > LIMIT:
            objections.append(f"a golden answer differs by {difference:.1e}, but at most {LIMIT:.0e} is allowed")
        if objections:
            self.refused[name] = "; ".join(objections)
            del self.formats[name]
            if not any(other["file"] == entry["file"] for other in self.formats.values()):
                (folder / entry["file"]).unlink()
            return
        # Other processors round differently, at reduced precision by as much as the reduction.
        tolerance = LIMIT if name == "fp32" else max(LIMIT, float(f"{2 * difference:.1e}"))
        # Without the speed, which depends on the machine.
        entry |= {"largest_difference": comparison.difference, "flips": dict(comparison.flips), "macro_f1": dict(comparison.macro_f1)}
        entry |= {"golden": difference, "tolerance": tolerance}


def make_readable(folder: Path) -> None:
    """Make all files readable by all: weights are private by default, services run as others."""
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | (0o111 if path.is_dir() else 0) | 0o444)


def write_description(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``haltung.json`` with the SHA-256 of each other file, and of its own content."""
    others = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DESCRIPTION)
    whole = {**content, "files": {path.relative_to(folder).as_posix(): sha256(path) for path in others}}
    whole["digest"] = digest(whole)
    (folder / DESCRIPTION).write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def digest(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a description without its ``digest``, with keys in the given order."""
    rest = {key: value for key, value in description.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, ensure_ascii=True).encode()).hexdigest()
