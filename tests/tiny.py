"""A real German BERT and a corpus, both small enough to train in a test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from haltung.encoders.load import Encoder
from haltung.labels import Scheme, parse
from haltung.models.spec import ArticleSpec, NetworkSpec
from haltung.records import Dyad, Segment

if TYPE_CHECKING:
    from haltung.models.article import ArticleModel
    from haltung.models.neural import NeuralModel

SCHEME = {
    "name": "tiny",
    "tasks": {
        "topic": {"labels": {"security": {"de": "Sicherheit", "en": "Security"}, "economy": {"de": "Wirtschaft", "en": "Economy"}}},
        "stance": {"labels": ["warning", "support", "neutral"]},
    },
}

_ACTORS = ["Belgien", "Chile", "Ghana", "Nepal", "Island", "Peru", "Laos", "Malta"]
_CODES = dict(zip(_ACTORS, ("BEL", "CHL", "GHA", "NPL", "ISL", "PER", "LAO", "MLT"), strict=True))
_VERBS = {"warning": ["warnt", "mahnt"], "support": ["lobt", "begrüßt"], "neutral": ["besucht", "kennt"]}
_THINGS = {"security": ["das Heer", "die Marine", "den Truppenabzug"], "economy": ["den Zoll", "die Bank", "den Haushalt"]}


def scheme() -> Scheme:
    """Return a scheme with two single-label tasks, of two and three labels."""
    return parse(SCHEME)


def segments(count: int, seed: int = 0, articles: int = 0) -> list[Segment]:
    """Return sentences with words for topic and stance, which even a tiny model can learn."""
    rng = random.Random(seed)
    out = []
    for number in range(count):
        topic, stance = rng.choice(list(_THINGS)), rng.choice(list(_VERBS))
        text = f"{rng.choice(_ACTORS)} {rng.choice(_VERBS[stance])} {rng.choice(_THINGS[topic])} in {rng.choice(_ACTORS)} ."
        context = " ".join(rng.sample(_ACTORS, 3))
        article = f"a{seed}-{number % articles}" if articles else f"a{seed}-{number}"
        out.append(Segment(f"s{seed}-{number:04d}", text, {"topic": topic, "stance": stance}, context=context, article=article))
    return out


def write_bert(folder: Path, seed: int = 0, layers: int = 2) -> Path:
    """Write a BERT of width 32, whose vocabulary has the words of the sentences above and their
    letters.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    # Trained vocabularies differ between processes, and so would all models that a test trains.
    words = {word for segment in segments(400, seed=99) for word in segment.text.split()}
    letters = sorted({letter for word in words for letter in word})
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
        *sorted(words - {*letters}),
    ]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def encoder(folder: Path) -> Encoder:
    """Return the encoder in a folder that ``write_bert`` has written."""
    return Encoder("tiny", "folder", str(folder), encoder_rate=2e-3, head_rate=1e-2)


def network(bert: Path, max_length: int = 32, **changes: object) -> NeuralModel:
    """Return an untrained network whose head weights are large enough for clear answers."""
    import torch

    from haltung.models.neural import build

    torch.manual_seed(1)
    model = build(encoder(bert), NetworkSpec(max_length=max_length, **changes), scheme())  # type: ignore[arg-type]
    for head in model.network.heads.values():
        torch.nn.init.normal_(head.weight, std=1.0)  # type: ignore[arg-type]
    return model


def articles(count: int, seed: int = 0, size: int = 5) -> list[Segment]:
    """Return articles of ``size`` sentences. Only the headline names the topic; each sentence names
    its stance.
    """
    rng = random.Random(seed)
    out = []
    for number in range(count):
        topic, name = rng.choice(list(_THINGS)), f"a{seed}-{number}"
        headline = f"{rng.choice(_ACTORS)} und {rng.choice(_THINGS[topic])}"
        for position in range(size):
            stance = rng.choice(list(_VERBS))
            text = f"{rng.choice(_ACTORS)} {rng.choice(_VERBS[stance])} {rng.choice(_ACTORS)} ."
            labels = {"topic": topic, "stance": stance}
            out.append(Segment(f"{name}-{position}", text, labels, article=name, headline=headline, position=position))
    return out


def with_dyads(rows: Sequence[Segment]) -> list[Segment]:
    """Return the same articles with dyads; one sentence in four names no second actor.

    Unless a sentence is neutral, its first actor takes the stance towards the second or nobody.
    """
    out = []
    for number, row in enumerate(rows):
        first, verb, second, _ = row.text.split()
        if first == second:
            second = _ACTORS[_ACTORS.index(first) - 1]
        alone, stance = number % 4 == 0, str(row.labels["stance"])
        dyads = () if stance == "neutral" else (Dyad(_CODES[first], "" if alone else _CODES[second], stance),)
        out.append(replace(row, text=f"{first} {verb} ." if alone else f"{first} {verb} {second} .", dyads=dyads))
    return out


def article_model(bert: Path, max_length: int = 32, dyads: bool = False, **changes: object) -> ArticleModel:
    """Return an untrained model of articles whose weights are large enough for clear answers."""
    import torch

    from haltung.models.article import build

    torch.manual_seed(1)
    model = build(encoder(bert), ArticleSpec(max_length=max_length, **changes), scheme(), dyads)  # type: ignore[arg-type]
    for head in model.network.heads.values():
        torch.nn.init.normal_(head.weight, std=1.0)  # type: ignore[arg-type]
    if model.network.actors is not None:
        for name, parameter in model.network.actors.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(parameter, std=0.07)
        for table in (model.network.actors.cues, model.network.actors.direct, model.network.actors.joined):
            torch.nn.init.zeros_(table.weight.data[0])
    return model
