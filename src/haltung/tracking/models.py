"""Bundles as MLflow models: logged, registered, and pointed to by aliases such as ``champion``.

A logged model has code instead of a pickle, declared columns, and a tested example. A training logs
its bundle for use within this project. The exported bundle is logged beside it and registered, for
serving; it loads without torch and without Haltung.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung import __version__
from haltung.errors import UserError
from haltung.inference.sessions import version_of
from haltung.models.bundle import describe, is_exported, reads_articles
from haltung.records import Segment
from haltung.tracking.store import Connection, environment, expected, mlflow, mlflow_errors

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

_PACKAGE = Path(__file__).resolve().parents[1]  # MLflow copies modules of this project as files
NAME = "bundle"  # name of the model in its run (`runs:/RUN/bundle`), and of its artifact
EXPORTED = "exported"  # name of an exported model in its run, and value of its versions' tag `haltung.form`
# The libraries that a bundle's predictions depend on, by kind; an ensemble may have any members.
_TORCH = ("torch", "transformers", "tokenizers", "safetensors")
_LIBRARIES = {"network": _TORCH, "article": _TORCH, "linear": ("scikit-learn",), "ensemble": (*_TORCH, "scikit-learn")}
# The input examples if no text of a corpus may be stored: an article of our own.
_ARTICLE = ("Die Insel will ihren Zoll senken.", "Ihr Nachbar begrüßt das.", "Die Opposition warnt vor den Kosten.")
_EXAMPLES = tuple(Segment(str(n), text, article="Zoll", headline="Streit um Zölle", position=n) for n, text in enumerate(_ARTICLE))
_COLUMNS = ("id", "text", "context", "target")  # a model of articles also has the columns below
_ARTICLE_COLUMNS = ("article", "headline", "position")


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model; ``run`` is the id of its run, "" if it names none."""

    name: str
    version: str
    run: str
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


def log_bundle(connection: Connection, run: str, folder: Path, examples: Sequence[Segment]) -> str:
    """Log a bundle to a run; return its URI. Only ``log_exported`` makes registered versions.

    ``examples``, a few segments, become the model's input example, with which MLflow tests it; if
    the store logs no texts, invented ones replace them. Raises ``UserError`` if the folder holds no
    bundle, or there is no example.
    """
    description = describe(folder)
    return str(_logged(connection, run, NAME, {NAME: str(folder)}, requirements(description["kind"]), description, examples).model_uri)


