"""The store of runs, a database or server, for concurrent trainings; MLflow's own pages."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from filelock import FileLock, Timeout

from haltung.errors import UserError, first_line
from haltung.files import atomic_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_CREATE_TIMEOUT = 300.0  # seconds; a database takes minutes on a slow network disk
# Retries for a server that is unreachable: within a minute it may have been restarted. By default
# MLflow would retry for four minutes, once for the failing call and once to mark the run.
_RETRIES, _AGAIN = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5"


@dataclass(frozen=True)
class Store:
    """The settings of ``configs/tracking/NAME.yaml``, where each of them is explained.

    ``uri`` is ``sqlite:///PATH`` (from the working directory; an absolute path has a fourth slash)
    or the address of an MLflow server, which has its own ``artifacts``. Without ``log_texts`` no
    sentence of a corpus is stored, neither in a report nor as a model's input example.
    """

    uri: str = "sqlite:///experiments/mlflow.db"
    artifacts: str | None = "experiments/artifacts"
    experiment: str = "haltung"
    model: str | None = "haltung"
    log_texts: bool = False

    def __post_init__(self) -> None:
        if not self.uri.startswith((_SQLITE, "http://", "https://")):
            raise UserError(f"tracking.uri is '{self.uri}'; expected sqlite:///PATH, or http(s)://… for an MLflow server")
        if self.local and not self.uri.removeprefix(_SQLITE):
            raise UserError("tracking.uri is 'sqlite:///' without a path; expected one such as sqlite:///experiments/mlflow.db")
        if self.local and not self.artifacts:
            raise UserError("tracking.artifacts is empty; a database of your own needs a folder for files, such as experiments/artifacts")
        if not self.experiment:
            raise UserError("tracking.experiment is empty; expected a name such as haltung")

    @property
    def local(self) -> bool:
        """Whether this is a local database."""
        return self.uri.startswith(_SQLITE)

    @property
    def database(self) -> Path:
        """The absolute path of the local database."""
        return Path(self.uri.removeprefix(_SQLITE)).absolute()

    @property
    def address(self) -> str:
        """The URI for MLflow; absolute, since the working directory may change."""
        return _SQLITE + str(self.database) if self.local else self.uri.rstrip("/")

    @property
    def label(self) -> str:
        """The store in messages: the database's path as the user gave it, or the address."""
        return self.uri.removeprefix(_SQLITE) if self.local else self.address


@dataclass(frozen=True)
class Connection:
    """An open store: MLflow's client, and the id of the store's experiment."""

    store: Store
    client: "MlflowClient"
    experiment: str


