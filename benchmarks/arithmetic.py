"""Floating-point operations of a network, and operations per second that the machine can reach.

A multiply-add counts as two operations. Only real tokens count, not padding.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from haltung.models.neural import EncoderModel, EncoderNetwork, has_bf16, layer_of

# A peak is the fastest of _TIMES measurements of at least _SECONDS each.
_TIMES, _SECONDS = 4, 0.15


@dataclass(frozen=True)
class Cost:
    """Floating-point operations per real token, and per sentence in addition to its tokens."""

    token: float
    sentence: float

    def of(self, tokens: int, sentences: int) -> float:
        """Return the operations for this number of tokens and sentences."""
        return tokens * self.token + sentences * self.sentence


def cost(network: EncoderNetwork, trains: bool) -> Cost:
    """Return the cost of the products with weights: forward only, or a step if ``trains``.

    A matrix of m by n weights takes, for each vector,

        2mn   in the forward pass
      + 2mn   for the gradients of its weights, if they are trained
      + 2mn   for the gradient of the vector, if anything below it is trained

    Thus a frozen layer above frozen ones counts the forward pass only, and a trained one three
    times that, except for query, key and value of the lowest trained layer, whose input needs no
    gradient. The encoder's matrices multiply one vector per token, all others one per sentence.

    Not counted, so that shares of a peak are slightly too low: the products inside attention (4nd
    per token and layer for n tokens of width d: 1 % of a layer for n = 28, d = 384), dyads, all
    operations other than matrix products, the optimizer, and the recomputation in
    ``gradient_checkpointing``.
    """
    token, sentence = 0.0, 0.0
    trained = [-1 if (layer := layer_of(name)) is None else layer for name, one in network.encoder.named_parameters() if one.requires_grad]
    lowest = min(trained, default=None)
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    for name, weight in network.named_parameters():
        if weight.dim() != 2 or id(weight) in tables or name.startswith("actors."):
            continue
        products = 1.0
        if trains:
            products += weight.requires_grad
            layer = layer_of(name) if name.startswith("encoder.") else None
            first = layer == lowest and any(f".{part}." in name for part in ("query", "key", "value"))
            products += lowest is not None and (layer is None or layer >= lowest) and not first
        if name.startswith("encoder."):
            token += 2 * products * weight.numel()
        else:
            sentence += 2 * products * weight.numel()
    return Cost(token, sentence)


def precision(training: str) -> torch.dtype:
    """Return the dtype of products on this machine, given ``training.precision``."""
    return torch.bfloat16 if training == "bf16" or (training == "auto" and has_bf16(_device())) else torch.float32


def peak(model: EncoderModel, vectors: int, kind: torch.dtype) -> dict[str, float]:
    """Return the operations per second of linear layers of the encoder's sizes, by shape.

    Each product multiplies ``vectors`` vectors at once, with torch's own number of threads. The
    products follow each other directly, without gradients, biases or other operations.
    """
    config = model.network.encoder.config
    width, inner, layers = (int(getattr(config, name)) for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    found = {}
    for size, to in ((width, width), (width, inner), (inner, width)):
        # One matrix per layer, since a single one would stay in the cache.
        weights = [torch.randn(to, size, device=_device(), dtype=kind) for _ in range(layers)]
        given = torch.randn(vectors, size, device=_device(), dtype=kind)
        found[f"{vectors} x {size} x {to}"] = 2 * vectors * size * to / min(_seconds(given, weights) for _ in range(_TIMES))
    return found


@torch.inference_mode()
def _seconds(given: Tensor, weights: list[Tensor]) -> float:
    """Return the mean seconds of one product."""
    done, began = 0, now()
    while not done or now() - began < _SECONDS:
        for weight in weights:
            functional.linear(given, weight)
        done += len(weights)
    return (now() - began) / done


def now() -> float:
    """Return the time in seconds, after waiting for pending work on the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
