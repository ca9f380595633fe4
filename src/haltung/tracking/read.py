"""Find runs by id, name or filter; read their metrics, files, bundles and members."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from haltung import files
from haltung.errors import UserError, nearest
from haltung.models.bundle import DESCRIPTION
from haltung.tracking.store import Connection, Store, mlflow, mlflow_errors, open_store
from haltung.tracking.write import CONFIG, Run

MEMBERS = "haltung.members"  # a tag with the ids of a group's seeds, some of which may be children of another run
UNFINISHED, _STOPPED = ("RUNNING", "SCHEDULED"), ("FAILED", "KILLED")  # as MLflow calls them
# Kinds of runs without a model, and what to name instead; their children are appended to it.
_WITHOUT_MODEL = {
    "folds": "a cross-validation; compare such runs with split=folds, train with final=true for a model of all rows, or name a fold",
    "compare": "a comparison and has no model; name the runs that it compares",
    "adapt": "an encoder that has no labels; train from it with encoder=adapted encoder.path=, and name that run",
    "curve": "a learning curve, and its runs have learned from different shares of the train split; name one of them",
}
_SEARCHED, _LISTED = 500, 5  # most runs that are searched, and that are listed in a message; the newest come first


@dataclass(frozen=True)
class RunRecord:
    """A run in the store; ``started`` is an ISO time in UTC, ``parent`` its parent's id, or ""."""

    id: str
    name: str
    status: str
    started: str
    parent: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    connection: Connection = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        """What kind of run: train, seeds, folds, curve, trial, sweep, ensemble, compare, adapt."""
        return self.tags.get("haltung.kind", "")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config that the run was made with; ``UserError`` if it has none."""
        return dict(yaml.safe_load(artifact(self, CONFIG).read_text(encoding="utf-8")) or {})

    @property
    def of_all_rows(self) -> str:
        """Why a run that was trained on all rows after folds has no dev or test; "" for others."""
        if self.kind != "train" or "haltung.digest.folds" not in self.tags:
            return ""
        return (
            f"{self.name} was trained on all rows of {self.tags['haltung.corpus']}, so no dev or test split is left; its figures are "
            "out-of-fold, as haltung compare uses them; score it on other texts: haltung evaluate table=FILE, or corpus=NAME"
        )


def find(store: Store, run: str) -> RunRecord:
    """Return the run with this id, start of an id, or name; ``UserError`` for none or several."""
    connection = open_store(store, create=False)
    candidates = _candidates(connection, run)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise UserError(f"'{run}' names {len(candidates)} runs in {store.label}: {_briefly(candidates)}; name one by its id")
    others = _search(connection, "", _SEARCHED)
    names = [other.name for other in others] + [other.id for other in others]
    if not others:
        raise UserError(f"there is no run '{run}' in {store.label}, and no other run in '{store.experiment}'; run haltung train first")
    raise UserError(f"there is no run '{run}' in {store.label}{nearest(run, names)}; the newest are {_briefly(others)}")


def newest(store: Store) -> RunRecord:
    """Return the newest finished run with a bundle; ``UserError`` if there is none."""
    query = "attributes.status = 'FINISHED' and tags.`haltung.bundle` LIKE 'models:/%'"
    if not (runs := _search(open_store(store, create=False), query, 1)):
        raise UserError(f"no finished run in {store.label} (experiment '{store.experiment}') has a bundle; run haltung train first")
    return runs[0]


def list_runs(
    store: Store, *, corpus: str = "", kind: str = "", name: str = "", status: str = "", since: datetime | None = None
) -> list[RunRecord]:
    """Return the runs that match all filters, newest first; None and "" match every run.

    ``name`` is a part of a run's name, ``since`` a time with its zone. The store itself filters.
    """
    parts = [f"tags.`haltung.{key}` = {_quoted(value)}" for key, value in (("corpus", corpus), ("kind", kind)) if value]
    parts += [f"attributes.status = '{status.upper()}'"] if status else []
    parts += [f"attributes.start_time >= {round(since.timestamp() * 1000)}"] if since else []
    # In MLflow's LIKE, % and _ can't be escaped; excess matches are removed below.
    parts += [f"attributes.run_name LIKE {_quoted(f'%{name}%')}"] if name else []
    return [record for record in _search(open_store(store, create=False), " and ".join(parts)) if name in record.name]


def children(parent: RunRecord) -> list[RunRecord]:
    """Return the children of a run, oldest first."""
    return _search(parent.connection, f"tags.`mlflow.parentRunId` = '{parent.id}'")[::-1]


def members(record: RunRecord) -> list[RunRecord]:
    """Return the runs whose models a run represents, in the order of its seeds; at least one.
    Raises ``UserError`` if the run is unfinished or has no such models: a cross-validation, an
    adapted encoder, a learning curve, a comparison, a sweep without one, a group missing seeds.
    """
    which = f"the run {record.name} ({record.id[:8]})"
    if record.kind in _WITHOUT_MODEL and not record.tags.get(MEMBERS):
        raise UserError(f"{record.name} is {_WITHOUT_MODEL[record.kind]}{_listed(children(record))}")
    if record.kind == "sweep":
        if (inner := _of_sweep(record)) is None:
            raise UserError(
                f"{which} is a sweep without a model of its best recipe: it was stopped too early, or had final_seeds=[]; "
                "train that recipe with the command that the sweep ends with, and name that run"
            )
        return members(inner)
    return _of_seeds(record, which) if record.kind in ("seeds", "folds") else [record]


def group(record: RunRecord) -> RunRecord | None:
    """Return the parent run of the seeds that a run represents; None for a single training."""
    inner = _of_sweep(record) if record.kind == "sweep" else record
    return inner if inner is not None and inner.kind == "seeds" else None


def attach(record: RunRecord) -> Run:
    """Return a run for writing, for example a report on the test split; its status is unchanged."""
    return Run(record.id, record.name, record.connection)


def artifact(record: RunRecord, path: str) -> Path:
    """Return the path of a run's file or folder, for reading only; ``UserError`` if missing."""
    store = record.connection.store
    with mlflow_errors(store):
        # The run's files may change, so they are downloaded each time.
        local = _download(f"{record.connection.client.get_run(record.id).info.artifact_uri}/{path}", store)
    if local is None:
        raise UserError(f"the run {record.name} ({record.id}) in {store.label} has no {path}; it stopped early, or its files were moved")
    return local


