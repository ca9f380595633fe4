"""A linear model as an ONNX graph: numbers and counts of n-grams in, calibrated probabilities out.

Texts are split into n-grams outside of the graph, by a page of code in any language
(``docs/bundle.md``): ONNX's text operators support neither scikit-learn's ``char_wb`` nor Unicode
(``experiments/2026-11-25-export.md`` lists what was tried).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from haltung.export.graphs.neural import calibrated, save
from haltung.models.linear import VOCABULARY, Features, LinearModel, LinearWeights

_NEVER = -1e30  # the log odds of a label that does not occur in training; finite


def described(model: LinearModel) -> dict[str, Any]:
    """Return the bundle's ``input``: how a text becomes the inputs of the graph."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for view, features in model.features.items():
        first = 0
        parts[view] = []
        for name, vectorizer in features.parts.items():
            source, _, unit = name.partition(".")
            kind = "word" if unit == "words" else "character"
            parts[view].append({"name": name, "of": source, "unit": kind, "sizes": list(vectorizer.ngram_range), "first": first})
            first += len(vectorizer.idf_)
    return {"kind": "ngrams", "vocabulary": VOCABULARY, "parts": parts}


def write(model: LinearModel, path: Path) -> dict[str, Any]:
    """Write the graph in float32, batch and number of n-grams dynamic; return views and input."""
    batch, inputs = torch.export.Dim("batch"), list[str]()
    examples: list[Tensor] = []
    shapes: list[dict[int, Any]] = []
    for number, view in enumerate(model.features):
        inputs += [f"{view}.{name}" if len(model.features) > 1 else name for name in ("numbers", "counts")]
        # Views of different lengths, so that no size is taken for a constant.
        examples += [torch.zeros(2, 8 + number, dtype=torch.long), torch.ones(2, 8 + number)]
        shapes += [{0: batch, 1: torch.export.Dim(f"ngrams{number}")}] * 2
    save(CalibratedLinear(model), examples, (tuple(shapes),), inputs, model.scheme.names, path)
    return {"views": list(model.features), "input": described(model)}


class CalibratedLinear(nn.Module):
    """A linear model with temperatures and softmax (or sigmoid): tensors in, probabilities out."""

    def __init__(self, model: LinearModel) -> None:
        super().__init__()
        self.scheme, self.calibration, views = model.scheme, model.calibration, list(model.features)
        self.views = nn.ModuleList(map(_Tfidf, model.features.values()))
        self.tasks = nn.ModuleList(_LogOdds(model.weights[task.name]) for task in model.scheme)
        self.reads = [views.index(model.spec.reads_of(task.name)) for task in model.scheme]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the probabilities of each task, given numbers and counts of each view's n-grams.

        For a single-label task the sigmoids of its labels are divided by their sum and tempered, as
        softmax(ln sigmoid / T), which needs no division and can't underflow.
        """
        numbers = tensors[::2]
        weights = [view(*inputs) for view, *inputs in zip(self.views, numbers, tensors[1::2], strict=True)]
        logits = {}
        for task, head, view in zip(self.scheme, self.tasks, self.reads, strict=True):
            odds = head(numbers[view], weights[view])
            # Not logsigmoid, which may be exported as the logarithm of a sigmoid, and underflow.
            logits[task.name] = -functional.softplus(-odds) if task.kind == "single" else odds
        return tuple(calibrated(logits, self.scheme, self.calibration))


class _Tfidf(nn.Module):
    """The weights of n-grams, ``(1 + ln count) · idf``; each part has an L2 norm of 1."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        idf = [part.idf_ for part in features.parts.values()]
        # [n-grams, parts]: 0 except in the part that the n-gram belongs to
        self.idf = nn.Buffer(torch.block_diag(*(torch.tensor(one, dtype=torch.float32)[:, None] for one in idf)))

    def forward(self, numbers: Tensor, counts: Tensor) -> Tensor:
        """Return ``[batch, n]``, 0 for padding, whose count is 0."""
        frequency = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0)
        weights = frequency[..., None] * functional.embedding(numbers, self.idf)
        lengths = weights.square().sum(dim=1, keepdim=True).sqrt()
        # A part without n-grams has length 0; its weights stay 0.
        return (weights / lengths.clamp(min=1e-30)).sum(dim=2)


class _LogOdds(nn.Module):
    """The log odds of a task's labels, ``scale · (x · coefficients + intercept) + shift``."""

    def __init__(self, of: LinearWeights) -> None:
        super().__init__()
        # Constants are combined in double precision; an n-gram's coefficients are contiguous.
        self.coefficients = nn.Buffer(torch.tensor((of.scale[:, None] * of.coefficients).T, dtype=torch.float32).contiguous())
        self.shift = nn.Buffer(torch.tensor(np.where(of.seen > 0, of.scale * of.intercept + of.shift, _NEVER), dtype=torch.float32))

    def forward(self, numbers: Tensor, weights: Tensor) -> Tensor:
        """Return ``[batch, labels]``, given numbers and weights of n-grams, ``[batch, n]``."""
        # [batch, 1, n] · [batch, n, labels]
        return (weights[:, None] @ functional.embedding(numbers, self.coefficients)).squeeze(1) + self.shift
