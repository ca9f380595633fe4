"""Check whether a seed reproduces the weights: a short training with the default recipe prints a digest of the weights after each step.

    OMP_NUM_THREADS=2 python experiments/same_seed.py [KEY=VALUE …]

Run it several times, on an idle and on a busy machine, and compare the lines: 240 sentences of `written`, one epoch, ten processor seconds.
Keys are those of `haltung train`. `DETERMINISTIC=1` switches torch's deterministic algorithms on. The figures are in 2026-12-01-same-seed.md.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from haltung import resources

for name, setting in resources.thread_settings().items():  # before torch is loaded, as the command line does
    os.environ.setdefault(name, setting)

import torch
from transformers import TrainerCallback

from haltung.cli.build import corpus_of, recipe_of
from haltung.cli.config import compose, plain
from haltung.training import finetune


def digest(network: torch.nn.Module) -> str:
    """Return the first eight hexadecimal digits of a SHA-256 of all weights."""
    weights = (value.detach().contiguous().view(torch.uint8).numpy().tobytes() for _, value in sorted(network.state_dict().items()))
    return hashlib.sha256(b"".join(weights)).hexdigest()[:8]


class Digests(TrainerCallback):
    """Records the digest of the weights after each step."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.found.append(digest(model))


class Noting(finetune._Trainer):
    """The Trainer with ``digests``."""

    digests = Digests()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(self.digests)


if __name__ == "__main__":
    torch.use_deterministic_algorithms("DETERMINISTIC" in os.environ)
    settings = plain(compose("train", ["training.epochs=1", *sys.argv[1:]]))
    recipe, corpus = recipe_of(settings), corpus_of(settings, None)
    finetune._Trainer = Noting  # type: ignore[misc]
    train, dev = corpus.segments("train")[:240], corpus.segments("dev")[:16]
    with tempfile.TemporaryDirectory() as folder:
        tuned = finetune.finetune(train, dev, corpus.scheme, recipe.encoder, recipe.model, recipe.training, recipe.options.seed, Path(folder))
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{torch.get_num_threads()} threads, load {load}:", *Noting.digests.found, "and at the end", digest(tuned.model.network))
