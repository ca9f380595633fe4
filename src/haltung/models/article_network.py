"""The network of ``model=article``: an encoder of sentences, a small network over an article, heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from haltung.actors.candidates import MAX_CANDIDATES, ROLES
from haltung.encoders.tokens import Tokens
from haltung.models.network import Heads

# Sentences are put into rows of so many tokens: wider ones cost more attention, narrower ones leave
# more padding.
PACKED_WIDTH = 112
# Of a sentence's candidates the first is nobody.
SLOTS = MAX_CANDIDATES + 1
# Cues about candidates are numbers below this one, 0 for none (see ``cue_number``).
CUES = 8192
_ACTOR_WIDTH = 128
# In training so many cues are left out, so that none is relied on alone.
_CUE_DROPOUT = 0.2


class Packed(NamedTuple):
    """Sentences one behind the other in rows, ``[rows, tokens]``, so that little is padding.

    ``sentence`` is the number of each token's sentence, -1 at padding; ``positions`` begin anew
    with each sentence. ``lengths`` ``[sentences]`` counts tokens, ``starts`` ``[sentences]`` is the
    first token of each, counted along the rows.
    """

    ids: Tensor
    types: Tensor | None
    positions: Tensor
    sentence: Tensor
    lengths: Tensor
    starts: Tensor

    def to(self, device: torch.device) -> Packed:
        """Return the tensors on a device."""
        return Packed(*(None if tensor is None else tensor.to(device) for tensor in self))  # type: ignore[arg-type]


class ActorBatch(NamedTuple):
    """The candidates of those sentences that have any, nobody first.

    ``rows`` ``[sentences]`` are their rows among the logits; ``sentence`` and ``slot``
    ``[candidates]`` say where each candidate stands in a table of sentences by ``SLOTS``; ``cues``
    ``[candidates, cues]`` are numbers. ``tokens`` are the tokens of mentions, counted along those of
    all parts, and ``mention`` says whose each is: twice the candidate's number for a mention in its
    sentence, one more for one before it.
    """

    rows: Tensor
    sentence: Tensor
    slot: Tensor
    cues: Tensor
    tokens: Tensor
    mention: Tensor


class ArticleBatch(NamedTuple):
    """The tensors of some articles, whose sentences are those of ``parts``, one after another.

    ``place`` ``[sentences]`` is where each sentence stands in a table of articles by sentences of
    the shape ``shape``, counted along its rows; ``kind`` ``[sentences]`` is 0 for a headline or
    context and 1 for other sentences. ``wanted`` ``[rows]`` are the places whose logits are asked
    for. ``actors`` is None where no dyads are asked for.
    """

    parts: Sequence[Packed]
    place: Tensor
    kind: Tensor
    shape: tuple[int, int]
    wanted: Tensor
    actors: ActorBatch | None = None

    def to(self, device: torch.device) -> ArticleBatch:
        """Return the tensors on a device."""
        actors = None if self.actors is None else ActorBatch(*(tensor.to(device) for tensor in self.actors))
        place, kind, wanted = (tensor.to(device) for tensor in (self.place, self.kind, self.wanted))
        return ArticleBatch([part.to(device) for part in self.parts], place, kind, self.shape, wanted, actors)


class ActorHead(nn.Module):
    """Scores who is source and who is target among a sentence's candidates, and in which role.

    A candidate is known by its mentions' vectors, its sentence's, the stance, and its cues; the
    candidates of a sentence then see each other.
    """

    def __init__(self, width: int, stances: int, dropout: float) -> None:
        """Make the layers; the embeddings of cues are drawn from N(0, 0.02²)."""
        super().__init__()
        self.cues = nn.Embedding(CUES, _ACTOR_WIDTH, padding_idx=0)
        nn.init.normal_(self.cues.weight, std=0.02)
        # No cue: how many cues others in the batch have must not count.
        nn.init.zeros_(self.cues.weight.data[0])
        self.vectors = nn.Linear(4 * width, _ACTOR_WIDTH)
        self.shift, self.scale = nn.Linear(stances, _ACTOR_WIDTH, bias=False), nn.Linear(stances, _ACTOR_WIDTH, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.together = nn.TransformerEncoderLayer(_ACTOR_WIDTH, 4, 2 * _ACTOR_WIDTH, dropout, batch_first=True, norm_first=True)
        self.roles = nn.Linear(_ACTOR_WIDTH, 2 * len(ROLES))

    def forward(self, actors: ActorBatch, mentions: Tensor, sentences: Tensor, stances: Tensor) -> Tensor:
        """Return log-probabilities, ``[2, sentences, SLOTS * roles]``, of sources and of targets.

        ``mentions`` are ``[candidates, 2 * width]``, ``sentences`` ``[sentences, 2 * width]``, and
        ``stances`` ``[sentences, stances]`` the probability of each. Nobody has one role.
        """
        numbers = actors.cues
        if self.training:
            numbers = numbers * (torch.rand(numbers.shape, device=numbers.device) >= _CUE_DROPOUT)
        shift, scale = self.shift(stances)[actors.sentence], self.scale(stances)[actors.sentence]
        vectors = self.vectors(self.dropout(torch.cat([mentions, sentences[actors.sentence]], dim=-1)))
        known = functional.gelu(vectors + self.cues(numbers).sum(dim=1) + shift) * (1 + scale)
        place = actors.sentence * SLOTS + actors.slot
        count = len(actors.rows)
        table = known.new_zeros(count * SLOTS, _ACTOR_WIDTH).index_copy(0, place, self.dropout(known))
        absent = torch.ones(count * SLOTS, dtype=torch.bool, device=known.device).index_fill(0, place, value=False).view(count, SLOTS)
        seen = self.together(table.view(count, SLOTS, -1), src_key_padding_mask=absent)
        impossible = absent.unsqueeze(2).expand(count, SLOTS, len(ROLES)).clone()
        impossible[:, 0, 1:] = True
        scores = self.roles(seen).view(count, SLOTS, 2, len(ROLES)).permute(2, 0, 1, 3)
        scores = scores.masked_fill(impossible, torch.finfo(scores.dtype).min / 2).reshape(2, count, SLOTS * len(ROLES))
        return functional.log_softmax(scores, dim=-1)


class ArticleNetwork(nn.Module):
    """An encoder that reads each sentence once, a network over the sentences of an article, heads.

    ``sequence`` is ``transformer`` or ``lstm`` with ``layers`` layers, as wide as the encoder;
    ``window`` is the most sentences of an article. A head sees the sentence's own vector and the
    one that the sequence network makes of it. ``stance`` names the task whose labels dyads have, and
    ``neutral`` the number of the label that is none; without ``stance`` no dyads are scored.
    """

    def __init__(
        self, encoder: nn.Module, heads: Mapping[str, int], sequence: str, layers: int, window: int, dropout: float = 0.1,
        stance: str = "", neutral: int = 0,
    ) -> None:  # fmt: skip
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
        self.heads = Heads({task: nn.Linear(2 * width, size) for task, size in heads.items()})
        self.stance, self.neutral = stance, neutral
        self.actors = ActorHead(width, heads[stance], dropout) if stance else None
        for table in (self.positions, self.kinds, *self.heads.values()):
            nn.init.normal_(table.weight, std=0.02)  # type: ignore[arg-type]
        for head in self.heads.values():
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, articles: ArticleBatch, stances: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the logits of each task, ``[rows, labels]`` in float32, and those of actors.

        The latter are as of ``ActorHead``, None where none are asked for; ``stances`` ``[rows,
        labels]`` are probabilities that take the place of the network's own, where they are not 0.
        """
        states = [self.states(part) for part in articles.parts]
        own, seen = self.sentences(torch.cat([means(*pair) for pair in zip(states, articles.parts, strict=True)]), articles)
        both = torch.cat([self.dropout(own), self.dropout(seen)], dim=-1)
        logits = {task: head(both).float() for task, head in self.heads.items()}
        actors = articles.actors
        if actors is None or self.actors is None or not len(actors.rows):
            return logits, None
        tokens = torch.cat([state.reshape(-1, state.shape[-1]) for state in states])[actors.tokens]
        sums = tokens.new_zeros(2 * len(actors.sentence), tokens.shape[-1]).index_add(0, actors.mention, tokens)
        counts = torch.bincount(actors.mention, minlength=len(sums)).clamp(min=1).unsqueeze(1)
        mentions = (sums / counts).view(len(actors.sentence), -1)
        given = None if stances is None else stances[actors.rows]
        return logits, self.sides(actors, mentions, torch.cat([own, seen], dim=-1)[actors.rows], logits[self.stance][actors.rows], given)

    def sides(self, actors: ActorBatch, mentions: Tensor, sentences: Tensor, logits: Tensor, given: Tensor | None) -> Tensor:
        """Return what ``ActorHead`` does, for stances as likely as ``logits`` say, or ``given``."""
        assert self.actors is not None
        with torch.autocast(mentions.device.type, enabled=False):
            is_neutral = torch.arange(logits.shape[1], device=logits.device) == self.neutral
            # What is asked is who takes a stance, should it be one: that it is none plays no part.
            own = logits.detach().masked_fill(is_neutral, torch.finfo(logits.dtype).min / 2).softmax(dim=-1)
            likely = own if given is None else torch.where(given.sum(dim=1, keepdim=True) > 0, given, own)
            return self.actors(actors, mentions, sentences, likely)  # type: ignore[no-any-return]

    def states(self, part: Packed) -> Tensor:
        """Return the vector of each token, ``[rows, tokens, width]``."""
        types = {} if part.types is None else {"token_type_ids": part.types}
        # A token attends to those of its own sentence; padding to padding, so that no row of the
        # softmax is empty.
        own = (part.sentence.unsqueeze(1) == part.sentence.unsqueeze(2)).unsqueeze(1)
        least = torch.finfo(torch.bfloat16).min
        mask = torch.zeros(own.shape, device=own.device).masked_fill(~own, least)
        states: Tensor = self.encoder(input_ids=part.ids, attention_mask=mask, position_ids=part.positions, **types).last_hidden_state
        return states.float()

    def sentences(self, vectors: Tensor, articles: ArticleBatch) -> tuple[Tensor, Tensor]:
        """Return the vectors of the wanted sentences, and those that the sequence network makes.

        Both are ``[rows, width]``; ``vectors`` are those of all sentences.
        """
        # The small network computes in float32: it costs next to nothing.
        with torch.autocast(vectors.device.type, enabled=False):
            count, longest = articles.shape
            own = vectors.new_zeros(count * longest, vectors.shape[-1]).index_copy(0, articles.place, vectors)
            kinds = articles.place.new_zeros(count * longest).index_copy(0, articles.place, articles.kind)
            padding = torch.ones(count * longest, dtype=torch.bool, device=vectors.device).index_fill(0, articles.place, value=False)
            places = torch.arange(longest, device=vectors.device).repeat(count)
            seen = self._sequence((own + self.positions(places) + self.kinds(kinds)).view(count, longest, -1), padding.view(count, longest))
            return own[articles.wanted], seen.reshape(count * longest, -1)[articles.wanted]

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


def means(states: Tensor, part: Packed) -> Tensor:
    """Return the vector of each sentence, the mean over its tokens', ``[sentences, width]``."""
    tokens, sentence = states.reshape(-1, states.shape[-1]), part.sentence.reshape(-1)
    is_token = sentence >= 0
    sums = tokens.new_zeros(len(part.lengths), tokens.shape[-1]).index_add(0, sentence[is_token], tokens[is_token])
    return sums / part.lengths.unsqueeze(1)


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
    starts = [0] * len(rows)
    for number, line in enumerate(table):
        at = number * used
        for index in line:
            starts[index], at = at, at + len(rows[index])

    def filled(values: Sequence[list[int]], fill: int) -> Tensor:
        lines = [[value for index in line for value in values[index]] for line in table]
        return torch.tensor([line + [fill] * (used - len(line)) for line in lines], dtype=torch.long)

    return Packed(
        filled([row.ids for row in rows], pad),
        filled([row.types for row in rows], 0) if with_types else None,
        filled([list(range(first, first + len(row))) for row in rows], first),
        filled([[index] * len(row) for index, row in enumerate(rows)], -1),
        torch.tensor([len(row) for row in rows]),
        torch.tensor(starts),
    )
