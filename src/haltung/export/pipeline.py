"""Export of a network's tasks as models of plain transformers, for its pipelines and for services.

Classifiers of transformers apply a dense layer, an activation and an output layer to the first
token. Our heads are linear, so both layers get weights with which the activation has no effect.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung import __version__
from haltung.errors import UserError, listed
from haltung.evaluation.predictions import score
from haltung.export import documents, formats
from haltung.export.write import ExportResult, NothingAgrees, ReferenceSplit, check_target, make_readable
from haltung.files import atomic_folder
from haltung.labels import Task, parse
from haltung.models import bundle
from haltung.models.predictor import predictions, tables
from haltung.models.spec import NetworkSpec
from haltung.records import well_formed

if TYPE_CHECKING:
    from torch import Tensor

    from haltung.models.neural import NeuralModel

# For each family: the dense layer, its activation, the output layer.
_FAMILIES = {
    "bert": ("bert.pooler.dense", "tanh", "classifier"),
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), ("classifier.dense", "tanh", "classifier.out_proj")),
    "electra": ("classifier.dense", "gelu", "classifier.out_proj"),
    "deberta-v2": ("pooler.dense", "gelu", "classifier"),
    "distilbert": ("pre_classifier", "relu", "classifier"),
}
# The factor before a tanh, undone after it. tanh y = y (1 - y² / 3 + …): the relative error is 2e-6
# for a state of 20, the largest that occurs. A smaller factor would lose more in float16, which
# services compute in: below 2^-14 its numbers have fewer digits.
_SMALL = 2.0**-13
_CONFIG, _WEIGHTS, _MARK = "config.json", "model.safetensors", "haltung"
# What models of other kinds predict from.
_LOST = {"article": "the article's other sentences and dyads", "linear": "counts of words", "ensemble": "several members"}
_REMEDY = "train with model=network 'model.reads={default: text}' 'model.pooling={default: cls}'"


def obstacles(folder: Path) -> dict[str, str]:
    """Return the tasks of a trained bundle that no class of transformers can express, with reasons.

    Raises ``UserError`` if no task can be expressed, or the folder holds no complete bundle.
    """
    description = bundle.describe(folder)
    if (kind := description["kind"]) != "network":
        has = f"transformers classifies only by the first token of one text, without {_LOST[kind]} (figures: docs/export.md)"
        raise UserError(f"{folder} is of kind '{kind}', but {has}; {_REMEDY}")
    with bundle.broken_parts(folder):
        scheme, spec, prefix = parse(description["scheme"]), NetworkSpec(**description["model"]), description["encoder"]["prefix"]
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        family, width = config["model_type"], config.get("hidden_size") or config["dim"]
    if family not in _FAMILIES:
        raise UserError(f"{folder} has an encoder of the family '{family}'; train from one of {listed(_FAMILIES)} (encoder=gbert_base)")
    if prefix:
        raise UserError(f"{folder} expects '{prefix}' before each text, which a pipeline does not add; train with encoder.prefix=''")
    found = {}
    for task in scheme:
        reads, pooling = spec.reads_of(task.name), spec.pooling_of(task.name)
        if (reads, pooling) != ("text", "cls"):
            found[task.name] = f"it reads '{reads}' and pools by '{pooling}', but transformers only has 'text' and 'cls'; {_REMEDY}"
        elif _FAMILIES[family][1] != "tanh" and 2 * len(task) > width:
            found[task.name] = f"{len(task)} labels are more than half of the encoder's width of {width}; train with a wider one"
    if len(found) == len(scheme.names):
        raise UserError(f"no task of {folder} can be exported: " + "; ".join(f"{task}: {why}" for task, why in found.items()))
    return found


def export(
    model: NeuralModel, folder: Path, reference: ReferenceSplit, provenance: Mapping[str, Any], left_out: Mapping[str, str],
    callback: Callable[[str], None] = lambda step: None,
) -> ExportResult:  # fmt: skip
    """Write a folder for each task that is not ``left_out``, if it agrees with the trained model.

    The folders of an older export are replaced atomically. In the result, the formats are tasks.
    Raises ``UserError`` as ``check_target``.
    """
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    paths = [part / _CONFIG for part in folder.iterdir()] if folder.is_dir() else []
    older = all(path.is_file() and f'"{_MARK}":'.encode() in path.read_bytes() for path in paths)
    check_target(folder, reference, older, "an export for transformers")
    callback("the trained model's own predictions")
    predicted = model.predict(reference.segments, progress=True, precision="fp32")
    scored = score(reference.segments, predicted, model.scheme, reference.corpus, reference.split)
    texts, macro_f1 = [well_formed(segment.text) for segment in reference.segments], formats.macro_f1(scored)
    refused, comparisons, sizes = dict(left_out), dict[str, formats.FormatComparison](), dict[str, int]()
    with suppress(NothingAgrees), atomic_folder(folder) as scratch:
        for task in (task for task in model.scheme if task.name not in left_out):
            callback(task.name)
            own, path = scored.only([task.name]), scratch / task.name
            _write(model, task, path)
            classify: Any = pipeline("text-classification", str(path), top_k=None)
            began = time.process_time()
            answers = [{task.name: {one["label"]: one["score"] for one in answer}} for answer in classify(texts, truncation=True)]
            seconds, found = time.process_time() - began, predictions(own.ids, tables(answers, own.scheme), own.scheme)
            comparison = comparisons[task.name] = formats.compare(own, {}, found, seconds)
            if objections := formats.objections(comparison, macro_f1, exact=True):
                refused[task.name] = "; ".join(objections)
                shutil.rmtree(path)
                continue
            sizes[task.name] = (path / _WEIGHTS).stat().st_size
            entry = {"file": _WEIGHTS, "bytes": sizes[task.name], "largest_difference": comparison.difference, **asdict(comparison)}
            description = {
                "haltung": __version__, "kind": model.kind, "encoder": asdict(model.encoder), "views": ["text"], "refused": {},
                "scheme": own.scheme.to_dict(), "scheme_digest": model.scheme.digest(), "input": {"max_length": model.spec.max_length},
                "formats": {"fp32": entry}, "reference": {"corpus": own.corpus, "split": own.split, "segments": len(own)},
                "provenance": provenance,
            }  # fmt: skip
            documents.write_card(path, description, reference.evaluation(own), library="transformers")
            documents.write_sbom(path, description, ["numpy", "safetensors", "tokenizers", "torch", "transformers"])
        if not sizes:
            raise NothingAgrees
        make_readable(scratch)
    return ExportResult(folder if sizes else None, tuple(sizes), refused, {}, comparisons, macro_f1, sizes)


def _write(model: NeuralModel, task: Task, folder: Path) -> None:
    """Write the model of a task, which returns calibrated probabilities, and its tokenizer."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from haltung.models.neural import merged

    network: Any = merged(model.network)
    head, temperature, max_length = network.heads[task.name], model.calibration.temperature(task.name), model.spec.max_length
    config = copy.deepcopy(network.encoder.config)
    config.update({"id2label": dict(enumerate(task.ids)), "label2id": {label: number for number, label in enumerate(task.ids)}})
    config.update({"problem_type": f"{task.kind}_label_classification", _MARK: __version__})
    whole = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    dense, activation, last = _FAMILIES[config.model_type]
    first, second = _layers(head.weight.detach().cpu() / temperature, activation)
    state = {f"{whole.base_model_prefix}.{name}": value for name, value in network.encoder.state_dict().items()}
    state |= {f"{dense}.weight": first, f"{dense}.bias": torch.zeros(len(first))}
    whole.load_state_dict({**state, f"{last}.weight": second, f"{last}.bias": head.bias.detach() / temperature})
    whole.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    # This class uses tokenizer.json unchanged, and transformers 4 has it too.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **settings}, indent=2) + "\n", encoding="utf-8")
    # From this file text-embeddings-inference gets the maximum length.
    limit = {"max_seq_length": max_length, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(limit) + "\n", encoding="utf-8")


def _layers(weight: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Return the weights of the dense and output layers, which together multiply by ``weight``."""
    import torch

    labels, width = weight.shape
    if activation == "tanh":
        return _SMALL * torch.eye(width), weight / _SMALL
    # f(z) - f(-z) = z, for gelu as for relu.
    pairs, eye = torch.zeros(width, width), torch.eye(labels, width)
    pairs[: 2 * labels] = torch.cat([weight, -weight])
    return pairs, eye - eye.roll(labels, dims=1)
