"""One artefact for every kind of model: a folder with ``haltung.json`` and what its kind needs beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np

from haltung import __version__
from haltung.errors import UserError, listed
from haltung.files import atomic_folder
from haltung.labels import Scheme, parse
from haltung.models import seen as learned
from haltung.models.spec import Calibration
from haltung.records import Prediction, Segment

FORMAT = 1
DESCRIPTION = "haltung.json"
KINDS = ("network", "linear", "ensemble")


class Model(Protocol):
    """The face that all models share."""

    kind: str
    scheme: Scheme
    calibration: Calibration

    def probabilities(self, segments: Sequence[Segment], progress: bool = False) -> dict[str, np.ndarray]:
        """Return the probabilities of each task, ``[segments, labels]``, with the temperatures of ``calibration`` applied."""
        ...

    def predict(self, segments: Sequence[Segment], progress: bool = False) -> list[Prediction]:
        """Return a prediction for each segment, in order."""
        ...

    def write(self, folder: Path) -> dict[str, Any]:
        """Write all files but the description into ``folder``; return what the description has to hold."""
        ...


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


def load(folder: Path) -> Model:
    """Read a bundle.

    Raises:
        UserError: it is no bundle, or a part of it is missing or broken.
    """
    description = describe(folder)
    try:
        scheme = parse(description["scheme"], source=str(folder / DESCRIPTION))
        if description["kind"] == "linear":
            from haltung.models.linear import LinearModel

            model: Model = LinearModel.read(folder, scheme, description)
        elif description["kind"] == "ensemble":
            from haltung.models.ensemble import EnsembleModel

            model = EnsembleModel.read(folder, scheme, description)
        else:
            from haltung.models.neural import NetworkModel

            model = NetworkModel.read(folder, scheme, description)
        model.calibration = Calibration.from_dict(description.get("calibration", {}))
        return model
    except (KeyError, TypeError, AttributeError, ValueError, OSError, BadZipFile) as error:
        what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise UserError(f"the bundle in {folder} is broken or incomplete ({what}); export or train it again") from error
