"""An exported bundle, run by what is installed: ONNX Runtime, OpenVINO, or the library that trained it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from haltung.errors import UserError
from haltung.inference.client import BundleError, Classifier, batches
from haltung.records import Segment

Feeds = Mapping[str, np.ndarray]
Session = Callable[[Feeds], dict[str, np.ndarray]]

# What OpenVINO is told for each hint of a format; without one it would take bf16 by itself where the processor has it.
_HINTS = {"fp32": "f32", "bf16": "bf16"}


def opened(folder: Path) -> Classifier:
    """Return the client on a bundle, without a graph: it reads texts as any client does, from ``docs/bundle.md`` alone.

    Raises:
        UserError: it is no exported bundle, or is broken.
    """
    try:
        return Classifier(folder, format=None)
    except BundleError as error:
        raise UserError(str(error)) from None


def session(path: Path, runtime: str = "onnxruntime", threads: int | None = None, hint: str = "fp32") -> Session:
    """Return what runs a graph: inputs and outputs by name.

    Args:
        path: of the ONNX file.
        runtime: ``onnxruntime`` or ``openvino``.
        threads: None leaves it to the runtime.
        hint: in which precision OpenVINO computes, ``fp32`` or ``bf16``.

    Raises:
        UserError: the runtime can't load the file.
    """
    library = installed(runtime)
    try:
        return _openvino(library, path, threads, hint) if runtime == "openvino" else _onnxruntime(library, path, threads)
    except Exception as error:  # noqa: BLE001 -- neither library has a class of its own for what a broken file makes it raise
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"{runtime} can't load {path} ({first}); export the bundle again or update {runtime}") from None


def has(runtime: str) -> bool:
    """Tell whether a runtime is installed."""
    return find_spec(_MODULES.get(runtime, runtime)) is not None


def installed(name: str) -> Any:
    """Return a runtime's module.

    Raises:
        UserError: it is not installed.
    """
    if not has(name):
        raise UserError(f"the library {name} is not installed; install it with: pip install 'haltung[export]'")
    return importlib.import_module(_MODULES.get(name, name))


def probabilities(client: Classifier, run: Session, segments: Sequence[Segment]) -> dict[str, np.ndarray]:
    """Return the probabilities of each task, ``[segments, labels]``, the segments read by the client and run in batches of like length."""
    parts = [{"text": segment.text, "context": segment.context, "target": segment.target} for segment in segments]
    encoded = client.encode(parts)
    out = {task: np.zeros((len(parts), len(labels)), dtype=np.float64) for task, labels in client.tasks.items()}
    lengths = [max(len(rows[row]) for rows in encoded.values()) for row in range(len(parts))]
    for rows in batches(lengths):
        answers = run(client.feeds({view: [has[row] for row in rows] for view, has in encoded.items()}))
        for task, values in out.items():
            values[rows] = answers[task]
    return out


_MODULES = {"scikit-learn": "sklearn"}


def _onnxruntime(library: Any, path: Path, threads: int | None) -> Session:
    options = library.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    made = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in made.get_outputs()]
    return lambda feeds: dict(zip(outputs, made.run(outputs, dict(feeds)), strict=True))


def _openvino(library: Any, path: Path, threads: int | None, hint: str) -> Session:
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[hint], "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    made = library.Core().compile_model(str(path), "CPU", settings)
    request = made.create_infer_request()

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        answers = request.infer(dict(feeds))
        # An output has several names where the runtime has left out a step that changed nothing; and its memory is filled again next time.
        return {name: np.array(answers[output]) for output in made.outputs for name in output.get_names()}

    return run