def bundle_folder(record: RunRecord) -> Path:
    """Return the folder of the run's bundle (downloaded once); ``UserError`` if it has none."""
    uri = record.tags.get("haltung.bundle")
    store, which = record.connection.store, f"the run {record.name} ({record.id}, {record.status})"
    if not uri:
        raise UserError(f"{which} in {store.label} has no bundle; name a run that has finished training")
    model = uri.removeprefix("models:/")
    cached = files.cache() / "bundles" / model
    folder: Path | None = cached
    if not cached.is_dir():
        with mlflow_errors(store):
            location = f"{record.connection.client.get_logged_model(model).artifact_location}/artifacts"
            folder = _download(location, store) if store.local else _download_once(location, store, cached)
    # MLflow stores the bundle in a subfolder, under the name that it had when it was logged.
    if not (inside := list(folder.glob(f"*/{DESCRIPTION}")) if folder else []):
        raise UserError(f"the bundle {uri} of {which} is not where {store.label} says it is; its files were moved or deleted")
    return inside[0].parent


def _of_sweep(record: RunRecord) -> RunRecord | None:
    """Return the run of a sweep's best recipe, the newest if there are several."""
    last = {part.kind: part for part in children(record)}
    return last.get("seeds") or last.get("train")


def _of_seeds(record: RunRecord, which: str) -> list[RunRecord]:
    if ids := record.tags.get(MEMBERS, "").split():
        # In the order of the tag, without missing or deleted runs.
        seeds = [seed for id in ids for seed in _search(record.connection, f"attributes.run_id = '{id}'", 1)]
    else:
        # Runs of older versions have no such tag.
        seeds = [part for part in children(record) if part.kind == "train"]
    if record.status in _STOPPED:
        raise UserError(
            f"{which} stopped before all of its seeds were trained (it is {record.status}); continue it with the same command and "
            f"resume=true, or name the seeds that exist{_listed(seeds)}"
        )
    if (running := next((one for one in (record, *seeds) if one.status in UNFINISHED), None)) is not None:
        raise UserError(f"the run {running.name} ({running.id}) is still running; wait for it, or resume it if its process was killed")
    if not seeds or len(seeds) < len(ids):
        lost = f"{len(ids) - len(seeds)} of its {len(ids)}" if ids else "all of its"
        raise UserError(f"{which} has lost {lost} seeds, which were deleted; name those that are left{_listed(seeds)}")
    return seeds


