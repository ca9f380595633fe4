"""A bundle as an MLflow model: code that is imported, not pickled; columns that are declared; an example that is tried."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung import __version__
from haltung.errors import UserError
from haltung.model.bundle import describe
from haltung.records import Segment
from haltung.tracking.store import Connection, environment, mlflow

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

# The model's name within its run (`runs:/RUN/bundle`), and by which its code asks for the bundle.
NAME = "bundle"

# What a bundle's answers depend on, by kind; their own dependencies follow from haltung's.
_LIBRARIES = {
    "network": ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas"),
    "linear": ("scikit-learn", "numpy", "pandas"),
}

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
    if not examples:
        raise UserError(f"the bundle {folder} can't be logged without an example segment; give at least one")
    mlflow()
    from mlflow.models import Model

    with warnings.catch_warnings():
        # MLflow warns of the types of its own classes when this part of it is imported.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc as flavor

    example = columns(examples[:_EXAMPLES])
    # The requirements are those below: pip needn't be asked whether it could install them, nor a uv.lock that lies about.
    # Without its experiment named, the model would lie in MLflow's default one, whose place is a folder of the working directory.
    own = {
        "MLFLOW_EXPERIMENT_ID": connection.experiment,
        "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
        "MLFLOW_UV_AUTO_DETECT": "false",
    }
    with _addressed(connection.store.address), environment(own):
        info = Model.log(
            artifact_path=None,
            name=NAME,
            flavor=flavor,
            run_id=run,
            python_model=_code(),
            artifacts={NAME: str(folder)},
            signature=signature(description["scheme"]["tasks"]),
            input_example=example,
            pip_requirements=requirements(description["kind"]),
            metadata={"scheme": description["scheme"]["name"], "scheme_digest": description["scheme_digest"], "kind": description["kind"]},
        )
        logged = Logged(f"models:/{info.model_id}", info.model_id)
        return _registered(connection, run, logged) if connection.store.model else logged


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
    found = [f"haltung=={__version__}"]
    for name in ("mlflow", *_LIBRARIES[kind]):
        try:
            # A local build's suffix (2.9.1+cpu) is known to no other machine's index.
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found


def _code() -> str:
    spec = find_spec("haltung.export.pyfunc")
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


def _registered(connection: Connection, run: str, logged: Logged) -> Logged:
    from mlflow.exceptions import MlflowException

    name, client = connection.store.model, connection.client
    assert name is not None
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
    made = client.create_model_version(name, source=logged.uri, run_id=run, model_id=logged.model_id)
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
