"""Continue an encoder's pretraining: masked tokens of texts without labels, resumable."""

import copy
import math
import random
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    set_seed,
)  # fmt: skip

from haltung.encoders.load import Encoder, load
from haltung.encoders.tokens import template
from haltung.errors import UserError
from haltung.files import atomic_folder
from haltung.models.neural import autocast, has_bf16
from haltung.models.spec import Count, Part
from haltung.records import well_formed
from haltung.training.average import Average
from haltung.training.finetune import OneDevice, Point, ReportingTrainer
from haltung.training.recipe import Above0, last_checkpoint

PART = 50  # steps after which the perplexity is measured and a checkpoint is written
_HELD_OUT, _MOST = 50, 256  # one text in 50 is held out, and at most 256 of their pieces are scored
_IGNORED = -100  # a target that torch's cross-entropy ignores
_KEY = 6  # a text contains a segment if it contains the segment's first six words
_NEAR = 0.05  # the temperature of the similarities of texts


@dataclass(frozen=True)
class Adaptation:
    """Settings of continued pretraining (``configs/adapt.yaml``).

    Each step reads ``batch_size`` pieces of ``length`` tokens. A share ``masked`` of the tokens is
    predicted; 80 % of these are replaced by the mask, 10 % by another token (Devlin et al. 2019,
    arXiv:1810.04805). ``rate`` (encoder) and ``head_rate`` rise over ``warmup`` steps and then stay
    constant, so that a later call can resume; the model is a moving average of the weights instead
    (``ema_decay``). ``keep`` is the weight of a second objective: similarities of the texts of a
    batch stay as before. Without ``steps``, training takes about ``minutes``.
    """

    minutes: Above0 = 30
    steps: Count | None = None
    batch_size: Annotated[int, Field(ge=2)] = 32
    length: Annotated[int, Field(ge=16)] = 128
    rate: Above0 = 1e-4
    head_rate: Above0 = 1e-3
    warmup: Annotated[int, Field(ge=0)] = 100
    masked: Annotated[float, Field(gt=0, lt=1)] = 0.15
    keep: Annotated[float, Field(ge=0)] = 1.0
    ema_decay: Part = 0.99


