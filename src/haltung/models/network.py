"""The network of ``model=network``: an encoder of segments, and a head per task."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from haltung.encoders.tokens import Tokens
from haltung.labels import Scheme
from haltung.models.spec import NetworkSpec


class Batch(NamedTuple):
    """The tensors of one view, each ``[batch, tokens]``; ``own`` is 1 at the segment's own text."""

    ids: Tensor
    mask: Tensor
    types: Tensor | None
    own: Tensor


class Heads(nn.ModuleDict):
    """A ModuleDict that takes any name; the plain one refuses ``type`` and ``values``."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a module under any name."""
        if module is not None:
            self._modules[name] = module


class EncoderNetwork(nn.Module):
    """A network with an encoder of transformers and heads, as the Trainer wants it."""

    finds_dyads = False

    def __init__(self, encoder: nn.Module, scheme: Scheme, spec: NetworkSpec, dyads: bool = False) -> None:
        """Take the encoder; ``dyads``, whether sides of them are to be scored, is for articles."""
        super().__init__()
        self.width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.encoder = encoder
        self.dropout = nn.Dropout(spec.dropout)

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Trade time for memory while training (called by the Trainer)."""
        enable = getattr(self.encoder, "activation_checkpointing_enable", None) or self.encoder.gradient_checkpointing_enable
        enable(**kwargs)  # type: ignore[operator]

    # Its name in releases of transformers before 5.2x.
    gradient_checkpointing_enable = activation_checkpointing_enable


class MultiTaskNetwork(EncoderNetwork):
    """One encoder of transformers and a linear head per task, trained together.

    ``views`` gives for each task the view that it reads, as an index into the views given to
    ``forward``, and ``poolings`` ``mean``, ``cls`` or ``text``. While it is trained, the pooled
    vector has dropout.
    """

    def __init__(self, encoder: nn.Module, scheme: Scheme, spec: NetworkSpec, dyads: bool = False) -> None:
        """Make the heads; their weights are drawn from N(0, 0.02²) as in BERT, biases are 0."""
        super().__init__(encoder, scheme, spec)
        self.heads = Heads({task.name: nn.Linear(self.width, len(task)) for task in scheme})
        self.views = {task: spec.views(scheme).index(spec.reads_of(task)) for task in scheme.names}
        self.poolings = {task: spec.pooling_of(task) for task in scheme.names}
        for head in self.heads.values():
            nn.init.normal_(head.weight, std=0.02)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, views: Sequence[Batch]) -> dict[str, Tensor]:
        """Return the logits of each task, ``[batch, labels]`` in float32."""
        states = [hidden_states(self.encoder, view) for view in views]
        logits = {}
        for task, head in self.heads.items():
            index = self.views[task]
            pooled = pool(states[index], views[index], self.poolings[task])
            logits[task] = head(self.dropout(pooled)).float()
        return logits


def hidden_states(encoder: nn.Module, view: Batch) -> Tensor:
    """Return the encoder's last states of a view, ``[batch, tokens, width]``."""
    types = {} if view.types is None else {"token_type_ids": view.types}
    states: Tensor = encoder(input_ids=view.ids, attention_mask=view.mask, **types).last_hidden_state
    return states


def pool(states: Tensor, view: Batch, pooling: str) -> Tensor:
    """Pool hidden states ``[batch, tokens, width]`` to one vector per row, ``[batch, width]``.

    An empty text (special tokens only) is pooled over all of its tokens.
    """
    if pooling == "cls":
        return states[:, 0]
    mask = view.mask if pooling == "mean" else torch.where(view.own.any(dim=1, keepdim=True), view.own, view.mask)
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def collate(rows: Sequence[Tokens], pad: int, with_types: bool) -> Batch:
    """Pad the rows on the right to the longest one."""
    width = max(len(row) for row in rows)

    def table(values: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in values], dtype=torch.long)

    return Batch(
        table([row.ids for row in rows], pad),
        table([[1] * len(row) for row in rows], 0),
        table([row.types for row in rows], 0) if with_types else None,
        table([row.own for row in rows], 0),
    )
