"""The baseline: TF-IDF of words and characters, and a linear classifier for each label."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.models.predictor import Calibration, Model, calibrated, shares
from haltung.models.spec import LinearSpec
from haltung.records import Segment

WEIGHTS = "linear.safetensors"
VOCABULARY = "vocabulary.json"
_CERTAIN = 30.0  # log odds of a label that all training rows have; negated if none has it


@dataclass(frozen=True)
class LinearWeights:
    """The classifiers of one task: ``expit(scale · (x · coefficients + intercept) + shift)``.

    ``coefficients`` is ``[labels, features]``, others ``[labels]``; ``seen`` is 1 if in training.
    """

    coefficients: np.ndarray
    intercept: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    seen: np.ndarray


class LinearModel(Model):
    """TF-IDF features for each view (what a task reads), and weights for each task."""

    kind = "linear"

    def __init__(self, features: Mapping[str, "Features"], weights: Mapping[str, LinearWeights], scheme: Scheme, spec: LinearSpec) -> None:
        self.features, self.weights, self.scheme, self.spec = dict(features), dict(weights), scheme, spec
        self.calibration = Calibration()

    def probabilities(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return each task's calibrated probabilities, 0 for labels absent from training."""
        if not segments:
            return {task.name: np.zeros((0, len(task))) for task in self.scheme}
        tables = {view: features.transform(segments) for view, features in self.features.items()}
        out = {}
        for task in self.scheme:
            weights = self.weights[task.name]
            margins = np.asarray(tables[self.spec.reads_of(task.name)] @ weights.coefficients.T) + weights.intercept
            values = expit(weights.scale * margins + weights.shift) * weights.seen
            if task.kind == "single":
                total = values.sum(axis=1, keepdims=True)
                values = np.where(total > 0, values / np.where(total > 0, total, 1.0), weights.seen / weights.seen.sum())
            out[task.name] = values
        return calibrated(out, self.scheme, self.calibration)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write vocabularies and numbers; return the model's part of the description."""
        numbers = {f"features.{view}.{name}.idf": part.idf_ for view, has in self.features.items() for name, part in has.parts.items()}
        for task, weights in self.weights.items():
            numbers |= {f"{task}.{name}": np.ascontiguousarray(value) for name, value in vars(weights).items()}
        save_file(numbers, folder / WEIGHTS)
        terms = {
            view: {name: part.get_feature_names_out().tolist() for name, part in has.parts.items()} for view, has in self.features.items()
        }
        (folder / VOCABULARY).write_text(json.dumps(terms, ensure_ascii=False), encoding="utf-8")
        return {"model": {**asdict(self.spec), "reads": dict(self.spec.reads)}}

    @classmethod
    def read(cls, folder: Path, scheme: Scheme, description: Mapping[str, Any]) -> Self:
        """Read what ``write`` writes; ``UserError`` if the files do not match."""
        spec = LinearSpec(**description["model"])
        try:
            numbers = load_file(folder / WEIGHTS)
        except SafetensorError as error:
            raise UserError(f"{folder / WEIGHTS} does not fit the bundle's haltung.json ({error}); export or train it again") from None
        features = {}
        for view, parts in json.loads((folder / VOCABULARY).read_text(encoding="utf-8")).items():
            features[view] = Features(spec, view)
            for name, ngrams in parts.items():
                vectorizer = features[view].parts[name]
                vectorizer.vocabulary = {ngram: number for number, ngram in enumerate(ngrams)}
                # The setter also makes ``vocabulary`` the fitted one.
                vectorizer.idf_ = numbers[f"features.{view}.{name}.idf"]
        names = LinearWeights.__dataclass_fields__
        weights = {task.name: LinearWeights(**{name: numbers[f"{task.name}.{name}"] for name in names}) for task in scheme}
        for task, of in zip(scheme, weights.values(), strict=True):
            width = sum(len(part.vocabulary_) for part in features[spec.reads_of(task.name)].parts.values())
            if of.coefficients.shape != (len(task), width) or any(value.shape[:1] != (len(task),) for value in vars(of).values()):
                raise UserError(f"{folder / WEIGHTS} has the wrong shapes for the labels of {task.name} and {VOCABULARY}; export it again")
        return cls(features, weights, scheme, spec)


