"""Load an encoder and its tokenizer: by hub name, from a local folder, or the embedded one."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from haltung import files, hub
from haltung.encoders import embedded
from haltung.errors import UserError, first_line, listed, one_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Description and weights of a trained bundle, whose encoder another training may start from.
_BUNDLE, _WEIGHTS, _PART = "haltung.json", "model.safetensors", "encoder."
KEPT = "kept_layers"  # key in a cut encoder's config.json: the original numbers of its layers
# The files that a fast tokenizer can be made from.
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "spm.model", "sentencepiece.bpe.model")


@dataclass(frozen=True)
class Encoder:
    """An encoder and its recommended fine-tuning (``configs/encoder/NAME.yaml``).

    ``path`` is a hub name or a folder; the embedded encoder needs none. ``prefix`` precedes every
    input, as in the pretraining of some encoders. The two rates are peak learning rates of the
    encoder and of the heads; ``freeze_embeddings`` and ``freeze_layers`` (from the lowest) name
    what should not be fine-tuned. ``layers``: how many to keep (``kept_layers``), None for all.
    """

    name: str
    origin: str
    path: str = ""
    revision: str = "main"
    prefix: str = ""
    license: str = "unknown"
    encoder_rate: float = 2e-5
    head_rate: float = 1e-4
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    layers: int | None = None

    def __post_init__(self) -> None:
        """Raise ``UserError`` if the origin is unknown or the path is missing."""
        one_of("encoder.origin", self.origin, ("embedded", "hub", "folder"))
        if self.origin != "embedded" and not self.path:
            what = "a hub name such as deepset/gbert-base" if self.origin == "hub" else "a folder with config.json and weights"
            raise UserError(f"encoder.path is empty; the encoder '{self.name}' needs {what}")


def locate(encoder: Encoder) -> str:
    """Return what transformers loads: a folder, or a hub name; build the embedded encoder first.

    Raises ``UserError`` if the folder is missing or no encoder, or the embedded one can't be built.
    """
    if encoder.origin == "embedded":
        return str(embedded.ensure(files.cache()))
    if encoder.origin == "hub":
        return encoder.path
    folder = Path(encoder.path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; encoder.path names a folder with config.json, weights and tokenizer")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} has no config.json, so it is not an encoder; expected a folder as written by save_pretrained")
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        # transformers would make up an empty tokenizer, and every word would be unknown.
        raise UserError(f"{folder} has no tokenizer ({listed(_VOCABULARIES)}); save the encoder's tokenizer there too")
    return str(folder)


def inherited(encoder: Encoder) -> Encoder:
    """Return the encoder, with a trained bundle's prefix; ``UserError`` if that is not readable."""
    description = Path(encoder.path).expanduser() / _BUNDLE
    try:
        if encoder.origin != "folder" or not description.is_file():
            return encoder
        return replace(encoder, prefix=str(json.loads(description.read_text(encoding="utf-8"))["encoder"]["prefix"]))
    except (ValueError, KeyError, TypeError):
        remedy = "encoder.path may name a bundle that haltung train has written with model=article or network"
        raise UserError(f"{description} does not describe an encoder; {remedy}") from None
    except OSError as error:
        raise UserError(f"{description} can't be read ({error.strerror or error}); correct that, or name another folder") from None


def load(encoder: Encoder, attention: str = "sdpa", dropout: float | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the encoder in float32, without a pooler, and its tokenizer.

    ``attention`` is ``eager`` or ``sdpa``; ``dropout`` is that of hidden states, None as in
    pretraining. Dropout of attention weights is 0, since fast kernels do not support it. Raises
    ``UserError`` if the encoder can't be loaded, or has no fast tokenizer.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    path = locate(encoder)
    revision = {"revision": hub.pinned(path, encoder.revision)} if encoder.origin == "hub" else {}
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, **revision)
        for name in ("attention_probs_dropout_prob", "attention_dropout"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
        if dropout is not None and hasattr(config, "hidden_dropout_prob"):
            config.hidden_dropout_prob = dropout
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, **revision)
        attention = able(config, attention)
        if encoder.origin == "folder" and (Path(path) / _BUNDLE).is_file():
            model = _of_bundle(Path(path), config, attention)
        else:
            model = AutoModel.from_pretrained(path, config=config, dtype=torch.float32, attn_implementation=attention, **revision)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise UserError(_reason(encoder, path, error)) from error
    if not tokenizer.is_fast:
        found = f"the encoder '{encoder.name}' has no fast tokenizer (tokenizer.json)"
        raise UserError(f"{found}, which text with context needs; name another encoder")
    # A pooler belongs to the pretraining; its unused weights must not be trained and shipped.
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]  # torch types it as a module
    if encoder.layers is not None:
        _cut(model, encoder.layers, encoder.name)
    return model, tokenizer


