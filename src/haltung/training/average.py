"""A moving average of a network's weights in training, as a callback of transformers' Trainer."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback


class Average(TrainerCallback):
    """An exponential moving average of the weights, evaluated and saved in their place (Polyak and
    Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging").

    Each step keeps a share ``decay`` of the average, early steps less: (1 + n) / (10 + n) after n
    steps, as in TensorFlow's ``ExponentialMovingAverage``. The model of a checkpoint is the
    average; the weights that training continues from are stored next to it.
    """

    FILE = "trained.safetensors"

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Start from the current weights; on resumption, load the checkpoint's trained weights."""
        self.weights = [parameter.data for parameter in model.parameters() if parameter.requires_grad]
        self.average = [weights.clone() for weights in self.weights]
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / self.FILE
        saved = load_file(path) if state.global_step else {}
        self.trained = [saved[name] for name in sorted(saved)]

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the trained weights after the end of an epoch."""
        if self.trained:
            torch._foreach_copy_(self.weights, self.trained)
        self.trained = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Update the average."""
        torch._foreach_lerp_(self.average, self.weights, 1 - min(self.decay, (1 + state.global_step) / (10 + state.global_step)))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Replace the weights by the average, which is then evaluated and saved."""
        self.trained = [weights.clone() for weights in self.weights]
        torch._foreach_copy_(self.weights, self.average)

    def save(self, folder: Path) -> None:
        """Write the trained weights next to the average in a checkpoint."""
        save_file({f"{number:05d}": weights for number, weights in enumerate(self.trained)}, folder / self.FILE)
