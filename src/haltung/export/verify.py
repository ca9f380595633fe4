"""Verification of a bundle: files are intact, and every runtime reproduces the golden answers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from haltung.errors import UserError, first_line
from haltung.export import golden
from haltung.export.formats import largest_difference
from haltung.export.write import digest
from haltung.inference.client import LIMIT, BundleError, file_of
from haltung.inference.sessions import RUNTIMES, Graph, is_installed
from haltung.labels import Scheme, parse
from haltung.models import bundle
from haltung.models.predictor import predictions, tables


@dataclass(frozen=True)
class FormatCheck:
    """One format (or ``weights``), checked in one runtime (or the weights' library): the largest
    ``difference`` of a probability, None if it did not run, and how many of the golden ``inputs``
    get other labels. ``fault`` says what is wrong, "" if the format agrees.
    """

    format: str
    runtime: str
    inputs: int
    difference: float | None
    tolerance: float
    differing: int
    fault: str = ""


@dataclass(frozen=True)
class Verification:
    """A sentence per broken file, a check per format and runtime, and the missing runtimes."""

    broken: tuple[str, ...]
    checks: tuple[FormatCheck, ...]
    absent: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether no file is broken and no check failed."""
        return not self.broken and not any(check.fault for check in self.checks)


def verify(folder: Path, threads: int | None = None, callback: Callable[[str], None] = lambda step: None) -> Verification:
    """Check every file's SHA-256, and replay the golden answers in every installed runtime.

    ``threads`` defaults to that of ``haltung.resources``; ``callback`` gets each step's name first.
    ``UserError`` if the bundle is not exported, or too broken to replay anything.
    """
    description = bundle.describe(folder, exported=True)
    scheme = parse(description["scheme"], source=str(folder / bundle.DESCRIPTION))
    broken = _broken_files(folder, description, scheme)
    answers = golden.read(folder, scheme)
    if wrong := _relabelled(answers, tables([one.probabilities for one in answers], scheme), scheme):
        broken.append(f"{golden.FILE}: the labels of {', '.join(wrong[:5])} do not match their probabilities; export the bundle again")
    formats = {**description["formats"], "weights": {"runtime": "scikit-learn" if description["kind"] == "linear" else "torch"}}
    checks, absent = list[FormatCheck](), set[str]()
    for name, entry in formats.items():
        for runtime in [entry["runtime"]] if "runtime" in entry else RUNTIMES:
            if not is_installed(runtime):
                absent.add(runtime)
                continue
            callback(f"{name} by {runtime}")
            checks.append(_check(folder, name, runtime, entry, threads, answers, scheme))
    return Verification(tuple(broken), tuple(checks), tuple(sorted(absent)))


def _check(folder: Path, name: str, runtime: str, entry: Mapping[str, Any], threads: int | None, answers: Sequence[golden.Golden],
           scheme: Scheme) -> FormatCheck:  # fmt: skip
    tolerance, differing = float(entry.get("tolerance", LIMIT)), len(answers)
    difference: float | None = None
    segments, expected = [answer.segment for answer in answers], tables([one.probabilities for one in answers], scheme)
    try:
        if name == "weights":
            probabilities = bundle.load_trained(folder).probabilities(segments, precision="fp32")
        else:
            probabilities = bundle.ExportedModel(folder, Graph.of_entry(folder, name, entry, runtime, threads)).probabilities(segments)
        difference, differing = largest_difference(probabilities, expected), len(_relabelled(answers, probabilities, scheme))
        fault = "" if difference <= tolerance else f"differs by {difference:.2g}, most at {_furthest(probabilities, expected, answers)}"
    except UserError as error:
        fault = str(error)
    except Exception as error:  # noqa: BLE001 -- a graph that was changed can make a runtime raise anything
        fault = f"can't be run: {first_line(error)}"
    return FormatCheck(name, runtime, len(answers), difference, tolerance, differing, fault)


def _relabelled(answers: Sequence[golden.Golden], probabilities: Mapping[str, np.ndarray], scheme: Scheme) -> list[str]:
    """Return the ids of the inputs whose labels differ from those of the probabilities."""
    predicted = predictions([answer.segment.id for answer in answers], probabilities, scheme)
    return [one.id for answer, one in zip(answers, predicted, strict=True) if dict(answer.labels) != dict(one.labels)]


def _furthest(probabilities: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], answers: Sequence[golden.Golden]) -> str:
    differences = {task: np.nan_to_num(np.abs(probabilities[task] - expected[task]), nan=np.inf).max(axis=1) for task in expected}
    task = max(differences, key=lambda name: differences[name].max())
    answer = answers[int(differences[task].argmax())]
    return f"{task} of {answer.segment.id}" + (f" ({answer.note})" if answer.note else "")


def _broken_files(folder: Path, description: Mapping[str, Any], scheme: Scheme) -> list[str]:
    """Return a sentence for each file that is not as it was written."""
    out = []
    path = folder / bundle.DESCRIPTION
    if description.get("digest") != digest(description):
        out.append(f"{path} has been changed since it was written (its digest differs); export the bundle again")
    if description.get("scheme_digest") != scheme.digest():
        out.append(f"{path} does not have the labels that the model was trained with (scheme_digest); export the bundle again")
    for name in description.get("files", {}):
        try:
            file_of(folder, name, description, math.inf)
        except BundleError as error:
            out.append(str(error))
    return out
