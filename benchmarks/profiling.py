"""Profile of a training: time by part of a step, and by torch operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arithmetic import now
from measuring import table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transformers import Trainer

_OPERATORS = 40  # rows of the table
_BACK, _BACK_ENCODER = "backward: heads, sentences, dyads, loss", "backward: encoder"


@dataclass
class Parts:
    """Seconds by part; time in a nested part is not added to the outer one."""

    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    def _turn(self) -> None:
        """Add the time since the last turn to the innermost open part."""
        before, self._since = self._since, now()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + self._since - before

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Add the time within the block to a part."""
        self._turn()
        self._open.append(name)
        self.counts[name] = self.counts.get(name, 0) + 1
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def turn_to(self, name: str) -> None:
        """Add the rest of the open part to another one."""
        self._turn()
        self._open[-1] = name
        self.counts[name] = self.counts.get(name, 0) + 1

    def wrap(self, thing: Any, method: str, name: str) -> None:
        """Replace a method of ``thing`` by one that adds the time of its calls to a part."""
        before: Callable[..., Any] = getattr(thing, method)

        def within(*args: Any, **kwargs: Any) -> Any:
            with self.within(name):
                return before(*args, **kwargs)

        setattr(thing, method, within)

    def follow(self, trainer: Any) -> None:
        """Measure a trainer of articles by part; this patches its model permanently."""
        examples, network = trainer.examples, trainer.examples.model.network
        trainer.create_optimizer()
        for thing, method, name in (
            (examples, "begin", "epoch begins: articles drawn, actors found"), (examples, "collate", "collate"),
            (network, "states", "forward: encoder"), (network, "vectors", "forward: network over sentences"),
            (network, "logits", "forward: heads"), (network.actors, "forward", "forward: dyads"),
            (trainer, "compute_loss", "forward: the rest, loss"), (trainer.accelerator, "backward", _BACK),
            (trainer.accelerator, "clip_grad_norm_", "clipping of gradients"), (trainer.optimizer, "step", "optimizer"),
            *((average, "on_step_end", "moving average") for average in trainer.averages),
            (trainer, "evaluate", "evaluation on dev"), (trainer, "_save_checkpoint", "checkpoint"),
        ):  # fmt: skip
            if thing is not None:
                self.wrap(thing, method, name)
        inner = network.states

        def states(*args: Any) -> Tensor:
            found: Tensor = inner(*args)
            if found.requires_grad:
                # Its gradient arrives once the backward pass above it is done.
                found.register_hook(lambda gradient: self.turn_to(_BACK_ENCODER))
            return found

        network.states = states


def profiled(trainer: Callable[[], Trainer], path: Path) -> str:
    """Train under torch's profiler, then by parts; write both tables, return the second one."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        trainer().train()
    operators = found.key_averages().table(sort_by="self_cpu_time_total", row_limit=_OPERATORS, max_name_column_width=60)
    parts = Parts()
    first: Any = trainer()
    parts.follow(first)
    with parts.within("the Trainer itself"):
        first.train()
    whole, steps = sum(parts.seconds.values()), first.state.global_step
    rows = [
        [name, f"{100 * seconds / whole:.1f} %", f"{1000 * seconds / steps:.1f}", str(parts.counts[name])]
        for name, seconds in sorted(parts.seconds.items(), key=lambda one: -one[1])
    ]
    text = f"{steps} steps, {first.tokens} real tokens, {whole:.1f} s\n\n" + table(["part", "share", "ms a step", "times"], rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n{operators}\n", encoding="utf-8")
    return text
