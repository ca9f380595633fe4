"""The recipe of a training (``configs/training/NAME.yaml``), its checkpoints; light to import."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from haltung.errors import UserError, check_numbers, one_of
from haltung.labels import Scheme


@dataclass(frozen=True)
class Training:
    """The recipe of a fine-tuning.

    ``encoder_rate`` and ``head_rate`` are peak learning rates; ``layer_decay`` multiplies the
    encoder's rate once for each layer below the top. ``warmup`` is the share of all steps over
    which the rates rise; after it they fall linearly to 0. ``class_weight`` weighs the loss by the
    inverse of a label's share in the train split, or by its root; with ``logit_adjustment``, logits
    are freed of these weights after training, as far as dev says. ``select`` names the task whose
    dev macro-F1 chooses the best epoch (``mean``: the mean over all tasks). ``patience`` is the
    number of epochs without improvement after which training stops (0: never).
    ``context_dropout`` is the share of rows that ``model=network`` reads without context, drawn in
    each epoch, so that it learns bare sentences too. With ``group_by_length``, the texts of a batch
    have similar lengths. ``ema_decay`` is the share of a moving average of the weights that a step
    keeps, early ones less; the average is the model then (None: no average). If there is a teacher,
    ``teacher_weight`` is the share of the loss that its probabilities have instead of gold labels.
    """

    epochs: int = 6
    batch_size: int = 32
    encoder_rate: float = 2e-5
    head_rate: float = 1e-4
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    warmup: float = 0.1
    class_weight: str = "none"
    logit_adjustment: bool | None = None
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    context_dropout: float = 0.0
    accumulation: int = 1
    max_gradient: float = 1.0
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    precision: str = "auto"
    select: str = "mean"
    patience: int = 3
    teacher_weight: float = 0.5

    def __post_init__(self) -> None:
        """Raise ``UserError`` for the first value out of range."""
        one_of("training.class_weight", self.class_weight, ("none", "root", "inverse"))
        one_of("training.precision", self.precision, ("auto", "bf16", "fp32"))
        shares = ("warmup", "label_smoothing", "context_dropout", *(["ema_decay"] if self.ema_decay is not None else []))
        check_numbers("training", self, ("epochs", "batch_size", "accumulation"), lambda value: value >= 1, "a whole number of at least 1")
        check_numbers("training", self, ("encoder_rate", "head_rate", "max_gradient"), lambda value: value > 0, "a number above 0")
        check_numbers("training", self, shares, lambda value: 0 <= value < 1, "a number from 0 to below 1")
        check_numbers("training", self, ["teacher_weight"], lambda value: 0 <= value <= 1, "a number from 0 to 1")
        check_numbers("training", self, ["layer_decay"], lambda value: 0 < value <= 1, "a number above 0 and at most 1")
        if self.patience < 0 or self.weight_decay < 0:
            raise UserError("training.patience and training.weight_decay can't be negative")

    def score(self, macro_f1: Mapping[str, float]) -> float:
        """Return what chooses epoch and trial: macro-F1 of ``select``, or the mean over tasks."""
        return macro_f1.get(self.select, sum(macro_f1.values()) / max(1, len(macro_f1)))

    def checked(self, scheme: Scheme) -> Training:
        """Return the recipe; ``UserError`` if ``select`` is neither a task nor ``mean``."""
        one_of("training.select", self.select, ("mean", *scheme.names))
        return self


def place() -> tuple[int, int]:
    """Return this process's number among those that torchrun has started, and how many they are."""
    rank, processes = os.environ.get("RANK") or "0", os.environ.get("WORLD_SIZE") or "1"
    if not (rank.isdecimal() and processes.isdecimal()):
        raise UserError(f"RANK is {rank} and WORLD_SIZE {processes}, expected whole numbers, as torchrun sets them; unset both")
    return int(rank), int(processes)


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint, and remove incomplete ones.

    The Trainer writes ``trainer_state.json`` last: if it can be read, the checkpoint is complete.
    """
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
    return None
