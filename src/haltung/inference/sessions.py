"""Sessions that run an exported graph: ONNX Runtime or OpenVINO, whichever is faster here."""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from haltung import files, threads
from haltung.errors import UserError, first_line, one_of
from haltung.inference.client import BundleError, Classifier, Run, session
from haltung.records import Segment

RUNTIMES = ("onnxruntime", "openvino")
# OpenVINO stores what it has prepared for each shape: 160 batches of any width grew it by 80 MB, in
# steps of 8 by 16 MB.
STEP = 8
# Seconds of the runtimes' trial; with loading both, a start still takes less than four.
_TRIAL = 0.6
# What the trial reads: a news sentence of usual length, behind a headline and a lead.
SAMPLE = Segment(
    "",
    "Die Regierung in Santiago warnte am Freitag vor neuen Zöllen auf Kupfer und kündigte eine Klage bei der Welthandelsorganisation an.",
    context="Streit um Kupferzölle Chile und Peru verhandeln seit Montag über den Handel mit Metallen. Ein Ergebnis gibt es bisher nicht.",
)
_MODULES = {"scikit-learn": "sklearn"}  # of libraries that have another name
# A graph's inputs by name.
Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Graph:
    """A format of a bundle and what runs it.

    ``threads`` None is as many as ``haltung.threads`` gives. ``bf16`` lets OpenVINO multiply in
    bfloat16.
    """

    runtime: str
    format: str
    path: Path
    threads: int | None = None
    bf16: bool = False

    @classmethod
    def of_entry(cls, folder: Path, name: str, entry: Mapping[str, Any], runtime: str | None = None, threads: int | None = None) -> Graph:
        """Return the graph of an entry of ``formats`` in ``haltung.json``.

        ``runtime`` None takes the one that the format needs, or else ONNX Runtime.
        """
        runtime = runtime or entry.get("runtime", "onnxruntime")
        return cls(runtime, name, folder / str(entry["file"]), threads, bf16=entry.get("hint") == "bf16")

    def __str__(self) -> str:
        return f"{self.runtime} {self.format}"


@dataclass(frozen=True)
class FastestGraph:
    """The fastest graph, loaded, and the milliseconds that each one tried took for a text."""

    graph: Graph
    run: Run
    milliseconds: Mapping[str, float]

    def __str__(self) -> str:
        tried = ", ".join(f"{name} {value:.1f} ms" for name, value in self.milliseconds.items())
        return f"{self.graph} ({tried} a text in a short trial)" if tried else str(self.graph)


def load(graph: Graph) -> Run:
    """Load a graph; what is returned may be called from one thread only.

    ``UserError`` is raised if the runtime is unknown, not installed, or can't load it.
    """
    library(one_of("runtime", graph.runtime, RUNTIMES))
    try:
        return _openvino(graph) if graph.runtime == "openvino" else session(graph.path, graph.threads or threads.count())
    except BundleError as error:
        raise UserError(str(error)) from None


def is_installed(name: str) -> bool:
    """Return whether a library is installed."""
    return find_spec(_MODULES.get(name, name)) is not None


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
    """Return whether this processor multiplies in bfloat16 (emulated, it is slow)."""
    if platform.system() == "Darwin":
        feature = subprocess.run(["sysctl", "-n", "hw.optional.arm.FEAT_BF16"], capture_output=True, check=False)
        return feature.stdout.strip() == b"1"
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(flag in text for flag in ("amx_bf16", "avx512_bf16", " bf16"))


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def choose(graphs: Sequence[Graph], classifier: Classifier) -> FastestGraph:
    """Return the faster of a bundle's graphs by an earlier trial on this machine, or by a new one.

    ``UserError`` is raised as by ``fastest``.
    """
    formats = classifier.description["formats"]
    # What the choice depends on; a library under another name (onnxruntime-gpu) has no version.
    about = [[str(graph), formats[graph.format].get("sha256"), graph.threads, version_of(graph.runtime)] for graph in graphs]
    name = hashlib.sha256(json.dumps([about, processor()]).encode()).hexdigest()[:24]
    path = files.cache() / "serving" / f"{name}.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        milliseconds = {str(graph): float(stored[str(graph)]) for graph in graphs}
    except (OSError, ValueError, KeyError, TypeError):
        # There was no earlier trial, or what it left can't be read.
        trials = [next(classifier.batches([{"text": SAMPLE.text, "context": SAMPLE.context}] * count))[1] for count in (1, 4)]
        choice = fastest(graphs, trials, _TRIAL)
        # In a file system that can't be written to each start tries anew.
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_text(path, json.dumps(dict(choice.milliseconds)))
        return choice
    best = min(graphs, key=lambda graph: milliseconds[str(graph)])
    return FastestGraph(best, load(best), milliseconds)


def fastest(graphs: Sequence[Graph], trials: Sequence[Feeds], seconds: float) -> FastestGraph:
    """Run each graph on the same inputs and return the one that takes the least time for a text.

    ``trials`` are typical inputs: a single text, and a batch. All runs together take about
    ``seconds``; loading comes on top. Raises ``UserError`` if a graph can't be loaded.
    """
    milliseconds: dict[str, float] = {}
    run: Run | None = None
    for graph in graphs:
        # One graph is loaded at a time, so that the trial takes no more memory than the service.
        run = None
        gc.collect()
        run = load(graph)
        milliseconds[str(graph)] = _milliseconds(run, trials, seconds / len(graphs))
    best = min(graphs, key=lambda graph: milliseconds[str(graph)])
    if run is None or best is not graphs[-1]:
        run = None
        gc.collect()
        run = load(best)
    return FastestGraph(best, run, milliseconds)


def _milliseconds(run: Run, trials: Sequence[Feeds], seconds: float) -> float:
    """Return the mean over the inputs of the median time for a text."""
    means = []
    for feeds in trials:
        texts = len(next(iter(run(feeds).values())))  # the first run of a shape prepares it
        times: list[float] = []
        end = time.perf_counter() + seconds / len(trials)
        while not times or time.perf_counter() < end:
            began = time.perf_counter()
            run(feeds)
            times.append(time.perf_counter() - began)
        means.append(1000 * statistics.median(times) / texts)
    return statistics.fmean(means)


def _openvino(graph: Graph) -> Run:
    openvino = library("openvino")
    # Without a hint OpenVINO would take bf16 wherever the processor has it.
    precision = "bf16" if graph.bf16 else "f32"
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    settings["INFERENCE_NUM_THREADS"] = graph.threads or threads.count()
    try:
        compiled = openvino.Core().compile_model(str(graph.path), "CPU", settings)
    except Exception as error:  # noqa: BLE001 -- OpenVINO's errors share no class of their own
        raise UserError(f"openvino can't load {graph.path} ({first_line(error)}); export the bundle again or update openvino") from None
    request = compiled.create_infer_request()
    # Where OpenVINO drops a step that changes nothing, an output has several names, any of which
    # may be the task's.
    outputs = [(name, output) for output in compiled.outputs for name in output.get_names()]

    def run(feeds: Feeds, asked: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        answers = request.infer(dict(feeds), share_inputs=True)
        return {name: answers[output] for name, output in outputs if asked is None or name in asked}

    return run