def log_exported(connection: Connection, run: str, folder: Path, examples: Sequence[Segment]) -> ModelVersion:
    """Log an exported bundle to the run that it was made from, register it, return its version.

    The model carries a copy of the code that reads it (``inference/client.py``). Its version is
    tagged ``haltung.form=exported``, with scheme, corpus and run; the run is tagged
    ``haltung.exported`` and ``haltung.exported_version``. Raises ``UserError`` if the folder holds
    no exported bundle, there is no example, the store names no model, or MLflow refuses.
    """
    description = describe(folder)
    if not is_exported(description):
        raise UserError(f"{folder} contains a trained bundle that was not exported; write one with haltung export run={run[:8]} to=FOLDER")
    name, client = _registered_name(connection), connection.client
    artifacts = {NAME: str(folder), "client": str(_PACKAGE / "inference" / "client.py")}
    needed = _pinned(("mlflow", "numpy", "pandas", "onnxruntime", "tokenizers"))
    logged = _logged(connection, run, EXPORTED, artifacts, needed, description, examples)
    tags = {
        "haltung.form": EXPORTED, "haltung.kind": description["kind"], "haltung.scheme": description["scheme"]["name"],
        "haltung.scheme_digest": description["scheme_digest"], "haltung.corpus": description.get("provenance", {}).get("corpus", ""),
        "haltung.run": run,
    }  # fmt: skip
    with mlflow_errors(connection.store):
        with expected("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            client.create_registered_model(name)
        # MLflow looks the logged model up by its global state, not by this client's.
        with _addressed(connection.store.address):
            created = client.create_model_version(name, source=logged.model_uri, run_id=run, tags=tags, model_id=logged.model_id)
        client.set_tag(run, "haltung.exported", logged.model_uri)
        client.set_tag(run, "haltung.exported_version", f"{name}/{created.version}")
    return _version(created)


def exported_version(connection: Connection, run: str) -> ModelVersion | None:
    """Return the newest registered version of the run's exported bundle, None if it has none.
    Raises ``UserError`` if the store registers no models, or refuses.
    """
    name = _registered_name(connection)
    with mlflow_errors(connection.store):
        versions = [_version(one) for one in connection.client.search_model_versions(f"run_id = '{run}'") if one.name == name]
    return max((one for one in versions if one.tags.get("haltung.form") == EXPORTED), key=lambda one: int(one.version), default=None)


def version_of_alias(connection: Connection, alias: str) -> ModelVersion | None:
    """Return the version that an alias points to, if any; ``UserError`` as ``exported_version``."""
    name, client = _registered_name(connection), connection.client
    aliases: Mapping[str, str] = {}
    with mlflow_errors(connection.store):
        with expected("RESOURCE_DOES_NOT_EXIST"):
            aliases = client.get_registered_model(name).aliases
        return _version(client.get_model_version(name, aliases[alias])) if alias in aliases else None


def set_alias(connection: Connection, alias: str, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Point an alias to a version, and tag that version; ``UserError`` if MLflow refuses."""
    with mlflow_errors(connection.store):
        connection.client.set_registered_model_alias(version.name, alias, version.version)
        for key, value in tags.items():
            connection.client.set_model_version_tag(version.name, version.version, key, value)


def _logged(
    connection: Connection, run: str, name: str, artifacts: Mapping[str, str], needed: Sequence[str], description: Mapping[str, Any],
    examples: Sequence[Segment],
) -> "ModelInfo":  # fmt: skip
    examples = examples if connection.store.log_texts else _EXAMPLES
    if not examples:
        raise UserError(f"the bundle {artifacts[NAME]} can't be logged without an example segment; give at least one")
    mlflow()
    from mlflow.models import Model

    # MLflow warns of the types of its own classes when this part of it is imported.
    with warnings.catch_warnings(action="ignore"):
        import mlflow.pyfunc as flavor

    # Requirements are given; the default experiment would write into the working directory.
    settings = {
        "MLFLOW_EXPERIMENT_ID": connection.experiment, "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true", "MLFLOW_UV_AUTO_DETECT": "false",
    }  # fmt: skip
    articles = reads_articles(Path(artifacts[NAME]))
    # MLflow runs every example through the model twice, so five are enough.
    with mlflow_errors(connection.store), _addressed(connection.store.address), environment(settings):
        info: ModelInfo = Model.log(
            artifact_path=None, name=name, flavor=flavor, run_id=run, python_model=str(_PACKAGE / "export" / "pyfunc.py"),
            artifacts=dict(artifacts), signature=signature(description["scheme"]["tasks"], articles),
            input_example=columns(examples[:5], articles), pip_requirements=list(needed),
            metadata={"scheme": description["scheme"]["name"], "scheme_digest": description["scheme_digest"], "kind": description["kind"]},
        )  # fmt: skip
    return info


def columns(segments: Sequence[Segment], articles: bool = False) -> "pd.DataFrame":
    """Return the segments as a model's input table; a model of ``articles`` has more columns."""
    import pandas as pd

    names = [*_COLUMNS, *(_ARTICLE_COLUMNS if articles else ())]
    return pd.DataFrame([{name: getattr(segment, name) for name in names} for segment in segments], columns=names)


def signature(tasks: dict[str, Any], articles: bool = False) -> "ModelSignature":
    """Return a scheme's model signature: ``text`` is required, multi-label tasks return lists."""
    mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Array

    text = DataType.string
    inputs: list[Any] = [ColSpec(text, name, required=name == "text") for name in _COLUMNS]
    # pandas turns whole numbers into floats if one is missing, which MLflow's own types reject.
    inputs += [ColSpec(AnyType() if name == "position" else text, name, required=False) for name in _ARTICLE_COLUMNS if articles]
    answers: list[Any] = [ColSpec(text if task["kind"] == "single" else Array(text), name) for name, task in tasks.items()]
    return ModelSignature(Schema(inputs), Schema([ColSpec(text, "id"), *answers, ColSpec(text, "probabilities")]))


def requirements(kind: str) -> list[str]:
    """Return what pip must install to load a bundle: this project, and pinned libraries."""
    return [f"haltung=={__version__}", *_pinned(("mlflow", *_LIBRARIES[kind], "numpy", "pandas"))]


def _pinned(names: Sequence[str]) -> list[str]:
    # The suffix of a local build (2.9.1+cpu) is unknown to other package indexes.
    return [f"{name}=={version.partition('+')[0]}" for name in names if (version := version_of(name))]


@contextmanager
def _addressed(address: str) -> Iterator[None]:
    """Point MLflow's global state, which logging a model reads, to the store within the block."""
    library = mlflow()
    with environment({"MLFLOW_TRACKING_URI": address}, override=True):
        library.set_tracking_uri(address)
        try:
            yield
        finally:
            library.set_tracking_uri(None)


def _registered_name(connection: Connection) -> str:
    if not connection.store.model:
        raise UserError("tracking.model is null, so registered models have no name here; set it with tracking.model=NAME")
    return connection.store.model


def _version(version: Any) -> ModelVersion:
    return ModelVersion(version.name, str(version.version), version.run_id or "", dict(version.tags))
