"""A bundle as an MLflow model: code that is imported, not pickled; columns that are declared; an example that is tried.

A training logs its bundle as it is, to go on with within this project (``log_bundle``). For those who serve it the exported bundle is
logged beside (``log_exported``): it loads without torch and without Haltung.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung import __version__
from haltung.errors import UserError
from haltung.models.bundle import describe, is_exported
from haltung.records import Segment
from haltung.tracking.store import Connection, environment, mlflow, told

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

# The model's name within its run (`runs:/RUN/bundle`), and by which its code asks for the bundle.
NAME = "bundle"

# The same of an exported bundle; also the value of the tag `haltung.form`, by which its versions are found.
EXPORTED = "exported"

# What a bundle's answers depend on, by kind; their own dependencies follow from haltung's.
_LIBRARIES = {
    "network": ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas"),
    "linear": ("scikit-learn", "numpy", "pandas"),
    "ensemble": ("torch", "transformers", "tokenizers", "safetensors", "scikit-learn", "numpy", "pandas"),  # of any members
}

# All that an exported bundle needs, of whatever kind it was: no torch, and no Haltung.
_SERVING = ("mlflow", "numpy", "pandas", "onnxruntime", "tokenizers")

# A wider example tells nothing more, and every example is run through the model twice.
_EXAMPLES = 5


@dataclass(frozen=True)
class Logged:
    """A logged model: its URI for ``mlflow.pyfunc.load_model``, and its registered name and version ("" where it is not registered)."""

    uri: str
    model_id: str
    name: str = ""
    version: str = ""


def log_bundle(connection: Connection, run: str, folder: Path, examples: Sequence[Segment]) -> Logged:
    """Log a bundle to a run, and register it if the store says so.

    Raises:
        UserError: the folder holds no bundle, or there is no example.
    """
    description = describe(folder)
    needed = requirements(description["kind"])
    logged = _logged(connection, run, NAME, {NAME: str(folder)}, needed, description, examples)
    return _registered(connection, run, logged) if connection.store.model else logged


def log_exported(connection: Connection, run: str, folder: Path, examples: Sequence[Segment]) -> Logged:
    """Log an exported bundle to the run that it was made of, and register it.

    The model brings its own reader along (``haltung/client.py``). Its version is tagged ``haltung.form=exported``, with scheme, corpus and
    run, and is described with the figures on dev; the run is tagged ``haltung.exported`` and ``haltung.exported_version``.

    Args:
        connection: of the run's store.
        run: the id of the run.
        folder: that ``haltung export`` has written.
        examples: a few segments; they become the model's input example, and the model is tried with them.

    Raises:
        UserError: the folder holds no exported bundle, there is no example, the store registers no models, or it refuses.
    """
    description = describe(folder)
    if not is_exported(description):
        raise UserError(f"{folder} holds a trained bundle that was not exported; write one with haltung export run={run[:8]} to=FOLDER")
    if not connection.store.model:
        raise UserError("tracking.model is null, so the exported bundle has no name to be registered under; give tracking.model=NAME")
    artifacts = {NAME: str(folder), "client": _source("haltung.inference.client")}
    with told(connection.store):
        logged = _logged(connection, run, EXPORTED, artifacts, _pinned(_SERVING), description, examples)
        provenance = description.get("provenance", {})
        tags = {
            "haltung.form": EXPORTED,
            "haltung.kind": description["kind"],
            "haltung.scheme": description["scheme"]["name"],
            "haltung.scheme_digest": description["scheme_digest"],
            "haltung.corpus": provenance.get("corpus", ""),
            "haltung.run": run,
        }
        named = _registered(connection, run, logged, tags, _told(description))
        connection.client.set_tag(run, "haltung.exported", named.uri)
        connection.client.set_tag(run, "haltung.exported_version", f"{named.name}/{named.version}")
    return named


def _logged(
    connection: Connection, run: str, name: str, artifacts: Mapping[str, str], needed: Sequence[str], description: Mapping[str, Any],
    examples: Sequence[Segment],
) -> Logged:  # fmt: skip
    if not examples:
        raise UserError(f"the bundle {artifacts[NAME]} can't be logged without an example segment; give at least one")
    mlflow()
    from mlflow.models import Model

    with warnings.catch_warnings():
        # MLflow warns of the types of its own classes when this part of it is imported.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc as flavor

    # The requirements are given: pip needn't be asked whether it could install them, nor a uv.lock that lies about.
    # Without its experiment named, the model would lie in MLflow's default one, whose place is a folder of the working directory.
    own = {
        "MLFLOW_EXPERIMENT_ID": connection.experiment,
        "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
        "MLFLOW_UV_AUTO_DETECT": "false",
    }
    with _addressed(connection.store.address), environment(own):
        info = Model.log(
            artifact_path=None,
            name=name,
            flavor=flavor,
            run_id=run,
            python_model=_source("haltung.export.pyfunc"),
            artifacts=dict(artifacts),
            signature=signature(description["scheme"]["tasks"]),
            input_example=columns(examples[:_EXAMPLES]),
            pip_requirements=list(needed),
            metadata={"scheme": description["scheme"]["name"], "scheme_digest": description["scheme_digest"], "kind": description["kind"]},
        )
    return Logged(f"models:/{info.model_id}", info.model_id)


def columns(segments: Sequence[Segment]) -> pd.DataFrame:
    """Return the segments as the model's input: ``id``, ``text``, ``context``, ``target``."""
    import pandas as pd

    names = ("id", "text", "context", "target")
    return pd.DataFrame([{name: getattr(segment, name) for name in names} for segment in segments], columns=list(names))


