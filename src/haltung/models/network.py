"""The networks of fine-tuned models: an encoder, for articles another small one, and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from haltung.encoders.tokens import Tokens

# Sentences are put into rows of so many tokens: wider ones cost more attention, narrower ones leave
# more padding.
PACKED_WIDTH = 112


class Batch(NamedTuple):
    """The tensors of one view, each ``[batch, tokens]``; ``own`` is 1 at the segment's own text."""

    ids: Tensor
    mask: Tensor
    types: Tensor | None
    own: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(None if tensor is None else tensor.to(device) for tensor in self))  # type: ignore[arg-type]


class _Heads(nn.ModuleDict):
    """A ModuleDict that takes any name; the plain one refuses ``type`` and ``values``."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        if module is not None:
            self._modules[name] = module


class MultiTaskNetwork(nn.Module):
    """One encoder of transformers and a linear head per task, trained together.

    ``heads`` gives each task's number of labels, ``views`` the view that it reads, as an index into
    the views given to ``forward``, and ``poolings`` is ``mean``, ``cls`` or ``text``. While it is
    trained, the pooled vector has ``dropout``.
    """

    def __init__(
        self, encoder: nn.Module, heads: Mapping[str, int], views: Mapping[str, int], poolings: Mapping[str, str], dropout: float = 0.1
    ) -> None:
        """Make the heads; their weights are drawn from N(0, 0.02²) as in BERT, biases are 0."""
        super().__init__()
        width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.heads = _Heads({task: nn.Linear(width, size) for task, size in heads.items()})
        self.views, self.poolings = dict(views), dict(poolings)
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

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Trade time for memory while training (called by the Trainer)."""
        enable = getattr(self.encoder, "activation_checkpointing_enable", None) or self.encoder.gradient_checkpointing_enable
        enable(**kwargs)  # type: ignore[operator]

    # Its name in releases of transformers before 5.2x.
    gradient_checkpointing_enable = activation_checkpointing_enable


class Packed(NamedTuple):
    """Sentences one behind the other in rows, ``[rows, tokens]``, so that little is padding.

    ``sentence`` is the number of each token's sentence, -1 at padding; ``positions`` begin anew
    with each sentence. ``lengths`` ``[sentences]`` counts tokens.
    """

    ids: Tensor
    types: Tensor | None
    positions: Tensor
    sentence: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Packed:
        """Return the tensors on a device."""
        return Packed(*(None if tensor is None else tensor.to(device) for tensor in self))  # type: ignore[arg-type]


class ArticleBatch(NamedTuple):
    """The tensors of some articles, whose sentences are those of ``parts``, one after another.

    ``place`` ``[sentences]`` is where each sentence stands in a table of articles by sentences of
    the shape ``shape``, counted along its rows; ``kind`` ``[sentences]`` is 0 for a headline or
    context and 1 for other sentences. ``wanted`` ``[rows]`` are the places whose logits are asked
    for.
    """

    parts: Sequence[Packed]
    place: Tensor
    kind: Tensor
    shape: tuple[int, int]
    wanted: Tensor


