"""An encoder with fewer layers: which are kept, also in bundles, exports and later trainings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertModel

import tiny
from haltung.encoders.load import Encoder, kept_layers, load
from haltung.errors import UserError
from haltung.models import bundle
from haltung.models.neural import build
from haltung.models.spec import NetworkSpec
from haltung.training.losses import rates
from haltung.training.recipe import Training

SPEC = NetworkSpec(max_length=32)


def _cut(folder: Path, layers: int = 6) -> Encoder:
    return replace(tiny.encoder(folder), layers=layers)


@pytest.mark.parametrize(
    ("layers", "of", "expected"),
    [(6, 12, [0, 2, 4, 7, 9, 11]), (3, 12, [0, 6, 11]), (1, 12, [11]), (2, 2, [0, 1]), (12, 12, list(range(12)))],
)
def test_layers_are_kept_evenly_from_the_lowest_to_the_topmost(layers: int, of: int, expected: list[int]) -> None:
    """6 of 12 are those of DistilBERT; of a single layer, the topmost is kept."""
    assert kept_layers(layers, of) == expected


def test_six_of_twelve_layers_keep_their_weights(deep_bert: Path) -> None:
    """They equal those of the whole encoder, as do its embeddings, and the output is that of these
    layers applied in sequence.
    """
    whole, _ = load(tiny.encoder(deep_bert), attention="eager")
    cut, tokenizer = load(_cut(deep_bert), attention="eager")
    assert (cut.config.num_hidden_layers, len(cut.encoder.layer)) == (6, 6)
    before, after = whole.state_dict(), cut.state_dict()
    for name, value in after.items():
        number, _, part = name.removeprefix("encoder.layer.").partition(".")
        origin = f"encoder.layer.{(0, 2, 4, 7, 9, 11)[int(number)]}.{part}" if name.startswith("encoder.layer.") else name
        assert torch.equal(value, before[origin]), name
    text = tokenizer(["Chile warnt Peru ."], return_tensors="pt")
    states = whole.embeddings(text["input_ids"], token_type_ids=text["token_type_ids"])
    for number in (0, 2, 4, 7, 9, 11):
        made = whole.encoder.layer[number](states)
        states = made[0] if isinstance(made, tuple) else made
    torch.testing.assert_close(cut.eval()(**text).last_hidden_state, states)


@pytest.mark.parametrize(("layers", "allowed"), [(0, "give 1 to 12"), (13, "give 1 to 12")])
def test_more_layers_than_there_are_can_not_be_kept(deep_bert: Path, layers: int, allowed: str) -> None:
    """The message gives the number of layers."""
    with pytest.raises(UserError, match=f"encoder.layers is {layers}, but the encoder 'tiny' has 12 layers; {allowed}"):
        load(_cut(deep_bert, layers))


def test_an_encoder_of_another_build_is_not_cut(bert: Path, tmp_path: Path) -> None:
    """It is unknown which layers it would lose."""
    vocabulary = json.loads((bert / "tokenizer.json").read_bytes())["model"]["vocab"]
    DistilBertModel(DistilBertConfig(vocab_size=len(vocabulary), dim=32, n_layers=2, n_heads=2, hidden_dim=64)).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((bert / name).read_bytes())
    load(tiny.encoder(tmp_path))
    with pytest.raises(UserError, match=r"built like BERT, and 'tiny' is not; set encoder\.layers=null"):
        load(_cut(tmp_path, 1))


def test_frozen_layers_and_rates_are_those_of_the_cut_encoder(deep_bert: Path) -> None:
    """They count the remaining layers: no more can be frozen, and the topmost has the full rate."""
    network = build(_cut(deep_bert), replace(SPEC, freeze_layers=2), tiny.scheme()).network
    trained = {name.split(".")[3] for name, value in network.named_parameters() if ".layer." in name and value.requires_grad}
    assert trained == set("2345")
    groups = rates(network, Training(encoder_rate=1.0, head_rate=10.0, layer_decay=0.5), 6)
    assert sorted({group["lr"] for group in groups}) == [0.125, 0.25, 0.5, 1.0, 10.0]
    with pytest.raises(UserError, match="freeze_layers is 7, but the encoder 'tiny' has 6 layers"):
        build(_cut(deep_bert), replace(SPEC, freeze_layers=7), tiny.scheme())


def test_a_bundle_keeps_the_cut_and_another_training_starts_from_it(deep_bert: Path, tmp_path: Path) -> None:
    """With the same answers after saving; its encoder can be cut again."""
    model = build(_cut(deep_bert), SPEC, tiny.scheme())
    folder = bundle.save(model, tmp_path / "bundle")
    assert json.loads((folder / "config.json").read_bytes())["num_hidden_layers"] == 6
    rows = tiny.segments(5)
    for task, values in bundle.load(folder).probabilities(rows, precision="fp32").items():
        np.testing.assert_allclose(values, model.probabilities(rows, precision="fp32")[task], atol=1e-6)
    start = Encoder("bundle", "folder", str(folder))
    again, fewer = (build(replace(start, layers=layers), SPEC, tiny.scheme()).network.encoder for layers in (None, 2))
    ours = model.network.encoder.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in again.state_dict().items())
    assert len(fewer.encoder.layer) == 2  # type: ignore[arg-type, union-attr]
    last = "output.dense.weight"
    assert torch.equal(fewer.state_dict()[f"encoder.layer.1.{last}"], ours[f"encoder.layer.5.{last}"])
