"""Runs read back: found by id, by its beginning or by name, with their figures, files and bundle."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung import files
from haltung.errors import UserError, nearest
from haltung.models.bundle import DESCRIPTION
from haltung.tracking.store import Connection, Store, mlflow, open_store, told
from haltung.tracking.write import CONFIG, Run

if TYPE_CHECKING:
    from mlflow.entities import Run as Found

# Fewer hex digits than this are more likely a name than the beginning of an id.
_LEAST_PREFIX = 4

# How many of the newest runs a message looks at for a near name, and how many of them it lists.
_LOOKED_AT = 500
_LISTED = 5


@dataclass(frozen=True)
class RunRecord:
    """A run as it stands in the store. ``started`` is an ISO time in UTC, ``parent`` the id of the run that it is a part of, or ""."""

    id: str
    name: str
    status: str
    started: str
    parent: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    connection: Connection = field(repr=False, compare=False)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config that the run was made with, as plain data.

        Raises:
            UserError: the run holds none.
        """
        import yaml

        loaded = yaml.safe_load(artifact(self, CONFIG).read_text(encoding="utf-8"))
        return dict(loaded or {})


def find(store: Store, run: str) -> RunRecord:
    """Return the run with this id, with an id that begins so, or with this name.

    Raises:
        UserError: there is none, or there are several; they are named.
    """
    connection = open_store(store, create=False)
    with told(store):
        found = _candidates(connection, run)
        if len(found) == 1:
            return record_of(connection, found[0])
        if found:
            raise UserError(f"'{run}' names {len(found)} runs in {store.shown}: {_told(found)}; name one by its id")
        others = _search(connection, "", _LOOKED_AT)
    names = [other.info.run_name for other in others] + [other.info.run_id for other in others]
    if not others:
        raise UserError(f"there is no run '{run}' in {store.shown}, and no other one in '{store.experiment}'; run haltung train first")
    raise UserError(f"there is no run '{run}' in {store.shown}{nearest(run, names)}; the newest are {_told(others)}")


def newest(store: Store) -> RunRecord:
    """Return the newest finished run that holds a bundle.

    Raises:
        UserError: there is none.
    """
    connection = open_store(store, create=False)
    with told(store):
        found = _search(connection, "attributes.status = 'FINISHED' and tags.`haltung.bundle` LIKE 'models:/%'", 1)
    if not found:
        raise UserError(f"no finished run in {store.shown} (experiment '{store.experiment}') holds a bundle; run haltung train first")
    return record_of(connection, found[0])


def children(parent: RunRecord) -> list[RunRecord]:
    """Return the runs that are parts of this one, oldest first."""
    connection = parent.connection
    with told(connection.store):
        found = _search(connection, f"tags.`mlflow.parentRunId` = '{parent.id}'", _LOOKED_AT)
    return [record_of(connection, run) for run in reversed(found)]


def by_ids(connection: Connection, ids: Sequence[str]) -> list[RunRecord]:
    """Return the runs with these ids, in this order; those that are gone or deleted are left out."""
    with told(connection.store):
        found = [run for id in ids for run in _search(connection, f"attributes.run_id = '{id}'", 1)]
    return [record_of(connection, run) for run in found]


def attach(record: RunRecord) -> Run:
    """Return the run to write to, such as a report on the test split; its status stays as it is."""
    return Run(record.id, record.name, record.connection)


def artifact(record: RunRecord, place: str) -> Path:
    """Return a file or folder of the run, fetched from the server where it isn't on this machine; not to be written to.

    Raises:
        UserError: the run holds no such file.
    """
    store = record.connection.store
    with told(store):
        root = record.connection.client.get_run(record.id).info.artifact_uri
        # The run's files may change, so they are fetched anew each time.
        found = _fetched(f"{root}/{place}", store, None)
    if found is None:
        raise UserError(f"the run {record.name} ({record.id}) in {store.shown} holds no {place}; it stopped early, or its files were moved")
    return found


