"""What all tests share: where the real data lies, and a home of their own for caches and databases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from system_packages import pytest_runtest_setup  # noqa: F401 -- a hook: says what to install where a test needs a system package

# Set before any library that reads them is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "0")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real texts; they may not be committed, so a checkout alone does not have them."""
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
