"""One artefact for every kind of model: a folder with ``haltung.json`` and what its kind needs beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from haltung import __version__
from haltung.errors import UserError, listed
from haltung.files import atomic_folder
from haltung.inference.sessions import Graph, is_installed
from haltung.labels import parse
from haltung.models import seen as learned
from haltung.models.calibration import Calibration
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.exported import ExportedModel
from haltung.models.predictor import Model, Predictor
from haltung.records import Segment

FORMAT = 1
DESCRIPTION = "haltung.json"
KINDS = ("network", "linear", "ensemble")
_MEMBERS = "members"


def save(model: Model, folder: Path, provenance: Mapping[str, Any] | None = None, learned_from: Iterable[Segment] = ()) -> Path:
    """Write the bundle, atomically, and return its folder; an older bundle there is replaced.

    Args:
        model: to write.
        folder: of the bundle.
        provenance: where it comes from.
        learned_from: train and dev segments, of which marks are kept (see ``learned``); without any there is no such list.
    """
    with atomic_folder(folder) as scratch:
        own = model.write(scratch)
        if isinstance(model, EnsembleModel):
            for number, member in enumerate(model.members):
                save(member.model, scratch / _MEMBERS / str(number), {"name": member.name})
        if segments := list(learned_from):
            learned.write(scratch, segments)
        description = {
            "format": FORMAT,
            "haltung": __version__,
            "kind": model.kind,
            "scheme": model.scheme.to_dict(),
            "scheme_digest": model.scheme.digest(),
            **own,
            "calibration": model.calibration.to_dict(),
            "provenance": dict(provenance or {}),
        }
        (scratch / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return folder


def describe(folder: Path) -> dict[str, Any]:
    """Return the bundle's description.

    Raises:
        UserError: it is no bundle, is broken, or is of another format.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "has no haltung.json, so it is no bundle" if folder.is_dir() else "is no such folder"
        raise UserError(f"{folder} {what}; expected a folder that haltung train or export has written") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is broken ({error}); export or train the bundle again") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise UserError(f"{path} is of format {found}, this version reads {FORMAT}; export the bundle again or use another version")
    if description.get("kind") not in KINDS:
        raise UserError(f"{path} is of kind '{description.get('kind')}', allowed are {listed(KINDS)}")
    return description


def is_exported(description: Mapping[str, Any]) -> bool:
    """Return whether a bundle is exported: a trained model with graphs that need neither torch nor Haltung."""
    return "formats" in description and "input" in description


def load(folder: Path) -> Predictor:
    """Read a bundle, trained or exported.

    Of an exported one the graph is loaded; the weights only where ONNX Runtime is not installed.

    Raises:
        UserError: it is no bundle, or a part of it is missing or broken.
    """
    description = describe(folder)
    if is_exported(description) and is_installed("onnxruntime"):
        with _broken_parts(folder):
            return ExportedModel(folder, Graph.of_entry(folder, "fp32", description["formats"]["fp32"]))
    return load_trained(folder)


def load_trained(folder: Path) -> Model:
    """Read the weights of a bundle, trained or exported.

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


@contextmanager
def _broken_parts(folder: Path) -> Iterator[None]:
    """Turn the errors of broken files into one of the user's."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, OSError, BadZipFile) as error:
        what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise UserError(f"the bundle in {folder} is broken or incomplete ({what}); export or train it again") from error
