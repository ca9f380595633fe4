"""Sessions that run an exported graph: ONNX Runtime or OpenVINO."""

from __future__ import annotations

import importlib
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from haltung import resources
from haltung.errors import UserError, first_line, one_of
from haltung.inference.client import BundleError, Run, session

RUNTIMES = ("onnxruntime", "openvino")
STEP = 8  # multiple for sizes: OpenVINO keeps the machine code that it generates for each size, whatever its caches may hold
_MODULES = {"scikit-learn": "sklearn"}  # modules whose name differs from their library's
Feeds = Mapping[str, np.ndarray]  # a graph's inputs by name


@dataclass(frozen=True)
class Graph:
    """A format of a bundle and its runtime, with a number of ``threads`` (None: that of
    ``haltung.resources``); ``bf16`` lets OpenVINO multiply in bfloat16.
    """

    runtime: str
    format: str
    path: Path
    threads: int | None = None
    bf16: bool = False

    @classmethod
    def of_entry(cls, folder: Path, name: str, entry: Mapping[str, Any], runtime: str | None = None, threads: int | None = None) -> Graph:
        """Return the graph of an entry of ``formats``, by default with the entry's runtime."""
        runtime = runtime or entry.get("runtime", "onnxruntime")
        return cls(runtime, name, folder / str(entry["file"]), threads, bf16=entry.get("hint") == "bf16")

    def __str__(self) -> str:
        return f"{self.runtime} {self.format}"


def load(graph: Graph) -> Run:
    """Load a graph, for use in one thread only; ``UserError`` if its runtime can't load it."""
    library(one_of("runtime", graph.runtime, RUNTIMES))
    try:
        return _openvino(graph) if graph.runtime == "openvino" else session(graph.path, graph.threads or resources.threads())
    except BundleError as error:
        raise UserError(str(error)) from None


def is_installed(name: str) -> bool:
    """Return whether a library is installed."""
    return find_spec(_MODULES.get(name, name)) is not None


def preferred(kind: str) -> tuple[str, ...]:
    """Return the installed runtimes, the usually faster one for a ``kind`` of model here first.

    On x86-64 that is OpenVINO, except for a linear model, whose input shape differs for each text:
    a new shape takes OpenVINO longer than the whole graph takes ONNX Runtime.
    """
    names = reversed(RUNTIMES) if platform.machine() in ("x86_64", "AMD64") and kind != "linear" else RUNTIMES
    return tuple(filter(is_installed, names))


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, "" if there is none of that name."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def library(name: str) -> ModuleType:
    """Return the module of a library; ``UserError`` if it is not installed."""
    if not is_installed(name):
        extra = "serve" if name == "openvino" else "export"
        raise UserError(f"the library {name} is not installed; install it with: pip install 'haltung[{extra}]'")
    return importlib.import_module(_MODULES.get(name, name))


def has_bf16() -> bool:
    """Return whether this processor supports multiplication in bfloat16 (emulation is slow)."""
    if platform.system() == "Darwin":
        feature = subprocess.run(["sysctl", "-n", "hw.optional.arm.FEAT_BF16"], capture_output=True, check=False)
        return feature.stdout.strip() == b"1"
    text = cpuinfo()
    return any(flag in text for flag in ("amx_bf16", "avx512_bf16", " bf16"))


def processor() -> str:
    """Return the name of this machine's processor."""
    names = (line.partition(":")[2].strip() for line in cpuinfo().splitlines() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def cpuinfo() -> str:
    """Return Linux's description of the processor; "" on other systems."""
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return ""


def _openvino(graph: Graph) -> Run:
    openvino = library("openvino")
    # Without a hint OpenVINO would use bf16 on every processor that supports it.
    precision = "bf16" if graph.bf16 else "f32"
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    settings["INFERENCE_NUM_THREADS"] = graph.threads or resources.threads()
    try:
        compiled = openvino.Core().compile_model(str(graph.path), "CPU", settings)
    except Exception as error:  # noqa: BLE001 -- OpenVINO's errors share no class of their own
        raise UserError(f"openvino can't load {graph.path} ({first_line(error)}); export the bundle again or update openvino") from None
    request = compiled.create_infer_request()
    # An output has several names, one of them the task's, if OpenVINO drops a step.
    outputs = [(name, output) for output in compiled.outputs for name in output.get_names()]

    def run(feeds: Feeds, asked: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        answers = request.infer(dict(feeds), share_inputs=True)
        return {name: answers[output] for name, output in outputs if asked is None or name in asked}

    return run
