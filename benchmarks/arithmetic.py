"""How many floating-point operations a network takes, and how many a second the machine can do.

A multiplication with an addition counts as two. Only real tokens count: padding is no work done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from haltung.models.neural import EncoderModel, EncoderNetwork, has_bf16, layer_of

# A peak is the fastest of so many measurements of at least so many seconds.
_TIMES, _SECONDS = 4, 0.15


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of each real token, and of each sentence beside its tokens'."""

    token: float
    sentence: float

    def of(self, tokens: int, sentences: int) -> float:
        """Return those of so many tokens and sentences."""
        return tokens * self.token + sentences * self.sentence


def cost(network: EncoderNetwork, trains: bool) -> Cost:
    """Return what the products with weights take, forwards alone or in a step that ``trains``.

    A matrix of m by n weights takes, for each vector,

        2mn   forwards
      + 2mn   if its weights are trained, for their gradients
      + 2mn   if anything below it is trained, for the gradient of the vector

    so that a frozen layer above frozen ones counts forwards only, and a trained one three times as
    much; only the query, key and value of the lowest trained layer read what needs no gradient. The
    encoder's matrices multiply the vector of each token, all others that of each sentence.

    Left out, so that shares of a peak are a little too low: attention's own products (4nd a token
    and layer, in a sentence of n tokens, d wide: 1 % of a layer where n is 28 and d 384), what is
    done for dyads, all that is no product of matrices, the optimizer, and, with
    ``gradient_checkpointing``, what is computed twice.
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
    """Return what products are computed in on this machine, given ``training.precision``."""
    return torch.bfloat16 if training == "bf16" or (training == "auto" and has_bf16(_device())) else torch.float32


def peak(model: EncoderModel, vectors: int, kind: torch.dtype) -> dict[str, float]:
    """Return the operations per second of linear layers as the encoder's, by their shape.

    They multiply so many ``vectors`` at once with the threads that torch has, one product behind
    the other, without gradients, biases, or anything between them.
    """
    config = model.network.encoder.config
    width, inner, layers = (int(getattr(config, name)) for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    found = {}
    for size, to in ((width, width), (width, inner), (inner, width)):
        # As many as there are layers, since one would stay in the cache.
        weights = [torch.randn(to, size, device=_device(), dtype=kind) for _ in range(layers)]
        given = torch.randn(vectors, size, device=_device(), dtype=kind)
        found[f"{vectors} x {size} x {to}"] = 2 * vectors * size * to / min(_seconds(given, weights) for _ in range(_TIMES))
    return found


@torch.inference_mode()
def _seconds(given: Tensor, weights: list[Tensor]) -> float:
    """Return what one product takes."""
    done, began = 0, now()
    while not done or now() - began < _SECONDS:
        for weight in weights:
            functional.linear(given, weight)
        done += len(weights)
    return (now() - began) / done


def now() -> float:
    """Return the time in seconds when all that was begun is done, a GPU's work too."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