def kept_layers(layers: int, of: int) -> list[int]:
    """Return the numbers of ``layers`` layers, evenly spaced from the lowest to the topmost.

    6 of 12 are 0, 2, 4, 7, 9 and 11, with which DistilBERT was initialised: one out of two (Sanh et
    al. 2019, arXiv:1910.01108, section 2). A single layer is the topmost one.
    """
    return [int(number) for number in np.linspace(of - 1, 0, layers).round()[::-1]]


def _cut(model: PreTrainedModel, layers: int, name: str) -> None:
    """Keep ``layers`` of an encoder's layers; ``UserError`` if it has fewer or is unlike BERT."""
    if (every := getattr(getattr(model, "encoder", None), "layer", None)) is None:
        raise UserError(f"encoder.layers can only cut encoders that are built like BERT, and '{name}' is not; set encoder.layers=null")
    if not 1 <= layers <= len(every):
        raise UserError(f"encoder.layers is {layers}, but the encoder '{name}' has {len(every)} layers; give 1 to {len(every)}, or null")
    kept, before = kept_layers(layers, len(every)), getattr(model.config, KEPT, range(len(every)))
    model.encoder.layer = type(every)(every[number] for number in kept)  # type: ignore[union-attr]
    model.config.num_hidden_layers = layers
    setattr(model.config, KEPT, [before[number] for number in kept])


def _of_bundle(folder: Path, config: PreTrainedConfig, attention: str) -> PreTrainedModel:
    """Return the encoder of a trained bundle, whose weights include those of heads."""
    from safetensors.torch import load_file
    from transformers import AutoModel

    check_size(config, folder / _WEIGHTS)
    model: PreTrainedModel = AutoModel.from_config(config, attn_implementation=attention)
    # A trained bundle has no pooler, and that of the new model is removed afterwards.
    weights = {name.removeprefix(_PART): value for name, value in load_file(folder / _WEIGHTS).items() if name.startswith(_PART)}
    missing, surplus = model.load_state_dict(weights, strict=False)
    if surplus or any(not name.startswith("pooler.") for name in missing):
        raise ValueError(f"its weights do not match its config.json ({next(iter([*surplus, *missing]))})")
    return model


def check_size(config: PreTrainedConfig, weights: Path) -> None:
    """Raise ``ValueError`` if a config states a network over twice as large as the weights file."""
    import torch
    from safetensors import safe_open
    from transformers import AutoModel

    with safe_open(weights, "pt") as opened, torch.device("meta"):  # which takes no memory
        shapes = [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118 -- it has no other iterator
        fits = getattr(config, "num_hidden_layers", 0) <= len(shapes)
        stated = sum(one.numel() for one in AutoModel.from_config(config).parameters()) if fits else math.inf
    # The factor leaves room for a pooler, which pretrained encoders have and the file has not.
    if stated > 2 * sum(map(math.prod, shapes)):
        raise ValueError(f"its config.json describes a larger network than {weights.name} contains")


def able(config: PreTrainedConfig, attention: str) -> str:
    """Return ``attention``, or ``eager`` if the encoder supports nothing else (DeBERTa)."""
    from transformers import AutoModel

    return attention if getattr(AutoModel._model_mapping.get(type(config), None), "_supports_sdpa", True) else "eager"


def _reason(encoder: Encoder, path: str, error: Exception) -> str:
    """Return in brief why an encoder did not load; transformers' own message fills a screen."""
    first = first_line(error)
    if encoder.origin == "hub":
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        found = f"the encoder '{encoder.name}' ({path}, revision {encoder.revision}) could not be loaded from the hub {endpoint}: {first}"
        others = "encoder=local encoder.path=FOLDER, or the embedded encoder=e5_small_de, which needs no hub"
        return f"{found}; check the name and the connection, or use {others}"
    return f"the encoder in {path} could not be loaded: {first}; expected a folder as written by save_pretrained"