class Features:
    """TF-IDF of words and characters, of the text and separately of its target and context."""

    def __init__(self, spec: LinearSpec, view: str) -> None:
        self.view = view
        shared: dict[str, Any] = {"min_df": spec.min_count, "max_features": spec.max_features, "sublinear_tf": True, "dtype": np.float32}
        self.parts: dict[str, TfidfVectorizer] = {}
        for source in ("text",) if view == "text" else ("text", "before"):
            # The default pattern drops words of one letter.
            self.parts[f"{source}.words"] = TfidfVectorizer(ngram_range=(1, spec.words), token_pattern=r"(?u)\b\w+\b", **shared)
            self.parts[f"{source}.characters"] = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, spec.characters), **shared)

    def transform(self, segments: Sequence[Segment], fit: bool = False) -> sparse.csr_matrix:
        """Return ``[segments, features]``; ``fit`` the vocabularies first."""
        transforms = {name: part.fit_transform if fit else part.transform for name, part in self.parts.items()}
        return sparse.hstack([transform(self._column(name, segments)) for name, transform in transforms.items()], format="csr")

    def _column(self, name: str, segments: Sequence[Segment]) -> list[str]:
        fields = ["text"] if name.startswith("text") else [field for field in ("target", "context") if field in self.view]
        return [" ".join(getattr(segment, field) for field in fields if getattr(segment, field)) for segment in segments]


def fit(segments: Sequence[Segment], scheme: Scheme, spec: LinearSpec, seed: int) -> LinearModel:
    """Fit a classifier per label, one against the rest.

    Raises ``UserError`` if a task has no labelled segment, or a view has no features.
    """
    spec.checked(scheme)
    features: dict[str, Features] = {}
    tables: dict[str, sparse.csr_matrix] = {}
    for view in spec.views(scheme):
        features[view] = Features(spec, view)
        try:
            tables[view] = features[view].transform(segments, fit=True)
        except ValueError as error:
            # The vocabulary is empty, or there are fewer rows than min_count.
            raise UserError(f"no features can be made from {len(segments)} training rows that read '{view}': {error}") from None
    weights = {}
    for task in scheme:
        rows = [row for row, segment in enumerate(segments) if segment.labels.get(task.name) is not None or task.name in segment.soft]
        if not rows:
            raise UserError(f"no training row has a label for the task '{task.name}', so there is nothing to fit")
        weights[task.name] = _fit(tables[spec.reads_of(task.name)][rows], shares(task, [segments[row] for row in rows]), spec, seed)
    return LinearModel(features, weights, scheme, spec)


def _fit(table: sparse.csr_matrix, gold: np.ndarray, spec: LinearSpec, seed: int) -> LinearWeights:
    """Fit one classifier per column of ``gold``, ``[rows, labels]`` of shares from 0 to 1."""
    labels = gold.shape[1]
    coefficients = np.zeros((labels, table.shape[1]), dtype=np.float32)
    intercept, scale, shift = np.zeros(labels), np.ones(labels), np.zeros(labels)
    for label in range(labels):
        if (gold[:, label] == gold[0, label]).all() and gold[0, label] in (0, 1):
            intercept[label] = _CERTAIN if gold[0, label] else -_CERTAIN
            continue
        classifier, scale[label], shift[label] = _binary(table, gold[:, label], spec, seed)
        coefficients[label] = classifier.coef_[0]
        intercept[label] = classifier.intercept_[0]
        if labels == 2 and np.isclose(gold.sum(axis=1), 1).all():
            # The second of two labels is the complement of the first.
            coefficients[1], intercept[1], scale[1], shift[1] = -coefficients[0], -intercept[0], scale[0], -shift[0]
            break
    return LinearWeights(coefficients, intercept, scale, shift, (gold.sum(axis=0) > 0).astype(np.float64))


def _binary(table: sparse.csr_matrix, gold: np.ndarray, spec: LinearSpec, seed: int) -> tuple[Any, float, float]:
    """Fit one label against the rest; return also ``scale`` and ``shift`` of its margins.

    Rows that only some annotators labelled count as positive and as negative, weighted by shares.
    """
    divided, weights = (gold > 0) & (gold < 1), None
    if divided.any():
        weights = np.concatenate([np.where(divided, gold, 1.0), 1.0 - gold[divided]])
        table, gold = sparse.vstack([table, table[divided]], format="csr"), np.concatenate([gold > 0, np.zeros(divided.sum())])
    weight = "balanced" if spec.class_weight == "balanced" else None
    if spec.kind == "logistic":
        form: dict[str, Any] = {"dual": table.shape[1] > table.shape[0], "max_iter": 1000, "random_state": 0}  # the dual is faster there
        return LogisticRegression(C=spec.C, class_weight=weight, solver="liblinear", **form).fit(table, gold, weights), 1.0, 0.0
    svc = LinearSVC(C=spec.C, class_weight=weight, random_state=seed)
    folds = min(5, int(gold.sum()), int((1 - gold).sum()))
    if folds < 2:
        # A label with one row can't be calibrated; its margin is taken as its log odds.
        return svc.fit(table, gold, weights), 1.0, 0.0
    calibrated = CalibratedClassifierCV(svc, cv=folds, ensemble=False).fit(table, gold, weights).calibrated_classifiers_[0]
    platt = calibrated.calibrators[0]
    # Platt's sigmoid is 1 / (1 + exp(a · margin + b)).
    return calibrated.estimator, -float(platt.a_), -float(platt.b_)