def open_store(store: Store, create: bool = True) -> Connection:
    """Open the store; create its database and its experiment if they are missing. Raises
    ``UserError`` if the server can't be reached, or the database is of another MLflow version, or
    something is missing and ``create`` is false.
    """
    library = mlflow()
    if store.local:
        _ensure_database(store, create)
    with asking_once(), environment({"MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}), mlflow_errors(store):
        client = library.MlflowClient(tracking_uri=store.address, registry_uri=store.address)
        return Connection(store, client, _experiment(store, client, create))


def serve_pages(store: Store, host: str, port: int) -> NoReturn:
    """Replace this process with MLflow's server of pages for a local store; Ctrl-C stops it. Raises
    ``UserError`` if there is no such store, or the port can't be opened.
    """
    open_store(store, create=False)
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise UserError(f"port {port} of {host} can't be opened ({error.strerror}); choose another, as in port={port + 1}") from None
    print(f"runs of {store.label}: http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}   (Ctrl-C stops it)", flush=True)
    # MLflow reads the local artifacts itself; its proxy would create a folder mlartifacts here.
    options = ["--backend-store-uri", store.address, "--no-serve-artifacts", "--host", host, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *options])


def mlflow() -> ModuleType:
    """Return MLflow, imported without its messages and its telemetry."""
    # MLflow reads these variables when it is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # Without this, a machine without git gets a screen of warnings; `provenance` asks git itself.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault(_RETRIES, _AGAIN)
    import mlflow as library

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it would print a traceback of errors that are raised anyway
    return library


@contextmanager
def mlflow_errors(store: Store) -> Iterator[None]:
    """Turn MLflow's exceptions, whose text may fill a screen, into a ``UserError``."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        text = str(error)
        if "out-of-date database schema" in text or "Can't locate revision" in text:
            raise UserError(
                f"{store.label} was written by another version of MLflow; make a copy of it, then run: mlflow db upgrade '{store.address}'"
            ) from error
        if not store.local and ("API request to" in text or "Max retries" in text or "timed out" in text):
            reason = text.splitlines()[0].rpartition(": ")[2].partition(". (")[0].rstrip(".)'\"")
            raise UserError(
                f"the MLflow server {store.address} can't be reached ({reason}); start it (mlflow server --port 5000), after which a "
                "training continues with resume=true, correct tracking.uri, or use tracking=local"
            ) from error
        raise UserError(f"MLflow at {store.label} refused: {first_line(error)}") from error
    except OSError as error:  # of a disk, or a connection
        raise UserError(f"MLflow at {store.label} can't read or write: {first_line(error)}; correct that, then try again") from error


@contextmanager
def expected(*codes: str) -> Iterator[None]:
    """Leave the block without an error if MLflow raises one of these error codes."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in codes:
            raise


def asking_once() -> AbstractContextManager[None]:
    """Let calls to an absent server fail at once in the block, unless the user set the retries."""
    return environment({_RETRIES: "0"}, override=os.environ.get(_RETRIES) == _AGAIN)


@contextmanager
def environment(values: Mapping[str, str], override: bool = False) -> Iterator[None]:
    """Set environment variables within the block; without ``override``, keep those already set."""
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values if override else {**values, **before})
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)


def _ensure_database(store: Store, create: bool) -> None:
    """Create the database under a lock and atomically: built in a scratch file, then moved."""
    path = store.database
    if _is_database(path):
        return
    if not create:
        raise UserError(f"there is no {store.label}, so no run has been tracked here; run haltung train first, or correct tracking.uri")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=_CREATE_TIMEOUT):
            if not _is_database(path):
                _create_database(path)
    except Timeout:
        raise UserError(f"another process has been creating {store.label} for {_CREATE_TIMEOUT:.0f} s; stop it, and start again") from None
    except OSError as error:
        raise UserError(f"{store.label} can't be created ({error.strerror or error}); name another path in tracking.uri") from None


def _is_database(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        # MLflow would try for minutes, ten times, to read a file of another kind.
        if not file.read(16).startswith(b"SQLite format 3"):
            raise UserError(f"{path} is not an SQLite database; name another file in tracking.uri, or move this one away")
    return True


def _create_database(path: Path) -> None:
    with atomic_file(path) as scratch:
        # The first request to an empty database creates its tables and runs all migrations.
        mlflow().MlflowClient(tracking_uri=_SQLITE + str(scratch)).search_experiments(max_results=1)


def _experiment(store: Store, client: "MlflowClient", create: bool) -> str:
    experiment = client.get_experiment_by_name(store.experiment)
    if experiment is None and create:
        location = Path(store.artifacts).absolute().as_uri() if store.local and store.artifacts else None
        # Another training may have created it meanwhile.
        with expected("RESOURCE_ALREADY_EXISTS"):
            client.create_experiment(store.experiment, artifact_location=location)
        experiment = client.get_experiment_by_name(store.experiment)
    if experiment is None:
        raise UserError(f"{store.label} has no experiment '{store.experiment}'; run haltung train first, or correct tracking.experiment")
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the experiment '{store.experiment}' in {store.label} has been deleted; restore it (mlflow experiments restore -x "
            f"{experiment.experiment_id}), or name another in tracking.experiment"
        )
    return str(experiment.experiment_id)
