"""A bundle proves itself anywhere: its files are whole, and every runtime gives the golden answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from haltung.errors import UserError
from haltung.export import comparing, golden
from haltung.export.description import digest
from haltung.export.golden import Golden
from haltung.export.write import TOLERANCE
from haltung.files import sha256
from haltung.inference.sessions import Graph, is_installed
from haltung.labels import Scheme, parse
from haltung.models import bundle
from haltung.models.exported import ExportedModel
from haltung.models.predictor import predictions


@dataclass(frozen=True)
class Check:
    """One format in one runtime, on all golden inputs; ``fault`` is empty where it agrees, ``difference`` None where it did not run."""

    format: str
    runtime: str
    inputs: int
    difference: float | None
    tolerance: float
    differing: int
    fault: str = ""


@dataclass(frozen=True)
class Verification:
    """What came of it: ``broken`` has a sentence for each file that is missing or was changed, ``absent`` the runtimes not installed."""

    broken: tuple[str, ...]
    checks: tuple[Check, ...]
    absent: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against the bundle."""
        return not self.broken and not any(check.fault for check in self.checks)


def verify(folder: Path, threads: int | None = None, told: Callable[[str], None] = lambda step: None) -> Verification:
    """Check every file's SHA-256, and replay the golden answers with every format in every runtime that is installed.

    Args:
        folder: of an exported bundle.
        threads: of each runtime; None leaves it to them.
        told: is called with each step's name before it is begun.

    Raises:
        UserError: it is no exported bundle, or so broken that nothing can be replayed.
    """
    described = bundle.describe(folder)
    if not bundle.is_exported(described):
        raise UserError(f"{folder} is a trained model that was not exported; write a bundle of it with haltung export")
    scheme = parse(described["scheme"], source=str(folder / bundle.DESCRIPTION))
    broken = _broken(folder, described, scheme)
    answers = golden.read(folder, scheme)
    broken += _contradicting(answers, scheme)
    checks: list[Check] = []
    for name, entry in described["formats"].items():
        for runtime in _runtimes(entry):
            if is_installed(runtime):
                told(f"{name} by {runtime}")
                checks.append(_check(folder, name, entry, runtime, answers, scheme, threads))
    own = "scikit-learn" if described["kind"] == "linear" else "torch"
    if is_installed(own):
        told(f"the weights by {own}")
        checks.append(_trained(folder, own, answers, scheme))
    wanted = {own, *(runtime for entry in described["formats"].values() for runtime in _runtimes(entry))}
    return Verification(tuple(broken), tuple(checks), tuple(sorted(runtime for runtime in wanted if not is_installed(runtime))))


def _runtimes(entry: Mapping[str, Any]) -> Sequence[str]:
    return [entry["runtime"]] if "runtime" in entry else ["onnxruntime", "openvino"]


def _check(folder: Path, name: str, entry: Mapping[str, Any], runtime: str, answers: Sequence[Golden], scheme: Scheme,
           threads: int | None) -> Check:  # fmt: skip
    tolerance = float(entry.get("tolerance", TOLERANCE))
    try:
        model = ExportedModel(folder, Graph.of_entry(folder, name, entry, runtime, threads))
        found = model.probabilities([one.segment for one in answers])
    except UserError as error:
        return Check(name, runtime, len(answers), None, tolerance, len(answers), str(error))
    except Exception as error:  # noqa: BLE001 -- a graph that was changed can make a runtime raise anything
        return Check(
            name,
            runtime,
            len(answers),
            None,
            tolerance,
            len(answers),
            f"can't be run: {(str(error).splitlines() or [type(error).__name__])[0]}",
        )
    return _judged(name, runtime, found, answers, scheme, tolerance)


def _trained(folder: Path, own: str, answers: Sequence[Golden], scheme: Scheme) -> Check:
    try:
        found = bundle.load_trained(folder).probabilities([one.segment for one in answers], precision="fp32")
    except UserError as error:
        return Check("weights", own, len(answers), None, TOLERANCE, len(answers), str(error))
    return _judged("weights", own, found, answers, scheme, TOLERANCE)


def _judged(name: str, runtime: str, found: Mapping[str, np.ndarray], answers: Sequence[Golden], scheme: Scheme,
            tolerance: float) -> Check:  # fmt: skip
    wanted = golden.expected(answers, scheme)
    for task in scheme:
        if found[task.name].shape != wanted[task.name].shape:
            shape = found[task.name].shape
            fault = f"{task.name} has {shape[-1]} probabilities, the scheme has {len(task)} labels"
            return Check(name, runtime, len(answers), None, tolerance, len(answers), fault)
    apart = comparing.apart(found, wanted)
    said = predictions([one.segment.id for one in answers], found, scheme)
    differing = sum(any(one.labels[task] != other.labels[task] for task in scheme.names) for one, other in zip(answers, said, strict=True))
    fault = "" if apart <= tolerance else f"differs by {apart:.2g}, most at {_furthest(found, wanted, answers)}"
    return Check(name, runtime, len(answers), apart, tolerance, differing, fault)


def _furthest(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], answers: Sequence[Golden]) -> str:
    rows = {task: np.nan_to_num(np.abs(found[task] - wanted[task]), nan=np.inf).max(axis=1) for task in wanted}
    task = max(rows, key=lambda name: rows[name].max())
    one = answers[int(rows[task].argmax())]
    return f"{task} of {one.segment.id} ({one.note})" if one.note else f"{task} of {one.segment.id}"


def _broken(folder: Path, described: Mapping[str, Any], scheme: Scheme) -> list[str]:
    """Return a sentence for each file that is not as it was written."""
    out = []
    if described.get("digest") != digest(described):
        out.append(f"{folder / bundle.DESCRIPTION} has been changed since it was written (its digest differs); export the bundle again")
    if described.get("scheme_digest") != scheme.digest():
        out.append(
            f"{folder / bundle.DESCRIPTION} has other labels than the model was trained with (scheme_digest); export the bundle again"
        )
    for name, expected in described.get("files", {}).items():
        path = folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            out.append(f"{folder / bundle.DESCRIPTION} names the file {name}, which lies outside the bundle; export the bundle again")
        elif not path.is_file():
            out.append(f"{path} is missing; copy or export the bundle again")
        elif sha256(path) != expected:
            out.append(f"{path} is not the file that was written (its SHA-256 differs); copy or export the bundle again")
    return out


def _contradicting(answers: Sequence[Golden], scheme: Scheme) -> list[str]:
    """Return a sentence if a golden answer's labels are not those of its probabilities."""
    said = predictions([one.segment.id for one in answers], golden.expected(answers, scheme), scheme)
    wrong = [one.segment.id for one, other in zip(answers, said, strict=True) if dict(one.labels) != dict(other.labels)]
    if not wrong:
        return []
    return [f"{golden.FILE}: the labels of {', '.join(wrong[:5])} are not those of their probabilities; export the bundle again"]
