"""Training recipes (``configs/training/NAME.yaml``) and checkpoints; light to import."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from haltung.errors import UserError, one_of
from haltung.labels import Scheme
from haltung.models.spec import Count, Part

Above0 = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Training:
    """The recipe of a fine-tuning.

    ``encoder_rate`` and ``head_rate`` are peak learning rates; ``layer_decay`` multiplies the
    encoder's rate once for each layer below the top. ``warmup`` is the share of all steps over
    which the rates rise; after it they fall linearly to 0. ``class_weight`` weights the loss by the
    inverse of a label's frequency in the train split, or by its square root. ``logit_adjustment``
    undoes these weights in the logits after training, as far as dev supports, and the higher
    frequency of labels due to sources that dev lacks. ``select`` names the task whose dev macro-F1
    chooses the best epoch (``mean``: the mean over all tasks). ``patience`` is the number of epochs
    without improvement after which training stops (0: never). ``context_dropout`` is the share of
    rows that ``model=network`` reads without context, resampled in each epoch, so that it also
    learns to read sentences alone. With ``group_by_length``, the texts of a batch have similar
    lengths. ``ema_decay`` is the share of a moving average of the weights that a step keeps, early
    ones less; the average becomes the model (None: no average). With a teacher, ``teacher_weight``
    is the share of the loss that its probabilities have instead of gold labels.
    """

    epochs: Count = 6
    batch_size: Count = 32
    encoder_rate: Above0 = 2e-5
    head_rate: Above0 = 1e-4
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Part = 0.1
    class_weight: Literal["none", "root", "inverse"] = "none"
    logit_adjustment: bool | None = None
    label_smoothing: Part = 0.0
    ema_decay: Part | None = None
    context_dropout: Part = 0.0
    accumulation: Count = 1
    max_gradient: Above0 = 1.0
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    select: str = "mean"
    patience: Annotated[int, Field(ge=0)] = 3
    teacher_weight: Annotated[float, Field(ge=0, le=1)] = 0.5

    def score(self, macro_f1: Mapping[str, float]) -> float:
        """Return what selects epoch and trial: macro-F1 of ``select``, or the mean over tasks."""
        return macro_f1.get(self.select, sum(macro_f1.values()) / max(1, len(macro_f1)))

    def checked(self, scheme: Scheme) -> Self:
        """Return the recipe; ``UserError`` if ``select`` is neither a task nor ``mean``."""
        one_of("training.select", self.select, ("mean", *scheme.names))
        return self


def place() -> tuple[int, int]:
    """Return this process's rank among the processes started by torchrun, and their number."""
    rank, processes = os.environ.get("RANK") or "0", os.environ.get("WORLD_SIZE") or "1"
    if not (rank.isdecimal() and processes.isdecimal()):
        raise UserError(f"RANK is {rank} and WORLD_SIZE {processes}, expected whole numbers, as torchrun sets them; unset both")
    return int(rank), int(processes)


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint with ``trainer_state.json``, written last; remove newer ones."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
    return None