def without(texts: Iterable[str], segments: Iterable[str]) -> list[str]:
    """Return the texts that contain none of the segments.

    A segment is identified by its first six words; segments with fewer words are ignored.
    """

    def in_row(text: str) -> Iterator[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        return zip(*(words[start:] for start in range(_KEY)), strict=False)

    keys = {first for segment in segments for first in islice(in_row(segment), 1)}
    return [text for text in texts if keys.isdisjoint(in_row(text))]


def adapt(
    texts: Sequence[str], encoder: Encoder, how: Adaptation, seed: int, folder: Path, checkpoints: Path, resume: bool = False,
    report: Callable[[Point], None] = lambda point: None,
) -> dict[int, float]:  # fmt: skip
    """Train the encoder on masked texts, and write it to ``folder`` as ``save_pretrained`` does.

    Return by step the perplexity of masked tokens in held-out texts (one in fifty). With
    ``resume``, continue from the last complete one of the ``checkpoints``, up to the steps
    requested now. ``report`` gets points of the learning curve: ``epoch`` (a part of 50 steps),
    ``step``, and ``loss`` or ``perplexity``. ``UserError`` for an unknown encoder or too few texts.
    """
    checkpoint = last_checkpoint(checkpoints) if resume else None
    if checkpoint is None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # On CPUs, the backward pass of eager attention is faster.
    model, tokenizer = load(encoder, "sdpa" if device == "cuda" else "eager")
    for dropout in (module for module in model.modules() if isinstance(module, nn.Dropout)):
        dropout.p = 0.0  # masking adds enough noise
    order, apart = random.Random(seed).sample(texts, len(texts)), -(-len(texts) // _HELD_OUT)
    held_out, pieces = (_pieces(part, tokenizer, how.length) for part in (order[:apart], order[apart:]))
    set_seed(seed)
    mask = DataCollatorForLanguageModeling(tokenizer, mlm_probability=how.masked)
    judged = [mask(held_out[at : at + 32]) for at in range(0, min(_MOST, len(held_out)), 32)]
    judged = [batch for batch in judged if (batch["labels"] != _IGNORED).any()]
    if len(pieces) < how.batch_size or not judged:
        few = f"{len(texts):,} texts make {len(pieces):,} pieces of {how.length} tokens to learn from and {len(held_out)} to evaluate on"
        raise UserError(f"{few}, which is too few; name more with texts= or corpora=, or reduce batch_size={how.batch_size} or length=")
    network = _MaskedPieces(nn.Module.to(model, device), how.keep, encoder.freeze_embeddings).to(device)
    steps = how.steps or how.minutes * 60 / _seconds(network, mask(pieces[: how.batch_size]))
    set_seed(seed)
    trainer = _MaskedTrainer(network, pieces, judged, mask, how, checkpoints, seed, steps, report)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    with atomic_folder(folder) as scratch:
        network.encoder.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
    return {int(entry["step"]): entry["perplexity"] for entry in trainer.state.log_history if "perplexity" in entry}


class _MaskedPieces(nn.Module):
    """An encoder with a new head that predicts masked tokens.

    The head's output layer shares its weights with the encoder's token embeddings (Press and Wolf
    2017, arXiv:1608.05859).
    """

    def __init__(self, encoder: PreTrainedModel, keep: float, frozen: bool) -> None:
        super().__init__()
        self.encoder, self.keep = encoder, keep
        # Kept in lists, so that they are not registered as submodules.
        self.words: list[Any] = [encoder.get_input_embeddings()]
        self.before: list[nn.Module] = [copy.deepcopy(encoder).eval().requires_grad_(False)] if keep else []
        size, width = self.words[0].requires_grad_(not frozen).weight.shape
        self.head = nn.Sequential(nn.Linear(encoder.config.hidden_size, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss of ``[pieces, tokens]``, in training including the second objective."""
        read, masked = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state, labels != _IGNORED
        logits = functional.linear(self.head(read[masked]), self.words[0].weight, self.bias)
        loss = functional.cross_entropy(logits.float(), labels[masked], reduction="sum") / masked.sum().clamp(min=1)  # 0 without any
        for before in self.before if self.training else ():
            with torch.no_grad():
                whole = before(input_ids=labels.where(masked, input_ids), attention_mask=attention_mask).last_hidden_state
            old, new = (functional.normalize(vectors.float().mean(dim=1), dim=1) for vectors in (whole, read))
            loss = loss + self.keep * functional.cross_entropy(new @ old.T / _NEAR, (old @ old.T / _NEAR).softmax(dim=1))
        return {"loss": loss}


class _Parts(TrainerCallback):
    """The batches of each part; every pass over the pieces has a new random order."""

    def __init__(self, pieces: int, size: int, seed: int) -> None:
        self.pieces, self.size, self.seed = pieces, size, seed
        self.batches: list[list[int]] = [[]] * PART

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        first, start = divmod(round(state.epoch or 0) * PART * self.size, self.pieces)
        orders = (random.Random(self.seed * 100_003 + number).sample(range(self.pieces), self.pieces) for number in count(first))
        drawn = islice(chain.from_iterable(orders), start, None)
        # In place: the data loader holds this list.
        self.batches[:] = [list(islice(drawn, self.size)) for _ in range(PART)]


class _MaskedTrainer(ReportingTrainer):
    """The Trainer with batches by part, two learning rates, and perplexity."""

    def __init__(
        self, network: _MaskedPieces, pieces: Sequence[Any], held_out: Sequence[Any], mask: Callable[[Sequence[Any]], Any],
        how: Adaptation, folder: Path, seed: int, steps: float, report: Callable[[Point], None],
    ) -> None:  # fmt: skip
        self.network, self.how, self.held_out = network, how, held_out
        self.parts = _Parts(len(pieces), how.batch_size, seed)
        arguments = OneDevice(
            output_dir=str(folder), use_cpu=network.bias.device.type == "cpu", bf16=has_bf16(network.bias.device), seed=seed,
            data_seed=seed, num_train_epochs=max(1, round(steps / PART)), learning_rate=how.rate, warmup_steps=how.warmup,
            lr_scheduler_type="constant_with_warmup", eval_strategy="epoch", save_strategy="epoch", save_total_limit=1,
            logging_steps=PART // 5, remove_unused_columns=False, dataloader_pin_memory=False, report_to="none",
        )  # fmt: skip
        super().__init__(network, arguments, mask, pieces, [self.parts], [Average(how.ema_decay)], report)

    def get_train_dataloader(self) -> DataLoader[Any]:
        pieces: Any = self.train_dataset
        return DataLoader(pieces, batch_sampler=self.parts.batches, collate_fn=self.data_collator)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        old: Any = {"params": [weights for weights in self.network.encoder.parameters() if weights.requires_grad]}
        new = {"params": [*self.network.head.parameters(), self.network.bias], "lr": self.how.head_rate}
        self.optimizer = torch.optim.AdamW([old, new], lr=self.how.rate, weight_decay=0.01, fused=True)
        return self.optimizer

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self.network.eval()
        with torch.no_grad(), autocast(self.args.device):
            losses = [self.network(**batch.to(self.args.device))["loss"].item() for batch in self.held_out]
        counts = [int((batch["labels"] != _IGNORED).sum()) for batch in self.held_out]
        perplexity = math.exp(np.average(losses, weights=counts))
        self.log({"perplexity": perplexity})
        return {"perplexity": perplexity}


def _pieces(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int) -> list[dict[str, Any]]:
    """Concatenate the texts and cut them into pieces of ``length`` tokens; drop the remainder."""
    first, last = template(tokenizer).single
    parts = ([well_formed(text) for text in texts[at : at + 256]] for at in range(0, len(texts), 256))  # encodings are large
    encoded = (one for part in parts for one in tokenizer.backend_tokenizer.encode_batch(part, add_special_tokens=False))
    row, room = np.fromiter((id for one in encoded for id in (*one.ids, *last)), np.int32), length - len(first) - len(last)
    special, starts = [1] * len(first) + [0] * room + [1] * len(last), range(0, len(row) - room + 1, room)
    return [{"input_ids": np.array([*first, *row[at : at + room], *last], np.int32), "special_tokens_mask": special} for at in starts]


def _seconds(network: _MaskedPieces, batch: Any) -> float:
    """Measure the seconds of a training step on this machine, without the optimizer's step."""
    for _ in range(3):  # only the last one counts
        began = time.perf_counter()
        with autocast(network.bias.device):
            network(**batch.to(network.bias.device))["loss"].backward()
        network.zero_grad()
    return time.perf_counter() - began