def _download(uri: str, store: Store) -> Path | None:
    """Return the local path of an artifact, None if it is missing; local files are not copied."""
    library = mlflow()
    from mlflow.exceptions import MlflowException

    try:
        return Path(library.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=store.address))
    except (OSError, MlflowException) as error:
        if getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND") or re.search(r"\b404\b|No such file", str(error)):
            return None
        raise


def _download_once(uri: str, store: Store, folder: Path) -> Path | None:
    """Download the contents of the folder at an artifact URI to ``folder``, atomically."""
    with suppress(FileNotFoundError), files.atomic_folder(folder, keep=Path.is_dir) as scratch:
        # With the slash, MLflow downloads the contents of the folder, not the folder.
        mlflow().artifacts.download_artifacts(artifact_uri=f"{uri}/", dst_path=str(scratch), tracking_uri=store.address)
        if not any(scratch.iterdir()):
            raise FileNotFoundError(uri)
    return folder if folder.is_dir() else None


def _candidates(connection: Connection, run: str) -> list[RunRecord]:
    if re.fullmatch(r"[0-9a-f]{32}", run) and (exact := _search(connection, f"attributes.run_id = '{run}'", 1, everywhere=True)):
        return exact
    # Fewer hex digits are more likely a name than the beginning of an id.
    queries = [f"attributes.run_id LIKE '{run}%'"] if re.fullmatch(r"[0-9a-f]{4,31}", run) else []
    queries += [f"attributes.run_name = {_quoted(run)}"] if "'" not in run or '"' not in run else []
    return list({other.id: other for query in queries for other in _search(connection, query, _SEARCHED)}.values())


def _search(connection: Connection, query: str, limit: int | None = None, everywhere: bool = False) -> list[RunRecord]:
    """Return runs of the store's experiment (or of all experiments), newest first."""
    from mlflow.utils import get_results_from_paginated_fn

    client, order, runs = connection.client, ["attributes.start_time DESC"], list[RunRecord]()
    with mlflow_errors(connection.store):
        where = [other.experiment_id for other in client.search_experiments()] if everywhere else [connection.experiment]
        found = get_results_from_paginated_fn(lambda size, token: client.search_runs(where, query, 1, size, order, token), 1000, limit)
    for info, data in ((run.info, run.data) for run in found):
        started = datetime.fromtimestamp(info.start_time / 1000, UTC).isoformat(timespec="seconds")
        about = (info.run_id, info.run_name, info.status, started, data.tags.get("mlflow.parentRunId", ""))
        runs.append(RunRecord(*about, data.params, data.metrics, data.tags, connection))
    return runs


def _briefly(runs: Sequence[RunRecord]) -> str:
    shown = [f"{run.id[:8]} ({run.name}, {run.started[:16].replace('T', ' ')})" for run in runs[:_LISTED]]
    return ", ".join(shown) + (f" and {len(runs) - _LISTED} more" if len(runs) > _LISTED else "")


def _listed(records: Sequence[RunRecord]) -> str:
    return f": {', '.join(f'{one.name} ({one.id[:8]})' for one in records)}" if records else ""


def _quoted(text: str) -> str:
    quote = '"' if "'" in text else "'"
    return f"{quote}{text.replace(quote, '')}{quote}"
