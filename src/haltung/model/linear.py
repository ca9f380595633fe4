"""The baseline with the same face: TF-IDF of words and characters with a linear classifier for each task (scikit-learn)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from haltung.errors import UserError
from haltung.labels import Scheme, Task
from haltung.model.decisions import predictions
from haltung.model.spec import LinearSpec
from haltung.records import Prediction, Segment

FILE = "linear.skops"

# The types in our own pipelines that skops does not trust by itself; anything else in a file is refused.
_TRUSTED = [
    "haltung.model.linear._first",
    "haltung.model.linear._second",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.multiclass._ConstantPredictor",
]


class LinearModel:
    """One scikit-learn pipeline per task. A task whose training rows carry one label only always predicts that label."""

    kind = "linear"

    def __init__(self, pipelines: Mapping[str, Pipeline], scheme: Scheme, spec: LinearSpec) -> None:
        """Put the parts together; see ``fit`` for how they are made."""
        self.pipelines = dict(pipelines)
        self.scheme = scheme
        self.spec = spec

    def probabilities(self, segments: Sequence[Segment], progress: bool = False) -> dict[str, np.ndarray]:
        """Return the probabilities of each task, ``[segments, labels]``; a label that training never saw has 0."""
        out = {}
        for task in self.scheme:
            values = np.zeros((len(segments), len(task)))
            if segments:
                pipeline = self.pipelines[task.name]
                found = pipeline.predict_proba(_columns(segments, self.spec.reads_of(task.name)))
                if task.kind == "multi":
                    # A single label's classifier gives the probabilities of no and yes.
                    values[:] = found[:, -1:] if len(task) == 1 else found
                else:
                    values[:, [task.index(str(label)) for label in pipeline.classes_]] = found
            out[task.name] = values
        return out

    def predict(self, segments: Sequence[Segment], progress: bool = False) -> list[Prediction]:
        """Return a prediction for each segment, in order."""
        return predictions([segment.id for segment in segments], self.probabilities(segments, progress), self.scheme)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the pipelines into ``folder`` without pickle (skops); return what the bundle's description has to hold."""
        from skops import io

        io.dump(self.pipelines, folder / FILE)
        return {"model": {**asdict(self.spec), "reads": dict(self.spec.reads)}}

    @classmethod
    def read(cls, folder: Path, scheme: Scheme, description: Mapping[str, Any]) -> LinearModel:
        """Read what ``write`` has written; only the types of this module's own pipelines are allowed to come out of the file.

        Raises:
            UserError: the file is missing or holds something else.
        """
        from skops import io
        from skops.io.exceptions import UntrustedTypesFoundException

        if not (folder / FILE).is_file():
            raise UserError(f"{folder} has no {FILE}, so the bundle is incomplete; export or train it again")
        try:
            pipelines = io.load(folder / FILE, trusted=_TRUSTED)
        except UntrustedTypesFoundException as error:
            raise UserError(f"{folder / FILE} holds types that this project does not write ({error}); do not use it") from None
        return cls(pipelines, scheme, LinearSpec(**description["model"]))


def fit(segments: Sequence[Segment], scheme: Scheme, spec: LinearSpec, seed: int) -> LinearModel:
    """Return a fitted model. Rows that lack a label for a task are left out there.

    Raises:
        UserError: a task has no labelled row.
    """
    spec.checked(scheme)
    pipelines = {}
    for task in scheme:
        rows = [segment for segment in segments if segment.labels.get(task.name) is not None]
        if not rows:
            raise UserError(f"no training row has a label for the task '{task.name}', so there is nothing to fit")
        reads = spec.reads_of(task.name)
        pipeline = Pipeline([("features", _features(spec, paired=reads != "text")), ("classifier", _classifier(task, rows, spec, seed))])
        try:
            pipelines[task.name] = pipeline.fit(_columns(rows, reads), _gold(task, rows))
        except ValueError as error:
            # scikit-learn's own words for it: an empty vocabulary, fewer than two classes
            raise UserError(f"the task '{task.name}' can't be fitted to {len(rows)} training rows: {str(error).splitlines()[0]}") from None
    return LinearModel(pipelines, scheme, spec)


def _features(spec: LinearSpec, paired: bool) -> FeatureUnion:
    parts = []
    for name, pick in (("text", _second), ("before", _first)):
        if name == "text" or paired:
            words = TfidfVectorizer(
                ngram_range=(1, spec.words),
                token_pattern=r"(?u)\b\w+\b",  # the default pattern leaves out words of one letter
                min_df=spec.min_count,
                max_features=spec.max_features,
                sublinear_tf=True,
            )
            characters = TfidfVectorizer(
                analyzer="char_wb",
                ngram_range=(2, spec.characters),
                min_df=spec.min_count,
                max_features=spec.max_features,
                sublinear_tf=True,
            )
            both = FeatureUnion([("words", words), ("characters", characters)])
            parts.append((name, Pipeline([("pick", FunctionTransformer(pick)), ("tfidf", both)])))
    return FeatureUnion(parts)


def _classifier(task: Task, rows: Sequence[Segment], spec: LinearSpec, seed: int) -> Any:
    if task.kind == "single" and len({segment.labels[task.name] for segment in rows}) == 1:
        return DummyClassifier(strategy="prior")
    weight = "balanced" if spec.class_weight == "balanced" else None
    if spec.kind == "logistic":
        # One against the rest by liblinear: the multinomial solvers need minutes for what it does in seconds, on this many features.
        return OneVsRestClassifier(LogisticRegression(C=spec.C, class_weight=weight, solver="liblinear", random_state=seed))
    svc = LinearSVC(C=spec.C, class_weight=weight, random_state=seed)
    if task.kind == "multi":
        return OneVsRestClassifier(CalibratedClassifierCV(svc, cv=2, ensemble=False))
    counts = [sum(segment.labels[task.name] == label for segment in rows) for label in task.ids]
    folds = min([5, *(count for count in counts if count)])
    if folds < 2:
        rare = next(label for label, count in zip(task.ids, counts, strict=True) if count == 1)
        raise UserError(
            f"the {task.name} '{rare}' has one training row, and model.kind=svc needs two of each label; use model.kind=logistic"
        )
    return CalibratedClassifierCV(svc, cv=folds, ensemble=False)


def _gold(task: Task, rows: Sequence[Segment]) -> np.ndarray:
    if task.kind == "single":
        return np.array([str(segment.labels[task.name]) for segment in rows])
    return np.array([[int(label in (segment.labels[task.name] or ())) for label in task.ids] for segment in rows])


def _columns(segments: Sequence[Segment], reads: str) -> np.ndarray:
    """Return ``[rows, 2]``: what stands before the text, and the text."""

    def before(segment: Segment) -> str:
        parts = {"text": "", "context": segment.context, "target": segment.target, "target+context": f"{segment.target} {segment.context}"}
        return parts[reads]

    return np.array([[before(segment), segment.text] for segment in segments], dtype=object)


def _first(columns: np.ndarray) -> np.ndarray:
    return columns[:, 0]


def _second(columns: np.ndarray) -> np.ndarray:
    return columns[:, 1]
