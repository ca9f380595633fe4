"""Get an encoder and its tokenizer: by hub name, from a local folder, or the embedded one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from haltung import files
from haltung.encoders import embedded
from haltung.errors import UserError, listed

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

ORIGINS = ("embedded", "hub", "folder")

# The description beside the weights of a trained bundle, whose encoder another training may start from.
_BUNDLE, _WEIGHTS, _PART = "haltung.json", "model.safetensors", "encoder."

# The files that a fast tokenizer can be made of.
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "spm.model", "sentencepiece.bpe.model")


@dataclass(frozen=True)
class Encoder:
    """Which encoder, and what is known about fine-tuning it (``configs/encoder/NAME.yaml``).

    ``path`` is a hub name or a folder; the embedded encoder needs none. ``prefix`` stands before every input, as some encoders were
    pretrained with. The two rates are the recommended peak learning rates for the encoder and for the heads, ``freeze_embeddings`` and
    ``freeze_layers`` what of it had better stay as it was pretrained.
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

    def __post_init__(self) -> None:
        """Raise ``UserError`` where the origin is unknown or the path is missing."""
        if self.origin not in ORIGINS:
            raise UserError(f"encoder.origin is '{self.origin}', allowed are {listed(ORIGINS)}")
        if self.origin != "embedded" and not self.path:
            what = "a hub name such as deepset/gbert-base" if self.origin == "hub" else "a folder with config.json and weights"
            raise UserError(f"encoder.path is empty; the encoder '{self.name}' needs {what}")


def locate(encoder: Encoder) -> str:
    """Return what transformers loads from: a folder, or a hub name. The embedded encoder is built on first use.

    Raises:
        UserError: the folder is missing or no encoder, or the embedded encoder can't be built.
    """
    if encoder.origin == "embedded":
        return str(embedded.ensure(files.cache()))
    if encoder.origin == "hub":
        return encoder.path
    folder = Path(encoder.path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; encoder.path names a folder with config.json, weights and tokenizer")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} has no config.json, so it is no encoder; expected a folder as written by save_pretrained")
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        # transformers would make up an empty tokenizer, and every word would be unknown.
        raise UserError(f"{folder} has no tokenizer ({listed(_VOCABULARIES)}); save the encoder's tokenizer there too")
    return str(folder)


def inherited(encoder: Encoder) -> Encoder:
    """Return the encoder with the prefix that it was fine-tuned with, where its folder is a trained bundle; itself otherwise.

    Raises:
        UserError: the bundle has no encoder (the linear baseline, an exported graph), or its description is broken.
    """
    description = Path(encoder.path).expanduser() / _BUNDLE
    if encoder.origin != "folder" or not description.is_file():
        return encoder
    try:
        told = json.loads(description.read_text(encoding="utf-8"))["encoder"]
        return replace(encoder, prefix=str(told["prefix"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{description} tells of no encoder; encoder.path may name a bundle that haltung train has written with model=network"
        ) from None


def load(encoder: Encoder, attention: str = "sdpa", dropout: float | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the encoder in float32, without a pooler, and its tokenizer.

    Args:
        encoder: which one.
        attention: the attention implementation, ``eager`` or ``sdpa``.
        dropout: of the hidden states; None keeps what the encoder was pretrained with. Dropout of attention weights is always 0,
            since it closes the way to the fast attention kernels.

    Raises:
        UserError: the encoder can't be reached, isn't there, or has no fast tokenizer.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    place = locate(encoder)
    revision = {"revision": encoder.revision} if encoder.origin == "hub" else {}
    try:
        config = AutoConfig.from_pretrained(place, **revision)
        for name in ("attention_probs_dropout_prob", "attention_dropout"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
        if dropout is not None and hasattr(config, "hidden_dropout_prob"):
            config.hidden_dropout_prob = dropout
        tokenizer = AutoTokenizer.from_pretrained(place, **revision)
        if encoder.origin == "folder" and (Path(place) / _BUNDLE).is_file():
            model = _of_bundle(Path(place), config, able(config, attention))
        else:
            model = AutoModel.from_pretrained(
                place, config=config, dtype=torch.float32, attn_implementation=able(config, attention), **revision
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise UserError(_reason(encoder, place, error)) from error
    if not tokenizer.is_fast:
        raise UserError(
            f"the encoder '{encoder.name}' has no fast tokenizer (tokenizer.json), which text with context needs; name another encoder"
        )
    # A pooler belongs to the pretraining task; left in, its random or unused weights would be trained and shipped.
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]  # torch types it as a module
    return model, tokenizer


def _of_bundle(folder: Path, config: PreTrainedConfig, attention: str) -> PreTrainedModel:
    """Return the encoder of a trained bundle, whose weights stand beside those of its heads."""
    from safetensors.torch import load_file
    from transformers import AutoModel

    model: PreTrainedModel = AutoModel.from_config(config, attn_implementation=attention)
    state = load_file(folder / _WEIGHTS)
    # A trained bundle has no pooler, and ours is taken out below.
    own = {name.removeprefix(_PART): value for name, value in state.items() if name.startswith(_PART)}
    missing, surplus = model.load_state_dict(own, strict=False)
    if surplus or any(not name.startswith("pooler.") for name in missing):
        raise ValueError(f"its weights do not fit its config.json ({next(iter([*surplus, *missing]))})")
    return model


def able(config: PreTrainedConfig, attention: str) -> str:
    """Return ``attention``, or ``eager`` where this kind of encoder has no other implementation (DeBERTa)."""
    from transformers import AutoModel

    kind = AutoModel._model_mapping.get(type(config), None)
    return attention if getattr(kind, "_supports_sdpa", True) else "eager"


def _reason(encoder: Encoder, place: str, error: Exception) -> str:
    """Tell a user why an encoder did not load; transformers' own text fills a screen."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".:")
    if encoder.origin == "hub":
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        return (
            f"the encoder '{encoder.name}' ({place}, revision {encoder.revision}) could not be loaded from the hub "
            f"{hub}: {first}; check the name and the connection, or use "
            "encoder=local encoder.path=FOLDER, or the embedded encoder=e5_small_de, which needs no hub"
        )
    return f"the encoder in {place} could not be loaded: {first}; expected a folder as written by save_pretrained"
