"""All readers of exported bundles, by name; each has to refuse an invalid bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from haltung.inference.client import Classifier
from haltung.models import bundle
from haltung.serving.engine import Settings, open_engine

READERS: dict[str, Callable[[Path], Any]] = {
    "client": Classifier,
    "load": lambda folder: bundle.load(folder, graph=True),
    "onnxruntime": lambda folder: open_engine(Settings(folder, runtime="onnxruntime")),
    "openvino": lambda folder: open_engine(Settings(folder, runtime="openvino")),
}