def bundle_folder(record: RunRecord) -> Path:
    """Return the folder of the run's bundle; a server's is fetched once, into the cache.

    Raises:
        UserError: the run holds none.
    """
    uri = record.tags.get("haltung.bundle")
    store, which = record.connection.store, f"the run {record.name} ({record.id}, {record.status})"
    if not uri:
        raise UserError(f"{which} in {store.shown} holds no bundle; name a run that has finished training")
    model = uri.removeprefix("models:/")
    cached = files.cache() / "bundles" / model
    found: Path | None = cached
    if not cached.is_dir():
        with told(store):
            place = record.connection.client.get_logged_model(model).artifact_location
            found = _fetched(f"{place}/artifacts", store, None if store.local else cached)
    # MLflow keeps the bundle's folder in there, under the name that it had when it was logged.
    inside = list(found.glob(f"*/{DESCRIPTION}")) if found else []
    if not inside:
        raise UserError(f"the bundle {uri} of {which} is not where {store.shown} has it; its files were moved or deleted")
    return inside[0].parent


def _fetched(uri: str, store: Store, keep: Path | None) -> Path | None:
    """Return what is at an artifact URI, None where there is nothing; ``keep`` is where a fetched folder is kept, whole or not at all."""
    library = mlflow()
    from mlflow.exceptions import MlflowException

    if keep is None:
        try:
            return Path(library.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=store.address))
        except (MlflowException, OSError) as error:
            if isinstance(error, MlflowException) and not _absent(error):
                raise
            return None
    keep.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{keep.name}-", dir=keep.parent, ignore_cleanup_errors=True) as scratch:
            found = Path(library.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch, tracking_uri=store.address))
            if not any(found.iterdir()):
                return None
            try:
                found.replace(keep)
            except OSError:
                # Another process has fetched the same bundle meanwhile.
                if not keep.is_dir():
                    raise
    except FileNotFoundError:
        return None
    return keep


def _absent(error: Any) -> bool:
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND") or "404" in str(error) or "No such file" in str(error)


def _candidates(connection: Connection, run: str) -> list[Found]:
    found: dict[str, Found] = {}
    if re.fullmatch(r"[0-9a-f]{32}", run):
        exact = _search(connection, f"attributes.run_id = '{run}'", 1, everywhere=True)
        if exact:
            return exact
    if re.fullmatch(rf"[0-9a-f]{{{_LEAST_PREFIX},31}}", run):
        found |= {other.info.run_id: other for other in _search(connection, f"attributes.run_id LIKE '{run}%'", _LOOKED_AT)}
    quote = '"' if "'" in run else "'"
    if quote not in run:
        found |= {other.info.run_id: other for other in _search(connection, f"attributes.run_name = {quote}{run}{quote}", _LOOKED_AT)}
    return list(found.values())


def _search(connection: Connection, query: str, limit: int, everywhere: bool = False) -> list[Found]:
    """Return runs of the store's experiment (or of all), newest first."""
    client = connection.client
    experiments = [found.experiment_id for found in client.search_experiments()] if everywhere else [connection.experiment]
    return list(client.search_runs(experiments, query, max_results=limit, order_by=["attributes.start_time DESC"]))


def record_of(connection: Connection, found: Found) -> RunRecord:
    """Return MLflow's run as our record."""
    return RunRecord(
        id=found.info.run_id,
        name=found.info.run_name,
        status=found.info.status,
        started=_time(found),
        parent=found.data.tags.get("mlflow.parentRunId", ""),
        params=dict(found.data.params),
        metrics=dict(found.data.metrics),
        tags=dict(found.data.tags),
        connection=connection,
    )


def _time(found: Found) -> str:
    return datetime.fromtimestamp(found.info.start_time / 1000, UTC).isoformat(timespec="seconds")


def _told(found: list[Found]) -> str:
    shown = [f"{run.info.run_id[:8]} ({run.info.run_name}, {_time(run)[:16].replace('T', ' ')})" for run in found[:_LISTED]]
    return ", ".join(shown) + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
