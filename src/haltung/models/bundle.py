"""Bundles: the folder of a model of any kind, with its description in ``haltung.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from haltung import __version__
from haltung.errors import UserError, listed
from haltung.files import atomic_folder
from haltung.inference import sessions
from haltung.inference.client import BundleError, Classifier
from haltung.inference.sessions import Graph, is_installed
from haltung.labels import parse
from haltung.models.calibration import Calibration
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.predictor import Model, Predictor
from haltung.records import Segment

FORMAT = 1
DESCRIPTION = "haltung.json"
KINDS = ("network", "article", "linear", "ensemble")
LEARNED = "learned.txt"  # hashes of the segments that the model was trained or chosen on
_MEMBERS = "members"

# The weights of each kind that can be exported, and the library that reads them.
_WEIGHTS = {"network": ("model.safetensors", "torch"), "linear": ("linear.safetensors", "scikit-learn")}


class ExportedModel(Predictor):
    """An exported bundle whose graph is run by ONNX Runtime or OpenVINO; torch is not needed."""

    def __init__(self, folder: Path, graph: Graph) -> None:
        """Load a graph; ``UserError`` if it or the bundle is broken, or the runtime is missing."""
        try:
            self._classifier = Classifier(folder, format=None)
        except BundleError as error:
            raise UserError(str(error)) from None
        self._classifier.run = sessions.load(graph)
        description = self._classifier.description
        self.scheme = parse(description["scheme"], source=str(folder / DESCRIPTION))
        self.calibration = Calibration.from_dict(description.get("calibration", {}))

    def probabilities(self, segments: Sequence[Segment], progress: bool = False) -> dict[str, np.ndarray]:
        """Return the calibrated probabilities of each task, float64 ``[segments, labels]``."""
        from tqdm import tqdm

        parts = [{"text": segment.text, "context": segment.context, "target": segment.target} for segment in segments]
        out = {task.name: np.zeros((len(segments), len(task))) for task in self.scheme}
        with tqdm(total=len(parts), desc="predict", unit=" segments", delay=2, disable=not progress, leave=False) as bar:
            for rows, answers in self._classifier.batches(parts):
                for task, values in out.items():
                    values[rows] = answers[task]
                bar.update(len(rows))
        return out


def save(model: Model, folder: Path, provenance: Mapping[str, Any] | None = None, learned_from: Iterable[Segment] = ()) -> Path:
    """Write a bundle atomically, replacing an older one, and return its folder.

    ``learned_from`` are the train and dev segments; their hashes are for ``known_segments``.
    """
    with atomic_folder(folder) as scratch:
        parts = model.write(scratch)
        if isinstance(model, EnsembleModel):
            for number, member in enumerate(model.members):
                save(member.model, scratch / _MEMBERS / str(number), {"name": member.name})
        if hashes := sorted({_hash(segment) for segment in learned_from}):
            (scratch / LEARNED).write_text("".join(f"{line}\n" for line in hashes), encoding="ascii")
        description = {
            "format": FORMAT,
            "haltung": __version__,
            "kind": model.kind,
            "scheme": model.scheme.to_dict(),
            "scheme_digest": model.scheme.digest(),
            **parts,
            "calibration": model.calibration.to_dict(),
            "provenance": dict(provenance or {}),
        }
        (scratch / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return folder


def describe(folder: Path) -> dict[str, Any]:
    """Return a bundle's description; ``UserError`` if it is none, broken, or of another format."""
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "has no haltung.json, so it is no bundle" if folder.is_dir() else "is no such folder"
        raise UserError(f"{folder} {what}; expected a folder written by haltung train or export") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is broken ({error}); export or train the bundle again") from None
    version = description.get("format") if isinstance(description, dict) else None
    if version != FORMAT:
        raise UserError(f"{path} is of format {version}, this version reads {FORMAT}; export the bundle again or use another version")
    if description.get("kind") not in KINDS:
        raise UserError(f"{path} is of kind '{description.get('kind')}', allowed are {listed(KINDS)}")
    return dict(description)


def is_exported(description: Mapping[str, Any]) -> bool:
    """Return whether a bundle is exported, so that it has graphs that need no torch."""
    return "formats" in description and "input" in description


def reads_articles(folder: Path) -> bool:
    """Return whether a bundle's model, or a member of it, reads the segments of articles together.

    Raises ``UserError`` as ``describe``.
    """
    members = sorted((folder / _MEMBERS).glob("*"))
    return describe(folder)["kind"] == "article" or any(map(reads_articles, members))


def load(folder: Path, graph: bool = False) -> Predictor:
    """Load a trained or exported bundle by its weights, which predict as after the training.

    An exported bundle is run by its fp32 graph if its weights, or the library that reads them, are
    missing; or if a ``graph`` is preferred and ONNX Runtime is installed. ``UserError`` is raised
    if it is no bundle, or a part of it is missing or broken.
    """
    description = describe(folder)
    if is_exported(description) and is_installed("onnxruntime"):
        weights, library = _WEIGHTS[description["kind"]]
        if graph or not (is_installed(library) and (folder / weights).is_file()):
            with _broken_parts(folder):
                return ExportedModel(folder, Graph.of_entry(folder, "fp32", description["formats"]["fp32"]))
    return load_trained(folder)


def load_trained(folder: Path) -> Model:
    """Load the weights of a trained or exported bundle; ``UserError`` as ``load``."""
    description = describe(folder)
    with _broken_parts(folder):
        scheme = parse(description["scheme"], source=str(folder / DESCRIPTION))
        model: Model
        if description["kind"] == "linear":
            from haltung.models.linear import LinearModel

            model = LinearModel.read(folder, scheme, description)
        elif description["kind"] == "ensemble":
            members = [Member(name, load_trained(folder / _MEMBERS / str(number))) for number, name in enumerate(description["members"])]
            model = EnsembleModel(members, description["weights"], scheme)
        elif description["kind"] == "article":
            from haltung.models.article import ArticleModel

            model = ArticleModel.read(folder, scheme, description)
        else:
            from haltung.models.neural import NeuralModel

            model = NeuralModel.read(folder, scheme, description)
        model.calibration = Calibration.from_dict(description.get("calibration", {}))
    return model


def known_segments(folder: Path, segments: Sequence[Segment]) -> list[str] | None:
    """Return the ids of segments that the model, or a member of it, was trained or chosen on.

    Segments are the same if text and target are, apart from spaces and case. None is returned for a
    bundle of an older version, which has no list of hashes.
    """
    files = sorted(folder.rglob(LEARNED))
    if not files:
        return None
    known = {line for file in files for line in file.read_text(encoding="ascii").split()}
    return [segment.id for segment in segments if _hash(segment) in known]


def _hash(segment: Segment) -> str:
    text = "\0".join(" ".join(part.split()).casefold() for part in (segment.text, segment.target or ""))
    # 12 digits: among a million texts, two share them by chance once in about 500 corpora.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@contextmanager
def _broken_parts(folder: Path) -> Iterator[None]:
    """Turn the errors of broken files into a ``UserError``."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, OSError, BadZipFile) as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise UserError(f"the bundle in {folder} is broken or incomplete ({what}); export or train it again") from error