def signature(tasks: dict[str, Any]) -> ModelSignature:
    """Return the declared columns, for a scheme's tasks as plain data: ``text`` is required; a multi-label task answers with a list."""
    mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    text = DataType.string
    inputs: list[Any] = [ColSpec(text, name, required=name == "text") for name in ("id", "text", "context", "target")]
    answers: list[Any] = [ColSpec(text if task["kind"] == "single" else Array(text), name) for name, task in tasks.items()]
    return ModelSignature(Schema(inputs), Schema([ColSpec(text, "id"), *answers, ColSpec(text, "probabilities")]))


def requirements(kind: str) -> list[str]:
    """Return what pip must install to load a bundle of this kind: this project, and the versions that its answers depend on."""
    return [f"haltung=={__version__}", *_pinned(("mlflow", *_LIBRARIES[kind]))]


def _pinned(names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        try:
            # A local build's suffix (2.9.1+cpu) is known to no other machine's index.
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found


def _source(module: str) -> str:
    """Return the file of one of this project's modules, without importing it."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


def _told(description: Mapping[str, Any]) -> str:
    """Return what an exported bundle's version says of itself on MLflow's page."""
    reference = description.get("reference", {})
    figures = ", ".join(f"{task} {value:.3f}" for task, value in reference.get("macro_f1", {}).items())
    sizes = ", ".join(f"{name} ({one['bytes'] / 1e6:.1f} MB)" for name, one in description["formats"].items() if "bytes" in one)
    lines = [f"Exported to ONNX, scheme {description['scheme']['name']}; it loads without torch and without Haltung."]
    if figures:
        where = f"{reference.get('corpus', '')} {reference.get('split', '')}".strip()
        lines.append(f"Macro-F1 on {where} ({reference.get('segments', '?')} segments): {figures}.")
    return "\n\n".join([*lines, f"Formats: {sizes}; served in fp32."])


def _registered(
    connection: Connection, run: str, logged: Logged, tags: Mapping[str, str] | None = None, described: str | None = None
) -> Logged:
    from mlflow.exceptions import MlflowException

    name, client = connection.store.model, connection.client
    assert name is not None
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
    # MLflow looks the logged model up by its global state, not by this client's.
    with _addressed(connection.store.address):
        made = client.create_model_version(
            name, source=logged.uri, run_id=run, tags=dict(tags or {}), description=described, model_id=logged.model_id
        )
    return Logged(logged.uri, logged.model_id, name, str(made.version))


@contextmanager
def _addressed(address: str) -> Iterator[None]:
    """Point MLflow's global state at the store, which logging a model reads, and put it back as it was."""
    library = mlflow()
    before = os.environ.get("MLFLOW_TRACKING_URI")
    library.set_tracking_uri(address)
    try:
        yield
    finally:
        library.set_tracking_uri(None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before
