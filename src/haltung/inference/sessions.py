"""What runs the graph: ONNX Runtime or OpenVINO, whichever is faster on this machine."""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from haltung.errors import UserError, one_of

RUNTIMES = ("onnxruntime", "openvino")

# The graph's inputs, int64 [rows, tokens] each.
Feeds = Mapping[str, np.ndarray]


class Runtime(Protocol):
    """A graph, ready to run; from one thread only."""

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Return each task's probabilities, float32 ``[rows, labels]``."""
        ...


@dataclass(frozen=True)
class Graph:
    """A format of the bundle as a runtime (its name) runs it: the file, how many threads, and whether products may be in bfloat16."""

    runtime: str
    format: str
    path: Path
    threads: int
    bf16: bool = False

    def __str__(self) -> str:
        """Name runtime and format."""
        return f"{self.runtime} {self.format}"


class OnnxRuntime:
    """Microsoft's runtime; computes in the graph's own precision."""

    def __init__(self, graph: Graph) -> None:
        library = _library("onnxruntime")
        options = library.SessionOptions()
        options.intra_op_num_threads = graph.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin while they wait would take the cores from the requests that are read and answered meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = _loaded(graph, library, lambda: library.InferenceSession(str(graph.path), options, ["CPUExecutionProvider"]))
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Return each task's probabilities."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(feeds)), strict=True))


class OpenVino:
    """Intel's runtime; it can compute in bfloat16 where the processor has it."""

    def __init__(self, graph: Graph) -> None:
        library = _library("openvino")
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": graph.threads,
            "INFERENCE_PRECISION_HINT": "bf16" if graph.bf16 else "f32",
        }
        compiled = _loaded(graph, library, lambda: library.Core().compile_model(str(graph.path), "CPU", settings))
        self._request = compiled.create_infer_request()
        # Where OpenVINO leaves a step out that changes nothing, an output has several names, and any one might be another than the task's.
        self._outputs = [(name, output) for output in compiled.outputs for name in output.get_names()]

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Return each task's probabilities."""
        found = self._request.infer(dict(feeds), share_inputs=True)
        return {name: found[output] for name, output in self._outputs}


@dataclass(frozen=True)
class Choice:
    """The graph that was taken, ready to run, and what each one tried took for a text, in milliseconds."""

    graph: Graph
    runtime: Runtime
    milliseconds: Mapping[str, float]

    def __str__(self) -> str:
        """Say what was tried and what was taken."""
        tried = ", ".join(f"{name} {value:.1f} ms" for name, value in self.milliseconds.items())
        return f"{self.graph} ({tried} a text in a short trial)" if tried else str(self.graph)


def opened(graph: Graph) -> Runtime:
    """Load the graph.

    Raises:
        UserError: there is no such runtime, it is not installed, or can't read the graph.
    """
    return OpenVino(graph) if one_of("runtime", graph.runtime, RUNTIMES) == "openvino" else OnnxRuntime(graph)


def installed() -> list[str]:
    """Return the runtimes that are there.

    Raises:
        UserError: none is.
    """
    able = [name for name in RUNTIMES if importlib.util.find_spec(name) is not None]
    if not able:
        raise UserError("neither onnxruntime nor openvino is installed; pip install 'haltung[serve]'")
    return able


def fastest(graphs: Sequence[Graph], trials: Sequence[Feeds], seconds: float) -> Choice:
    """Run each graph on the same inputs, ``seconds`` in all, and return the one that took less time for a text.

    Args:
        graphs: at least one.
        trials: inputs as they will come: a text alone, and a batch.
        seconds: for the runs; loading comes on top.

    Raises:
        UserError: a graph can't be loaded.
    """
    told: dict[str, float] = {}
    runtime: Runtime | None = None
    for graph in graphs:
        # One at a time is loaded, so that the trial takes no more memory than the service.
        runtime = None
        gc.collect()
        runtime = opened(graph)
        told[str(graph)] = _milliseconds(runtime, trials, seconds / len(graphs))
    best = min(graphs, key=lambda graph: told[str(graph)])
    if runtime is None or best is not graphs[-1]:
        runtime = None
        gc.collect()
        runtime = opened(best)
    return Choice(best, runtime, told)


def _milliseconds(runtime: Runtime, trials: Sequence[Feeds], seconds: float) -> float:
    """Return the mean over the inputs of the median time for a text."""
    means = []
    for feeds in trials:
        runtime.run(feeds)  # the first run of a shape prepares it
        times: list[float] = []
        end = time.perf_counter() + seconds / len(trials)
        while not times or time.perf_counter() < end:
            began = time.perf_counter()
            runtime.run(feeds)
            times.append(time.perf_counter() - began)
        means.append(1000 * statistics.median(times) / len(next(iter(feeds.values()))))
    return statistics.fmean(means)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"the runtime {name} is not installed; pip install 'haltung[serve]', or choose another runtime") from None


def _loaded(graph: Graph, library: ModuleType, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # noqa: BLE001 -- the runtimes' errors share no class of their own
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{library.__name__} can't load {graph.path} ({first}); export the bundle again, or update the runtime") from None
