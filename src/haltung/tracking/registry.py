"""Registered models: the version of a run, and the version of an alias such as ``champion``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haltung.errors import UserError
from haltung.tracking.models import EXPORTED
from haltung.tracking.read import RunRecord
from haltung.tracking.store import Connection, mlflow_errors


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model; ``run`` is the id of its run, "" if it names none."""

    name: str
    version: str
    run: str
    tags: Mapping[str, str]

    def __str__(self) -> str:
        """Return it as it is named in messages."""
        return f"{self.name} version {self.version}"


def exported_version(record: RunRecord) -> ModelVersion | None:
    """Return the newest registered version of the run's exported bundle, None if it has none.

    Raises:
        UserError: the store registers no models, or refuses.
    """
    connection = record.connection
    name = _name(connection)
    with mlflow_errors(connection.store):
        versions = [_version(one) for one in connection.client.search_model_versions(f"run_id = '{record.id}'") if one.name == name]
    exported = [one for one in versions if one.tags.get("haltung.form") == EXPORTED]
    return max(exported, key=lambda one: int(one.version), default=None)


def version_of_alias(connection: Connection, alias: str) -> ModelVersion | None:
    """Return the version that an alias points to, None if there is no such alias.

    Raises:
        UserError: the store registers no models, or refuses.
    """
    from mlflow.exceptions import MlflowException

    name, client = _name(connection), connection.client
    with mlflow_errors(connection.store):
        try:
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return _version(client.get_model_version(name, aliases[alias])) if alias in aliases else None


def set_alias(connection: Connection, alias: str, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Point an alias to a version, and tag that version.

    Raises:
        UserError: MLflow does not allow such an alias, or the store refuses.
    """
    with mlflow_errors(connection.store):
        connection.client.set_registered_model_alias(version.name, alias, version.version)
        for key, value in tags.items():
            connection.client.set_model_version_tag(version.name, version.version, key, value)


def _name(connection: Connection) -> str:
    if not connection.store.model:
        raise UserError("tracking.model is null, so it is not known which registered model is meant; give its name as tracking.model=NAME")
    return connection.store.model


def _version(version: Any) -> ModelVersion:
    return ModelVersion(version.name, str(version.version), version.run_id or "", dict(version.tags))
