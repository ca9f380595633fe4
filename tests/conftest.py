"""What all tests share: where the real data lies, and a home of their own for caches and
databases.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from system_packages import pytest_runtest_setup  # noqa: F401 -- a hook: says what to install where a test needs a system package

if TYPE_CHECKING:
    from haltung.models.predictor import Model
    from haltung.tracking import Store

# Set before any library that reads them is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "0")

ROOT = Path(__file__).resolve().parents[1]

# Making one of these takes long: trainings by the command line, servers, browsers.
SLOW_FIXTURES = {"browser", "trained", "server", "client_bundle", "article_bundle", "linear_home"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a slow fixture as slow, and put files with slow ones first.

    So that no process is left with a long file when the others have none.
    """
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated MLflow database without runs: creating one takes seconds, copying it does not."""
    from filelock import FileLock

    from haltung.tracking.store import _create_database

    # All workers of pytest-xdist share the parent of their own folders.
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    path = folder / "mlflow-template.db"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _create_database(path)
    return path


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
def client_bundle(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Model, Path]]:
    """A function from ``bert``, ``multilingual``, ``linear`` or ``article`` to a model and its
    exported bundle, made once.
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
            encoder = client_bundles.write_multilingual(folder / "encoder", folder)
            model = client_bundles.network(encoder, 96, prefix="query: ")
        return model, client_bundles.written(model, folder / kind)

    return made


@pytest.fixture(scope="session")
def article_bundle(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported bundle of ``tiny.article_model``, untrained, which finds dyads."""
    import tiny
    from haltung.export.write import ReferenceSplit, export

    folder = tmp_path_factory.mktemp("articles") / "bundle"
    done = export(tiny.article_model(bert, dyads=True), folder, ReferenceSplit("tiny", "dev", tiny.articles(8)), {}, ())
    assert done.folder == folder, done.refused
    return folder