class ArticleNetwork(nn.Module):
    """An encoder that reads each sentence once, a network over the sentences of an article, heads.

    ``sequence`` is ``transformer`` or ``lstm`` with ``layers`` layers, as wide as the encoder;
    ``window`` is the most sentences of an article. A head sees the sentence's own vector and the
    one that the sequence network makes of it.
    """

    def __init__(self, encoder: nn.Module, heads: Mapping[str, int], sequence: str, layers: int, window: int, dropout: float = 0.1) -> None:
        """Make the new parts; weights of embeddings and heads are drawn from N(0, 0.02²)."""
        super().__init__()
        width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        # One more than the window: a headline stands before it.
        self.positions, self.kinds = nn.Embedding(window + 1, width), nn.Embedding(2, width)
        self.sequence: nn.Module
        if sequence == "transformer":
            layer = nn.TransformerEncoderLayer(width, max(1, width // 64), 2 * width, dropout, batch_first=True, norm_first=True)
            self.sequence = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        else:
            self.sequence = nn.LSTM(width, width // 2, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0, bidirectional=True)
        self.heads = _Heads({task: nn.Linear(2 * width, size) for task, size in heads.items()})
        for table in (self.positions, self.kinds, *self.heads.values()):
            nn.init.normal_(table.weight, std=0.02)  # type: ignore[arg-type]
        for head in self.heads.values():
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, articles: ArticleBatch) -> dict[str, Tensor]:
        """Return the logits of each task, ``[rows, labels]`` in float32."""
        return self.logits(torch.cat([self.vectors(part) for part in articles.parts]), articles)

    def vectors(self, part: Packed) -> Tensor:
        """Return the vector of each sentence, the mean over its tokens, ``[sentences, width]``."""
        types = {} if part.types is None else {"token_type_ids": part.types}
        # A token attends to those of its own sentence; padding to padding, so that no row of the
        # softmax is empty.
        own = (part.sentence.unsqueeze(1) == part.sentence.unsqueeze(2)).unsqueeze(1)
        least = torch.finfo(torch.bfloat16).min
        mask = torch.zeros(own.shape, device=own.device).masked_fill(~own, least)
        states: Tensor = self.encoder(input_ids=part.ids, attention_mask=mask, position_ids=part.positions, **types).last_hidden_state
        tokens, sentence = states.float().reshape(-1, states.shape[-1]), part.sentence.reshape(-1)
        is_token = sentence >= 0
        sums = tokens.new_zeros(len(part.lengths), tokens.shape[-1]).index_add(0, sentence[is_token], tokens[is_token])
        return sums / part.lengths.unsqueeze(1)

    def logits(self, vectors: Tensor, articles: ArticleBatch) -> dict[str, Tensor]:
        """Return the logits of each task, ``[rows, labels]``, given all sentences' vectors."""
        # The small network computes in float32: it costs next to nothing.
        with torch.autocast(vectors.device.type, enabled=False):
            count, longest = articles.shape
            own = vectors.new_zeros(count * longest, vectors.shape[-1]).index_copy(0, articles.place, vectors)
            kinds = articles.place.new_zeros(count * longest).index_copy(0, articles.place, articles.kind)
            padding = torch.ones(count * longest, dtype=torch.bool, device=vectors.device).index_fill(0, articles.place, value=False)
            places = torch.arange(longest, device=vectors.device).repeat(count)
            seen = self._sequence((own + self.positions(places) + self.kinds(kinds)).view(count, longest, -1), padding.view(count, longest))
            both = torch.cat([self.dropout(own), self.dropout(seen.reshape(count * longest, -1))], dim=-1)[articles.wanted]
            return {task: head(both).float() for task, head in self.heads.items()}

    def _sequence(self, table: Tensor, padding: Tensor) -> Tensor:
        if not isinstance(self.sequence, nn.LSTM):
            seen: Tensor = self.sequence(table, src_key_padding_mask=padding)
            return seen
        lengths = (~padding).sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(table, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.sequence(packed)[0], batch_first=True, total_length=table.shape[1])[0]

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Trade time for memory while training (called by the Trainer)."""
        enable = getattr(self.encoder, "activation_checkpointing_enable", None) or self.encoder.gradient_checkpointing_enable
        enable(**kwargs)  # type: ignore[operator]

    # Its name in releases of transformers before 5.2x.
    gradient_checkpointing_enable = activation_checkpointing_enable


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


def pack(rows: Sequence[Tokens], pad: int, with_types: bool, first: int) -> Packed:
    """Put the rows one behind the other, in rows as wide as the longest, or ``PACKED_WIDTH``.

    ``first`` is the position of a first token. Rows are filled by first fit, the longest first.
    """
    width = max(PACKED_WIDTH, *map(len, rows))
    table: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(rows)), key=lambda index: -len(rows[index])):
        into = next((number for number, room in enumerate(free) if room >= len(rows[index])), len(free))
        if into == len(free):
            table.append([])
            free.append(width)
        table[into].append(index)
        free[into] -= len(rows[index])
    used = width - min(free)

    def filled(values: Sequence[list[int]], fill: int) -> Tensor:
        lines = [[value for index in line for value in values[index]] for line in table]
        return torch.tensor([line + [fill] * (used - len(line)) for line in lines], dtype=torch.long)

    return Packed(
        filled([row.ids for row in rows], pad),
        filled([row.types for row in rows], 0) if with_types else None,
        filled([list(range(first, first + len(row))) for row in rows], first),
        filled([[index] * len(row) for index, row in enumerate(rows)], -1),
        torch.tensor([len(row) for row in rows]),
    )


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
