"""Write to a run, and record its provenance; each call reaches the store at once."""

import getpass
import hashlib
import json
import logging
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from haltung import __version__, resources
from haltung.errors import UserError
from haltung.files import sha256, shipped
from haltung.inference.sessions import processor, version_of
from haltung.records import Segment
from haltung.tracking.models import log_bundle
from haltung.tracking.store import Connection, Store, asking_once, expected, mlflow_errors, open_store

log = logging.getLogger(__name__)
CONFIG = "config.yaml"  # an artifact, since parameters are truncated to MLflow's limits
MARK = "haltung.mark"  # a tag by which ``mark_killed`` finds a run, however soon it is killed
SEEN = "haltung.seen"  # prefix of the tags SEEN.SPLIT: how many segments are known from training


class Pruned(Exception):
    """Raised to end an unpromising run as KILLED; its text becomes the tag ``haltung.pruned``."""


@dataclass(frozen=True)
class Run:
    """A run to write to; ``fresh`` if newly created, so that the store has no metrics of it yet."""

    id: str
    name: str
    connection: Connection
    fresh: bool = False
    _curves: dict[str, set[tuple[int, float]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Where to look at the run: its page on the server, or the command for the database."""
        store = self.connection.store
        if store.local:
            return f"mlflow ui --backend-store-uri {store.uri}"
        return f"{store.address}/#/experiments/{self.connection.experiment}/runs/{self.id}"

    def params(self, config: Mapping[str, Any]) -> None:
        """Log a config: each value as a parameter with a dotted key, all as ``config.yaml``.

        MLflow's parameters are immutable. A resumed run keeps those of its first start; the tag
        ``haltung.resumed_with`` holds the differences.
        """
        from mlflow.entities import Param
        from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_PARAM_VAL_LENGTH

        values = {_allowed(key)[:MAX_ENTITY_KEY_LENGTH]: _text(value)[:MAX_PARAM_VAL_LENGTH] for key, value in flat(config, ".")}
        with mlflow_errors(self.connection.store):
            old = self.connection.client.get_run(self.id).data.params
        self._log(params=[Param(key, value) for key, value in values.items() if key not in old])
        if changed := [f"{key}={value}" for key, value in values.items() if old.get(key, value) != value]:
            self.tags({"haltung.resumed_with": " ".join(changed)})
        self.text(yaml.safe_dump(dict(config), allow_unicode=True, sort_keys=False), CONFIG)

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Log ``{"test": {"stance": 0.5}}`` as ``test/stance``; ``UserError`` if not a number."""
        self._log_metrics([(key, value, 0) for key, value in flat(values, "/")])

    def history(self, points: Iterable[Mapping[str, float]]) -> None:
        """Log points such as ``{"epoch": 1.0, "step": 145, "loss": 0.7}``, each only once."""
        rows = [(key, float(value), int(point["step"])) for point in points for key, value in point.items() if key != "step"]
        new = [(key, value, step) for key, value, step in rows if (step, value) not in self._curve(_allowed(key))]
        self._log_metrics(new)
        for key, value, step in new:
            self._curve(_allowed(key)).add((step, value))

    def tags(self, values: Mapping[str, object]) -> None:
        """Set tags, and overwrite existing ones."""
        from mlflow.entities import RunTag
        from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

        self._log(tags=[RunTag(_allowed(key), _text(value)[:MAX_TAG_VAL_LENGTH]) for key, value in values.items()])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file or a folder's files, below ``folder``; ``UserError`` if it doesn't exist."""
        if not path.exists():
            raise UserError(f"{path}: no such file or folder, so it can't be stored with the run {self.id}")
        client = self.connection.client
        log_files = client.log_artifacts if path.is_dir() else client.log_artifact
        with mlflow_errors(self.connection.store):
            log_files(self.id, str(path), folder)

    def text(self, text: str, path: str) -> None:
        """Store a text with the run, as the file ``path``."""
        with mlflow_errors(self.connection.store):
            self.connection.client.log_text(self.id, text, path)

    def bundle(self, folder: Path, examples: Sequence[Segment]) -> str:
        """Store a bundle with the run (see ``models.log_bundle``); return its URI."""
        uri = log_bundle(self.connection, self.id, folder, examples)
        self.tags({"haltung.bundle": uri})
        return uri

    def _curve(self, key: str) -> set[tuple[int, float]]:
        """Return the logged points of a metric as ``(step, value)``; the store is read once."""
        if key not in self._curves:
            with mlflow_errors(self.connection.store):
                points = [] if self.fresh else self.connection.client.get_metric_history(self.id, key)
            self._curves[key] = {(point.step, point.value) for point in points}
        return self._curves[key]

    def _log_metrics(self, rows: Sequence[tuple[str, Any, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = []
        for key, value, step in rows:
            try:
                metrics.append(Metric(_allowed(key), float(value), now, step))
            except (TypeError, ValueError):
                raise UserError(f"the metric '{key}' is {value!r}, expected a number; leave out what could not be computed") from None
        self._log(metrics=metrics)

    def _log(self, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Sequence[Any] = ()) -> None:
        """Log any of these; MLflow splits them into requests of the size that it allows."""
        with mlflow_errors(self.connection.store):
            self.connection.client.log_batch(self.id, metrics, params, tags)


@contextmanager
def run(store: Store, name: str, parent: Run | None = None, tags: Mapping[str, object] = {}, resume: str | None = None) -> Iterator[Run]:
    """Create a run, or resume the one with the id ``resume``, and yield it.

    It ends as FINISHED, FAILED (exception) or KILLED (Ctrl-C, ``Pruned``). A process that is killed
    outright leaves its run RUNNING. A resumed run keeps its name. ``tags`` serve to find the run:
    ``haltung.kind``, digests, ``provenance``. Raises ``UserError`` without a store or such a run.
    """
    connection = open_store(store)
    opened = _resumed(connection, resume) if resume else _begun(connection, name, parent, {MARK: str(tags[MARK])} if MARK in tags else {})
    opened.tags(tags)
    try:
        yield opened
    except BaseException as error:
        _end(opened, error)
        raise
    _end(opened, None)


def adopt(parent: Run, child: str) -> None:
    """Make a finished run a child of ``parent``, unless it already has a parent."""
    with mlflow_errors(parent.connection.store):
        if "mlflow.parentRunId" not in parent.connection.client.get_run(child).data.tags:
            parent.connection.client.set_tag(child, "mlflow.parentRunId", parent.id)


def mark_killed(store: Store, mark: str | None, why: str = "its process was killed") -> None:
    """Mark the run with this ``MARK`` as FAILED if it is RUNNING, or FAILED without a reason."""
    if not mark:
        return
    connection = open_store(store)
    with mlflow_errors(store):
        for left in connection.client.search_runs([connection.experiment], f"tags.`{MARK}` = '{mark}'"):
            if left.info.status == "RUNNING" or (left.info.status == "FAILED" and "haltung.error" not in left.data.tags):
                connection.client.set_tag(left.info.run_id, "haltung.error", why)
                connection.client.set_terminated(left.info.run_id, "FAILED")


def flat(values: Mapping[str, Any], separator: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings as ``(joined key, value)``; an empty mapping is one."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, separator, f"{prefix}{key}{separator}")
        else:
            yield f"{prefix}{key}", value


def flat_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's settings by dotted key, without ``_target_``, since a class may move."""
    return {key: value for key, value in flat(config, ".") if key.rpartition(".")[2] != "_target_"}


def _begun(connection: Connection, name: str, parent: Run | None, mark: Mapping[str, str]) -> Run:
    tags = {"mlflow.source.name": "haltung", "mlflow.source.type": "LOCAL", **mark}
    with suppress(OSError, KeyError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    if parent is not None:
        tags["mlflow.parentRunId"] = parent.id
    with mlflow_errors(connection.store):
        created = connection.client.create_run(connection.experiment, tags=tags, run_name=name)
    return Run(created.info.run_id, name, connection, fresh=True)


def _resumed(connection: Connection, resume: str) -> Run:
    client, run = connection.client, None
    with mlflow_errors(connection.store):
        with expected("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            run = client.get_run(resume)
        if run is None:
            raise UserError(f"there is no run {resume} in {connection.store.label} to resume; leave resume out to start over")
        if run.info.lifecycle_stage == "deleted":
            raise UserError(f"the run {resume} has been deleted, so it can't be resumed; leave resume out to start over")
        client.update_run(resume, status="RUNNING")
        if "haltung.error" in run.data.tags:
            client.delete_tag(resume, "haltung.error")
    return Run(resume, run.info.run_name, connection)


def _end(run: Run, error: BaseException | None) -> None:
    """Set the status; a store that can't be reached must neither hide nor delay ``error``."""
    finished = error is None or (isinstance(error, SystemExit) and not error.code)
    status = "FINISHED" if finished else "KILLED" if isinstance(error, KeyboardInterrupt | Pruned) else "FAILED"
    why = {"haltung.pruned": str(error)} if isinstance(error, Pruned) else {"haltung.error": f"{type(error).__name__}: {error}"}
    try:
        with nullcontext() if error is None else asking_once(), mlflow_errors(run.connection.store):
            if error is not None and not isinstance(error, SystemExit):
                run.tags(why)
            run.connection.client.set_terminated(run.id, status)
    except UserError as refused:
        if error is None:
            raise
        if str(refused) != str(error):
            log.warning("the run %s could not be marked as %s: %s", run.id, status, refused)


def _allowed(key: str) -> str:
    """Replace the characters that MLflow does not allow in names of parameters, metrics, tags."""
    return re.sub(r"[^\w.\- :/]", "_", key)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def provenance(command: Sequence[str]) -> dict[str, str]:
    """Return a run's provenance as tags; ``command`` is a list such as ``["train", "seed=1"]``."""
    versions = {"haltung": __version__, "python": platform.python_version()}
    # The packages that a run's metrics depend on.
    versions |= {name: version_of(name) for name in ("torch", "transformers", "datasets", "scikit-learn", "mlflow", "numpy", "peft")}
    tags = {f"haltung.version.{name}": value for name, value in versions.items() if value} | {"haltung.code": _code()}
    return {"haltung.command": shlex.join(["haltung", *command]), **git_state(Path(__file__).resolve()), **tags, **_hardware()}


@cache
def _code() -> str:
    """Return a SHA-256 of code, tables, actors and primer, including uncommitted changes."""
    package, data = Path(__file__).resolve().parents[1], shipped("data")
    found = [(path.relative_to(package), path) for path in package.rglob("*") if path.suffix in (".py", ".tsv", ".toml", ".txt")]
    found = [one for one in found if one[0].parts[0] != "_data"]  # without a wheel's data, which a checkout has elsewhere
    found += [(path.relative_to(data), path) for part in ("actors", "primer") for path in (data / part).glob("*.*")]
    return hashlib.sha256("".join(f"{name.as_posix()} {sha256(path)}\n" for name, path in sorted(found)).encode()).hexdigest()


def git_state(file: Path) -> dict[str, str]:
    """Return the commit of the checkout that tracks ``file``, and whether that checkout is dirty.

    Empty if no checkout tracks it, so that a wheel in another repository does not get its commit.
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return {}
    commit = _git(file.parent, "rev-parse", "HEAD")
    changes = _git(file.parent, "status", "--porcelain")
    if not commit or changes is None:
        return {}
    return {"haltung.git.commit": commit, "haltung.git.dirty": "true" if changes else "false", "mlflow.source.git.commit": commit}


def _git(folder: Path, *words: str) -> str | None:
    """Return git's output, or None if it fails or is not installed."""
    # In a container the checkout often belongs to another user, and git would refuse to read it.
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _hardware() -> dict[str, str]:
    hardware = {"cpu": processor(), "cores": str(resources.cores()), "threads": str(resources.threads()), "system": platform.platform()}
    if size := resources.memory():
        hardware["memory"] = f"{size:.1f} GiB"
    # A training on a GPU has loaded torch; loading it only for this would take seconds.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        hardware["gpu"] = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return {f"haltung.hardware.{name}": value for name, value in hardware.items() if value}
