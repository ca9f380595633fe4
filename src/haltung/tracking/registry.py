"""Registered models: which version is whose, and which one an alias such as ``champion`` points to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haltung.errors import UserError
from haltung.tracking.models import EXPORTED
from haltung.tracking.read import RunRecord
from haltung.tracking.store import Connection, told


@dataclass(frozen=True)
class Version:
    """A version of a registered model. ``run`` is the id of the run that it comes from, "" where it says none."""

    name: str
    version: str
    run: str
    tags: Mapping[str, str]

    def __str__(self) -> str:
        """Return it as people say it."""
        return f"{self.name} version {self.version}"


def exported_version(record: RunRecord) -> Version | None:
    """Return the newest registered version of the run's exported bundle, None where it has none.

    Raises:
        UserError: the store registers no models, or refuses.
    """
    connection = record.connection
    name = _name(connection)
    with told(connection.store):
        found = [_version(one) for one in connection.client.search_model_versions(f"run_id = '{record.id}'") if one.name == name]
    exported = [one for one in found if one.tags.get("haltung.form") == EXPORTED]
    return max(exported, key=lambda one: int(one.version), default=None)


def holder(connection: Connection, alias: str) -> Version | None:
    """Return the version that an alias points to, None where it points to none.

    Raises:
        UserError: the store registers no models, or refuses.
    """
    from mlflow.exceptions import MlflowException

    name, client = _name(connection), connection.client
    with told(connection.store):
        try:
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return _version(client.get_model_version(name, aliases[alias])) if alias in aliases else None


def point(connection: Connection, alias: str, to: Version, tags: Mapping[str, str]) -> None:
    """Let an alias point to a version, and tag that version.

    Raises:
        UserError: MLflow does not allow such an alias, or the store refuses.
    """
    with told(connection.store):
        connection.client.set_registered_model_alias(to.name, alias, to.version)
        for key, value in tags.items():
            connection.client.set_model_version_tag(to.name, to.version, key, value)


def _name(connection: Connection) -> str:
    if not connection.store.model:
        raise UserError("tracking.model is null, so it is not known which registered model is meant; give its name as tracking.model=NAME")
    return connection.store.model


def _version(found: Any) -> Version:
    return Version(found.name, str(found.version), found.run_id or "", dict(found.tags))
