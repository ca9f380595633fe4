"""Fixtures and hooks for all tests: paths of data, tiny models, stores and exported bundles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from system_packages import pytest_runtest_setup  # noqa: F401 -- a hook: says what to install where a test needs a system package

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

    from haltung.models.predictor import Model
    from haltung.tracking import Store

# Set before any library that reads them is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "0")

ROOT = Path(__file__).resolve().parents[1]

# Fixtures that take long: trainings on the command line, servers, browsers.
SLOW_FIXTURES = {"browser", "trained", "server", "client_bundle", "article_bundle", "linear_home"}

# These files share a folder of runs, which takes a minute to make, and add runs to it.
LINEAR_HOME = {f"tests/experiments/test_{name}.py" for name in ("compare", "cross_validation", "evaluate", "reproduce")}

# Returns the path for a name; the given function creates it unless it exists.
MadeOnce = Callable[[str, Callable[[Path], object]], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a slow fixture as slow, and run files with slow tests first.

    Otherwise one process may still run a long file when the others have finished.
    """
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Run each file in one process, and all files of ``LINEAR_HOME`` in the same process."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "linear_home" if file in LINEAR_HOME else file

    return Scheduler(config, log)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real texts, which may not be committed; skip the test if it is absent."""
    folder = Path(os.environ.get("HALTUNG_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(
            "the real texts are absent; put them beside the checkout as ../shared/data, or name their folder's parent in HALTUNG_SHARED"
        )
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny German BERT."""
    import tiny

    return tiny.write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def deep_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny German BERT with twelve layers, as in BERT base."""
    import tiny

    return tiny.write_bert(tmp_path_factory.mktemp("deep_bert"), layers=12)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """A function that makes a file or folder once for all workers of pytest-xdist."""
    from filelock import FileLock

    # The workers' base folders have one parent.
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def made(name: str, make: Callable[[Path], object]) -> Path:
        path = folder / name
        with FileLock(f"{path}.lock"):
            if not path.exists():
                make(path)
        return path

    return made


@pytest.fixture(scope="session")
def mlflow_database(made_once: MadeOnce) -> Path:
    """A migrated MLflow database without runs: creating one takes seconds, copying it does not."""
    from haltung.tracking.store import _create_database

    return made_once("mlflow-template.db", _create_database)


@pytest.fixture(scope="session")
def new_store(mlflow_database: Path) -> Callable[[Path], Store]:
    """A function that creates the local store of a folder, from a copy of the empty database."""
    from command_line import store_in

    def make(folder: Path) -> Store:
        (folder / "experiments").mkdir(parents=True, exist_ok=True)
        shutil.copy(mlflow_database, folder / "experiments/mlflow.db")
        return store_in(folder)

    return make


@pytest.fixture(scope="session")
def client_bundle(bert: Path, made_once: MadeOnce, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Model, Path]]:
    """A function that returns a model and its exported bundle, by the model's kind.

    Kinds are ``bert``, ``multilingual``, ``linear`` and ``article``. A model is the same in each
    process, and its bundle is exported once.
    """
    import client_bundles

    folder = tmp_path_factory.mktemp("client_bundles")

    @cache
    def made(kind: str) -> tuple[Model, Path]:
        if kind == "linear":
            model = client_bundles.linear()
        elif kind == "article":
            model = client_bundles.article(bert)
        elif kind == "bert":
            model = client_bundles.network(bert, 48)
        else:
            encoder = client_bundles.write_multilingual(folder / "encoder")
            model = client_bundles.network(encoder, 96, prefix="query: ")
        model.calibration = client_bundles.CALIBRATION
        return model, made_once(f"client-{kind}", partial(client_bundles.write, model))

    return made


@pytest.fixture(scope="session")
def article_bundle(bert: Path, made_once: MadeOnce) -> Path:
    """The exported bundle of an untrained ``tiny.article_model`` that finds dyads."""
    import tiny
    from haltung.export.write import ReferenceSplit, export

    def write(folder: Path) -> None:
        done = export(tiny.article_model(bert, dyads=True), folder, ReferenceSplit("tiny", "dev", tiny.articles(8)), {}, ())
        assert done.folder == folder, done.refused

    return made_once("article-bundle", write)
