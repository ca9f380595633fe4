"""A run that is being written. Everything is in the store when a call returns, so that a killed training loses nothing it has told."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haltung.errors import UserError
from haltung.records import Segment
from haltung.tracking.models import Logged, log_bundle
from haltung.tracking.store import Connection, Store, mlflow, open_store, told

log = logging.getLogger(__name__)

# The resolved config as an artifact: parameters are cut to MLflow's limits, this file is not.
CONFIG = "config.yaml"

# Behind this and a dot a split's name: how many of its segments the run's model knows from its training.
SEEN = "haltung.seen"

# What one request to an MLflow server may hold.
_PARAMS_PER_BATCH = 100
_METRICS_PER_BATCH = 1000

# The characters that MLflow allows in the names of parameters, metrics and tags.
_UNNAMEABLE = re.compile(r"[^\w.\- :/]")


class Pruned(Exception):
    """Raised within a run to give it up as hopeless: it ends as KILLED, and its tag ``haltung.pruned`` says why."""


@dataclass(frozen=True)
class Run:
    """A run to write to; made by ``run`` (a new or resumed one) or ``attach`` (one that has ended). ``fresh``: it has just begun."""

    id: str
    name: str
    connection: Connection
    fresh: bool = False
    _curves: dict[str, set[tuple[int, float]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Where a person can look at the run: its page on the server, or the command that shows the database."""
        store = self.connection.store
        if store.local:
            return f"mlflow ui --backend-store-uri {store.uri}"
        return f"{store.address}/#/experiments/{self.connection.experiment}/runs/{self.id}"

    def params(self, config: Mapping[str, Any]) -> None:
        """Log a config: each value as a parameter with a dotted key, and the whole as ``config.yaml``.

        MLflow's parameters never change. In a resumed run those of the first start stay, and the tag ``haltung.resumed_with`` tells
        what is different now.
        """
        import yaml
        from mlflow.entities import Param
        from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_PARAM_VAL_LENGTH

        client, store = self.connection.client, self.connection.store
        values = {_named(key)[:MAX_ENTITY_KEY_LENGTH]: _shown(value)[:MAX_PARAM_VAL_LENGTH] for key, value in flat(config, ".")}
        with told(store):
            there = client.get_run(self.id).data.params
            new = [Param(key, value) for key, value in values.items() if key not in there]
            for start in range(0, len(new), _PARAMS_PER_BATCH):
                client.log_batch(self.id, params=new[start : start + _PARAMS_PER_BATCH])
            changed = [f"{key}={value}" for key, value in values.items() if there.get(key, value) != value]
            if changed:
                self.tags({"haltung.resumed_with": " ".join(changed)})
        self.text(yaml.safe_dump(_plain(config), allow_unicode=True, sort_keys=False), CONFIG)

    def metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures. A nested mapping is flattened with ``/``, by which MLflow's page groups them: ``{"test": {"stance": 0.5}}``.

        Raises:
            UserError: a value is no number.
        """
        self._log_metrics([(key, value, step or 0) for key, value in flat(values, "/")])

    def history(self, points: Iterable[Mapping[str, float]]) -> None:
        """Log points of the learning curve, such as ``{"epoch": 1.0, "step": 145, "loss": 0.7}``.

        A point that the run has already is not logged again, so that a resumed training may tell its whole history.
        """
        rows = [(key, float(value), int(point["step"])) for point in points for key, value in point.items() if key != "step"]
        new = [(key, value, step) for key, value, step in rows if (step, value) not in self._curve(_named(key))]
        self._log_metrics(new)
        for key, value, step in new:
            self._curve(_named(key)).add((step, value))

    def tags(self, values: Mapping[str, object]) -> None:
        """Set tags; one that is there already gets the new value."""
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in _tags(values).items()]
        with told(self.connection.store):
            for start in range(0, len(tags), _PARAMS_PER_BATCH):
                self.connection.client.log_batch(self.id, tags=tags[start : start + _PARAMS_PER_BATCH])

    def artifact(self, path: Path, place: str | None = None) -> None:
        """Keep a file, or all that is in a folder, with the run, below ``place``.

        Raises:
            UserError: there is no such file or folder.
        """
        client = self.connection.client
        if not path.exists():
            raise UserError(f"{path}: no such file or folder, so it can't be kept with the run {self.id}")
        with told(self.connection.store):
            if path.is_dir():
                client.log_artifacts(self.id, str(path), place)
            else:
                client.log_artifact(self.id, str(path), place)

    def text(self, text: str, place: str) -> None:
        """Keep a text with the run, as the file ``place``."""
        with told(self.connection.store):
            self.connection.client.log_text(self.id, text, place)

    def bundle(self, folder: Path, examples: Sequence[Segment]) -> Logged:
        """Keep a bundle with the run as an MLflow model that ``mlflow.pyfunc.load_model`` loads, registered if the store says so.

        Args:
            folder: the bundle.
            examples: a few segments; they become the model's input example, and the model is tried with them.
        """
        with told(self.connection.store):
            logged = log_bundle(self.connection, self.id, folder, examples)
        self.tags({"haltung.bundle": logged.uri} | ({"haltung.registered": f"{logged.name}/{logged.version}"} if logged.version else {}))
        return logged

    def _curve(self, key: str) -> set[tuple[int, float]]:
        """Return the points of a curve that the run has, as ``(step, value)``; the store is asked once, and not at all in a fresh run."""
        if key not in self._curves:
            with told(self.connection.store):
                points = [] if self.fresh else self.connection.client.get_metric_history(self.id, key)
            self._curves[key] = {(point.step, point.value) for point in points}
        return self._curves[key]

    def _log_metrics(self, rows: Sequence[tuple[str, Any, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = []
        for key, value, step in rows:
            try:
                metrics.append(Metric(_named(key), float(value), now, step))
            except (TypeError, ValueError):
                raise UserError(f"the metric '{key}' is {value!r}, expected a number; leave out what could not be computed") from None
        with told(self.connection.store):
            for start in range(0, len(metrics), _METRICS_PER_BATCH):
                self.connection.client.log_batch(self.id, metrics=metrics[start : start + _METRICS_PER_BATCH])


@contextmanager
def run(
    store: Store, name: str, parent: Run | None = None, tags: Mapping[str, object] | None = None, resume: str | None = None
) -> Iterator[Run]:
    """Begin a run and yield it; afterwards it is FINISHED, FAILED (an exception passed by) or KILLED (Ctrl-C, ``Pruned``).

    A process that is killed outright leaves its run RUNNING, with all that it has logged; ``resume`` goes on with it.

    Args:
        store: where to.
        name: of a new run; a resumed one keeps its own.
        parent: the run that this one is a part of, such as one seed of several.
        tags: what to find the run by, such as ``haltung.kind``, digests, and those of ``provenance``.
        resume: the id of the run to go on with.

    Raises:
        UserError: the store can't be opened, or there is no run to resume.
    """
    connection = open_store(store)
    written = _resumed(connection, resume) if resume else _begun(connection, name, parent)
    written.tags(tags or {})
    try:
        yield written
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | Pruned)
        fine = isinstance(error, SystemExit) and not error.code
        _end(written, "FINISHED" if fine else "KILLED" if stopped else "FAILED", error)
        raise
    _end(written, "FINISHED", None)


def adopt(parent: Run, child: str) -> None:
    """Make a run that has ended by itself a part of ``parent``; the part of another one stays there."""
    with told(parent.connection.store):
        if "mlflow.parentRunId" not in parent.connection.client.get_run(child).data.tags:
            parent.connection.client.set_tag(child, "mlflow.parentRunId", parent.id)


def lost(written: Run, why: str) -> None:
    """Mark a run as FAILED whose process has died without a word."""
    written.tags({"haltung.error": why})
    with told(written.connection.store):
        written.connection.client.set_terminated(written.id, "FAILED")


def flat(values: Mapping[str, Any], separator: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Go through the leaves of nested mappings as ``(joined key, value)``; an empty mapping is a leaf."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, separator, f"{prefix}{key}{separator}")
        else:
            yield f"{prefix}{key}", value


def _begun(connection: Connection, name: str, parent: Run | None) -> Run:
    import getpass

    tags = {"mlflow.source.name": "haltung", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    if parent is not None:
        tags["mlflow.parentRunId"] = parent.id
    with told(connection.store):
        made = connection.client.create_run(connection.experiment, tags=tags, run_name=name)
    return Run(made.info.run_id, name, connection, fresh=True)


def _resumed(connection: Connection, resume: str) -> Run:
    from mlflow.exceptions import MlflowException

    client = connection.client
    with told(connection.store):
        try:
            there = client.get_run(resume)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise UserError(f"there is no run {resume} in {connection.store.shown} to resume; leave resume out to begin anew") from None
        if there.info.lifecycle_stage == "deleted":
            raise UserError(f"the run {resume} has been deleted, so it can't be resumed; leave resume out to begin anew")
        client.update_run(resume, status="RUNNING")
    return Run(resume, there.info.run_name, connection)


def _end(written: Run, status: str, error: BaseException | None) -> None:
    """Set the status; where an exception is on its way already, a store that has gone must not hide it."""
    try:
        if error is not None and not isinstance(error, SystemExit):
            written.tags(
                {"haltung.pruned": str(error)} if isinstance(error, Pruned) else {"haltung.error": f"{type(error).__name__}: {error}"}
            )
        with told(written.connection.store):
            written.connection.client.set_terminated(written.id, status)
    except UserError as refused:
        if error is None:
            raise
        log.warning("the run %s could not be marked as %s: %s", written.id, status, refused)


def _tags(values: Mapping[str, object]) -> dict[str, str]:
    mlflow()
    from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

    return {_named(key): _shown(value)[:MAX_TAG_VAL_LENGTH] for key, value in values.items()}


def _named(key: str) -> str:
    return _UNNAMEABLE.sub("_", key)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None or (isinstance(value, float) and not math.isfinite(value)):
        return json.dumps(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain(value: Any) -> Any:
    """Return the config with nothing in it but what YAML knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
