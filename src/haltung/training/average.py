"""A moving average of the weights of a training, as a callback of transformers' Trainer."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback


class Average(TrainerCallback):
    """An exponential moving average of the weights, which is judged on dev and kept in their place
    (Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging").

    A step keeps the share ``decay`` of it, early ones less: (1 + n) / (10 + n) after n steps, as
    TensorFlow's ``ExponentialMovingAverage`` does. The model of a checkpoint is the average; beside
    it are the weights that the training goes on with.
    """

    FILE = "trained.safetensors"

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Begin with the weights, and read those that a checkpoint goes on with."""
        self.weights = [parameter.data for parameter in model.parameters() if parameter.requires_grad]
        self.average = [weights.clone() for weights in self.weights]
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / self.FILE
        saved = load_file(path) if state.global_step else {}
        self.trained = [saved[name] for name in sorted(saved)]

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on with the trained weights after an epoch's end."""
        if self.trained:
            torch._foreach_copy_(self.weights, self.trained)
        self.trained = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the average towards the weights."""
        torch._foreach_lerp_(self.average, self.weights, 1 - min(self.decay, (1 + state.global_step) / (10 + state.global_step)))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the average in place of the weights, to be judged and saved."""
        self.trained = [weights.clone() for weights in self.weights]
        torch._foreach_copy_(self.weights, self.average)

    def save(self, folder: Path) -> None:
        """Write the trained weights beside the average in a checkpoint."""
        save_file({f"{number:05d}": weights for number, weights in enumerate(self.trained)}, folder / self.FILE)
