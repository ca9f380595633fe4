"""Exported bundles for tests of the clients: untrained models with each kind of input."""

from __future__ import annotations

from pathlib import Path

import tiny
from haltung import files
from haltung.encoders import embedded
from haltung.encoders.load import Encoder
from haltung.export.write import ReferenceSplit, export
from haltung.labels import Scheme, parse
from haltung.models.linear import fit
from haltung.models.predictor import Calibration, Model
from haltung.models.spec import ArticleSpec, LinearSpec, NetworkSpec
from haltung.records import Segment

# Topic is multi-label, so that both kinds of task are covered.
_TASKS = {**tiny.SCHEME["tasks"], "topic": {**tiny.SCHEME["tasks"]["topic"], "kind": "multi"}}  # type: ignore[index, dict-item]

CALIBRATION = Calibration({"stance": 1.5}, {"stance": {0.8: 0.55, 0.9: 0.72, 0.95: None}})


def scheme() -> Scheme:
    """Return a scheme with a single-label task and a multi-label task."""
    return parse({"name": "tiny", "tasks": _TASKS})


def segments(count: int, seed: int = 0) -> list[Segment]:
    """Return the sentences of ``tiny``, labelled for this scheme."""
    return [
        Segment(one.id, one.text, {**one.labels, "topic": (str(one.labels["topic"]),)}, context=one.context, target="Soll Peru zahlen?")
        for one in tiny.segments(count, seed)
    ]


def write_multilingual(folder: Path) -> Path:
    """Write a BERT of two layers and width 32 with the embedded encoder's Unigram tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(embedded.ensure(files.cache()))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, pad_token_id=1,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def network(encoder: Path, max_length: int, prefix: str = "") -> Model:
    """Return an untrained network whose tasks read different views.

    Its outputs vary as much as those of a trained network.
    """
    import torch

    from haltung.models.neural import build

    spec = NetworkSpec(reads={"stance": "target+context", "topic": "text"}, max_length=max_length)
    torch.manual_seed(1)
    model = build(Encoder("tiny", "folder", str(encoder), prefix=prefix), spec, scheme())
    with torch.no_grad():
        for head in model.network.heads.values():
            head.weight.mul_(20)  # type: ignore[operator]
    return model


def article(encoder: Path) -> Model:
    """Return an untrained model of whole articles that reads targets and finds dyads."""
    import torch

    from haltung.models.article import build

    torch.manual_seed(1)
    model = build(Encoder("tiny", "folder", str(encoder)), ArticleSpec(reads={"default": "target"}, max_length=48), scheme(), dyads=True)
    for head in model.network.heads.values():
        torch.nn.init.normal_(head.weight, std=0.5)  # type: ignore[arg-type]
    return model


def linear() -> Model:
    """Return a linear model that reads the text with its target and context."""
    return fit(segments(80), scheme(), LinearSpec(reads={"default": "target+context"}), seed=1)


def write(model: Model, folder: Path) -> None:
    """Export the model."""
    export(model, folder, ReferenceSplit("tiny", "dev", segments(60, seed=5)), {}, ("fp16",))
