"""Servers of the page, shared by the browser tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import exported
from haltung.serving.engine import Settings
from served import served_in_thread

# Serves a bundle with a name and settings, and returns the address.
Serve = Callable[..., str]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Return a function that starts servers, which run until the last test."""
    folder = tmp_path_factory.mktemp("page")
    with ExitStack() as stack:

        def start(name: str, scheme: dict[str, Any] | None = None, **settings: Any) -> str:
            bundle: Path = exported.write(folder / name, scheme)
            description = json.loads((bundle / "haltung.json").read_text(encoding="utf-8"))
            description["calibration"]["thresholds"] = {task: {"0.9": 0.9} for task in description["scheme"]["tasks"]}
            (bundle / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
            return stack.enter_context(served_in_thread(Settings(bundle, runtime="onnxruntime", threads=1, **settings)))

        yield start


@pytest.fixture(scope="session")
def address(serve: Serve) -> str:
    """The address of a server whose model has stances; most browser tests use it."""
    return serve("plain", characters=3000)
