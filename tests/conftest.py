"""What all tests share: where the real data lies, and a home of their own for caches and
databases.
"""

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

# Making one of these takes long: trainings by the command line, servers, browsers.
SLOW_FIXTURES = {"browser", "trained", "server", "client_bundle", "article_bundle", "linear_home"}

# These share a folder of runs that takes a minute to make and add to it; one process runs them.
LINEAR_HOME = {f"tests/experiments/test_{name}.py" for name in ("compare", "cross_validation", "evaluate", "reproduce")}

# A function that returns the path of a name, made by the function given if nobody has made it yet.
MadeOnce = Callable[[str, Callable[[Path], object]], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a slow fixture as slow, and put files with slow ones first.

    So that no process is left with a long file when the others have none.
    """
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Give each file to one process, and those of ``LINEAR_HOME`` to the same one."""
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
    """The folder with the real texts; they may not be committed, so a checkout alone does not have
    them.
    """
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
    """The folder of a tiny German BERT with as many layers as a real one has."""
    import tiny

    return tiny.write_bert(tmp_path_factory.mktemp("deep_bert"), layers=12)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Makes a file or folder that all workers of pytest-xdist read."""
    from filelock import FileLock

    # They share the parent of their own folders.
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
    """Makes the local store of a folder, on a copy of the database, and returns it."""
    from command_line import store_in

    def make(folder: Path) -> Store:
        (folder / "experiments").mkdir(parents=True, exist_ok=True)
        shutil.copy(mlflow_database, folder / "experiments/mlflow.db")
        return store_in(folder)

    return make


@pytest.fixture(scope="session")
def client_bundle(bert: Path, made_once: MadeOnce, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Model, Path]]:
    """A function from ``bert``, ``multilingual``, ``linear`` or ``article`` to a model, which is
    the same in each process, and its exported bundle, which is made once.
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
    """The exported bundle of ``tiny.article_model``, untrained, which finds dyads."""
    import tiny
    from haltung.export.write import ReferenceSplit, export

    def write(folder: Path) -> None:
        done = export(tiny.article_model(bert, dyads=True), folder, ReferenceSplit("tiny", "dev", tiny.articles(8)), {}, ())
        assert done.folder == folder, done.refused

    return made_once("article-bundle", write)
