"""Bundles: the folder of a model of any kind, with its description in ``haltung.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from haltung import __version__
from haltung.errors import UserError, listed
from haltung.files import atomic_folder
from haltung.inference.sessions import Graph, is_installed
from haltung.labels import parse
from haltung.models.calibration import Calibration
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.exported import ExportedModel
from haltung.models.predictor import Model, Predictor
from haltung.records import Segment

FORMAT = 1
DESCRIPTION = "haltung.json"
KINDS = ("network", "linear", "ensemble")
LEARNED = "learned.txt"  # hashes of the segments that the model was trained or chosen on
_MEMBERS = "members"


def save(model: Model, folder: Path, provenance: Mapping[str, Any] | None = None, learned_from: Iterable[Segment] = ()) -> Path:
    """Write a bundle atomically, replacing an older one, and return its folder.

    Args:
        model: to write.
        folder: of the bundle.
        provenance: where the model comes from.
        learned_from: train and dev segments, whose hashes are written (see ``known_segments``).
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
    """Return the description of a bundle.

    Raises:
        UserError: it is no bundle, is broken, or has another format.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "has no haltung.json, so it is no bundle" if folder.is_dir() else "is no such folder"
        raise UserError(f"{folder} {what}; expected a folder written by haltung train or export") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is broken ({error}); export or train the bundle again") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        version = description.get("format") if isinstance(description, dict) else None
        raise UserError(f"{path} is of format {version}, this version reads {FORMAT}; export the bundle again or use another version")
    if description.get("kind") not in KINDS:
        raise UserError(f"{path} is of kind '{description.get('kind')}', allowed are {listed(KINDS)}")
    return description


def is_exported(description: Mapping[str, Any]) -> bool:
    """Return whether a bundle is exported, so that it has graphs that need no torch."""
    return "formats" in description and "input" in description


def load(folder: Path) -> Predictor:
    """Load the model of a trained or exported bundle.

    An exported bundle is run by its fp32 graph, or by its weights if ONNX Runtime is missing.

    Raises:
        UserError: it is no bundle, or a part of it is missing or broken.
    """
    description = describe(folder)
    if is_exported(description) and is_installed("onnxruntime"):
        with _broken_parts(folder):
            return ExportedModel(folder, Graph.of_entry(folder, "fp32", description["formats"]["fp32"]))
    return load_trained(folder)


def load_trained(folder: Path) -> Model:
    """Load the weights of a trained or exported bundle.

    Raises:
        UserError: it is no bundle, or a part of it is missing or broken.
    """
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
        else:
            from haltung.models.neural import NeuralModel

            model = NeuralModel.read(folder, scheme, description)
        model.calibration = Calibration.from_dict(description.get("calibration", {}))
    return model


def known_segments(folder: Path, segments: Sequence[Segment]) -> list[str] | None:
    """Return the ids of segments that the model, or a member of it, was trained or chosen on.

    Segments are the same if text and target are, apart from spaces and case.

    Returns:
        None if the bundle has no list of hashes, as those of older versions.
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
