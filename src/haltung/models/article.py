"""The model of ``model=article``: an encoder of sentences, a network over an article, and heads."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.nn import functional

from haltung.actors.candidates import ROLES
from haltung.encoders.load import Encoder
from haltung.encoders.tokens import Tokens, encode
from haltung.errors import UserError, listed
from haltung.inference.client import batches, fitted, pack, places
from haltung.labels import NEUTRAL, STANCE, Scheme
from haltung.models.neural import EncoderModel, EncoderNetwork, Heads, first_position, likely, predicting, pretrained
from haltung.models.predictor import Answers, Stances, calibrated
from haltung.models.spec import ArticleSpec
from haltung.models.units import CUES, SLOTS, ActorBatch, Unit, actor_answers, actor_batch, units
from haltung.records import ActorAnswer, Segment

# Encoder families that accept position ids and an attention mask for each pair of tokens.
_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
_PACKED = 256  # sentences in one pass of the encoder
# Widths of packed rows in tokens: attention costs more in wider ones, which fit few sentences well.
_WIDTHS, _FEW = range(64, 92, 4), 100
_SENTENCES = 1024  # in a batch of articles, at most; the vectors of all their tokens are kept
_JOINED = 4 * CUES  # hashed pairs of a cue and a stance, which may collide
_ACTOR_WIDTH = 128
_ACTOR_DROPOUT = 0.3  # chosen on dev: a few thousand sentences are little data for this many weights
_CUE_DROPOUT = 0.2  # share of cues dropped in training, so that the model relies on no single cue


class Packed(NamedTuple):
    """Sentences packed into rows, ``[rows, tokens]``, to reduce padding; the field names are those
    of ``haltung.inference.client.pack``.

    ``sentence`` is the index of each token's sentence, -1 at padding; ``positions`` restart in each
    sentence. ``starts`` ``[sentences]`` are the indices of first tokens in the flattened rows.
    """

    input_ids: Tensor
    positions: Tensor
    sentence: Tensor
    starts: Tensor
    token_type_ids: Tensor | None = None


class ArticleBatch(NamedTuple):
    """The tensors of a batch of articles, whose sentences are those of ``parts`` in order.

    ``kind`` ``[articles, longest]`` is 0 at a headline or context, 1 at other sentences, -1 at
    padding; ``place`` ``[sentences]`` is the index of each sentence in the flattened ``kind``.
    ``wanted`` ``[rows]`` are the indices of the sentences whose logits are returned. ``actors`` is
    None if the network scores no dyads.
    """

    parts: Sequence[Packed]
    place: Tensor
    kind: Tensor
    wanted: Tensor
    actors: ActorBatch[Tensor] | None = None


class ActorHead(nn.Module):
    """Scores each candidate of a sentence as source and as target of its dyads, in each role.

    A candidate is represented by the vectors of its mentions and of its sentence, the stance, and
    its cues; the candidates of a sentence then attend to each other. In addition, each cue has a
    weight per side and role, and another per likeliest stance: "gegen" precedes the target of a
    criticism, but the partner of an agreement (a wide part beside the deep one; Cheng et al. 2016,
    "Wide & Deep Learning for Recommender Systems").
    """

    def __init__(self, width: int, stances: int) -> None:
        """Create the layers; cue embeddings are drawn from N(0, 0.3²), cue weights start at 0."""
        super().__init__()
        self.cues = nn.Embedding(CUES, _ACTOR_WIDTH, padding_idx=0)
        nn.init.normal_(self.cues.weight, std=0.3)
        # Padding: the number of cues of other candidates in the batch must not matter.
        nn.init.zeros_(self.cues.weight.data[0])
        self.direct, self.joined = (nn.Embedding(size, 2 * len(ROLES), padding_idx=0) for size in (CUES, _JOINED))
        for table in (self.direct, self.joined):
            nn.init.zeros_(table.weight)
        self.vectors = nn.Linear(4 * width, _ACTOR_WIDTH)
        self.shift, self.scale = nn.Linear(stances, _ACTOR_WIDTH, bias=False), nn.Linear(stances, _ACTOR_WIDTH, bias=False)
        self.dropout = nn.Dropout(_ACTOR_DROPOUT)
        self.together = nn.TransformerEncoderLayer(_ACTOR_WIDTH, 4, 2 * _ACTOR_WIDTH, _ACTOR_DROPOUT, batch_first=True, norm_first=True)
        self.roles = nn.Linear(_ACTOR_WIDTH, 2 * len(ROLES))

    def forward(self, mentions: Tensor, sentences: Tensor, stances: Tensor, cues: Tensor, sentence: Tensor, slot: Tensor) -> Tensor:
        """Return log-probabilities of sources and of targets, ``[2, sentences, SLOTS * roles]``.

        ``mentions`` are ``[candidates, 2 * width]``, ``sentences`` ``[sentences, 2 * width]``;
        ``stances`` are probabilities, ``[sentences, stances]``. The other arguments are as in
        ``ActorBatch``. Nobody, the candidate in slot 0, has only the first role.
        """
        if self.training:
            cues = cues * (torch.rand(cues.shape, device=cues.device) >= _CUE_DROPOUT)
        shift, scale = (part(stances).index_select(0, sentence) for part in (self.shift, self.scale))  # [] has a race in backward
        vectors = self.vectors(self.dropout(torch.cat([mentions, sentences.index_select(0, sentence)], dim=-1)))
        known = functional.gelu(vectors + self.cues(cues).sum(dim=1) + shift) * (1 + scale)
        place, count = sentence * SLOTS + slot, sentences.shape[0]
        table = known.new_zeros(count * SLOTS, _ACTOR_WIDTH).index_copy(0, place, self.dropout(known))
        absent = place.new_zeros(count * SLOTS).index_copy(0, place, torch.ones_like(place)).view(count, SLOTS) == 0
        seen = self.together(table.view(count, SLOTS, _ACTOR_WIDTH), src_key_padding_mask=absent)
        slots, roles = (torch.arange(size, device=place.device) for size in (SLOTS, len(ROLES)))
        impossible = absent.unsqueeze(2) | ((slots == 0).unsqueeze(1) & (roles > 0))
        scores = self.roles(seen) + self._wide(cues, stances.argmax(dim=-1)[sentence], place, count)
        scores = scores.view(count, SLOTS, 2, len(ROLES)).permute(2, 0, 1, 3)
        scores = scores.masked_fill(impossible, torch.finfo(scores.dtype).min / 2).reshape(2, count, SLOTS * len(ROLES))
        return functional.log_softmax(scores, dim=-1)

    def _wide(self, cues: Tensor, stance: Tensor, place: Tensor, count: int) -> Tensor:
        """Return the scores of the cues alone, ``[sentences, SLOTS, 2 * roles]``."""
        joined = ((cues * 31 + stance.unsqueeze(1) * 7919) % (_JOINED - 1) + 1) * (cues > 0)
        scores: Tensor = self.direct(cues).sum(dim=1) + self.joined(joined).sum(dim=1)
        return scores.new_zeros(count * SLOTS, scores.shape[-1]).index_copy(0, place, scores).view(count, SLOTS, 2 * len(ROLES))


class ArticleNetwork(EncoderNetwork):
    """An encoder of single sentences, a sequence network over those of an article, and heads.

    The sequence network has the encoder's width. Each head reads the sentence's own vector and its
    output of the sequence network. Sides of dyads are scored if ``dyads`` is true and the scheme
    has a single-label task ``stance`` with the label ``neutral``, which has the index ``neutral``.
    """

    def __init__(self, encoder: nn.Module, scheme: Scheme, spec: ArticleSpec, dyads: bool = False) -> None:
        """Create the new layers; weights of embeddings and heads are drawn from N(0, 0.02²)."""
        super().__init__(encoder, scheme, spec)
        width, layers, dropout = self.width, spec.layers, spec.dropout
        # One more than the window, for the headline before it.
        self.positions, self.kinds = nn.Embedding(spec.window + 1, width), nn.Embedding(2, width)
        layer = nn.TransformerEncoderLayer(width, max(1, width // 64), 2 * width, dropout, batch_first=True, norm_first=True)
        self.sequence = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.heads = Heads({task.name: nn.Linear(2 * width, len(task)) for task in scheme})
        self.finds_dyads = dyads and STANCE in scheme.names and scheme[STANCE].kind == "single" and NEUTRAL in scheme[STANCE].ids
        self.neutral = scheme[STANCE].index(NEUTRAL) if self.finds_dyads else 0
        self.actors = ActorHead(width, len(scheme[STANCE])) if self.finds_dyads else None
        for table in (self.positions, self.kinds, *self.heads.values()):
            nn.init.normal_(table.weight, std=0.02)  # type: ignore[arg-type]
        for head in self.heads.values():
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, articles: ArticleBatch, stances: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return each task's logits, ``[rows, labels]`` in float32, and what ``ActorHead`` returns.

        The latter is None if there are no candidates to score. ``stances`` ``[rows, labels]`` are
        probabilities that replace the network's own, except in rows that are all 0.
        """
        states = [self.states(part) for part in articles.parts]
        parts = zip(states, articles.parts, strict=True)
        sentences = torch.cat([means(state, part.sentence, len(part.starts)) for state, part in parts])
        vectors = self.vectors(sentences, articles.place, articles.kind)[articles.wanted]
        logits, actors = self.logits(vectors), articles.actors
        if actors is None or self.actors is None or not len(actors.rows):
            return logits, None
        tokens = torch.cat([state.reshape(-1, state.shape[-1]) for state in states]).index_select(0, actors.tokens)
        sums = tokens.new_zeros(2 * len(actors.sentence), tokens.shape[-1]).index_add(0, actors.mention, tokens)
        counts = torch.bincount(actors.mention, minlength=len(sums)).clamp(min=1).unsqueeze(1)
        mentions = (sums / counts).view(len(actors.sentence), -1)
        likely = self.likely(logits)[actors.rows]
        if stances is not None:
            given = stances[actors.rows]
            likely = torch.where(given.sum(dim=1, keepdim=True) > 0, given, likely)
        with torch.autocast(mentions.device.type, enabled=False):
            return logits, self.actors(mentions, vectors[actors.rows], likely, actors.cues, actors.sentence, actors.slot)

    def states(self, part: Packed) -> Tensor:
        """Return the vector of each token, ``[rows, tokens, width]``."""
        types = {} if part.token_type_ids is None else {"token_type_ids": part.token_type_ids}
        # Tokens attend within their sentence, padding to padding, so that no softmax is empty.
        own = (part.sentence.unsqueeze(1) == part.sentence.unsqueeze(2)).unsqueeze(1)
        mask = torch.zeros(own.shape, device=own.device).masked_fill(~own, torch.finfo(torch.bfloat16).min)
        states: Tensor = self.encoder(input_ids=part.input_ids, attention_mask=mask, position_ids=part.positions, **types).last_hidden_state
        return states.float()

    def vectors(self, sentences: Tensor, place: Tensor, kind: Tensor) -> Tensor:
        """Return each sentence's own vector, concatenated with its output of the sequence network.

        The shape is ``[sentences, 2 * width]``; ``place`` and ``kind`` are as in ``ArticleBatch``.
        """
        # In float32, which costs next to nothing in so small a network.
        with torch.autocast(sentences.device.type, enabled=False):
            count, longest = kind.shape
            table = sentences.new_zeros(count * longest, sentences.shape[-1]).index_copy(0, place, sentences)
            # A table may be padded beyond the window.
            number = torch.arange(longest, device=kind.device).clamp(max=self.positions.num_embeddings - 1)
            known = self.positions(number) + self.kinds(kind.clamp(min=0))
            table, padding = table.view(count, longest, -1) + known, kind < 0
            seen = self._by_size(table, padding) if self.training else self.sequence(table, src_key_padding_mask=padding)
            return torch.cat([sentences, seen.reshape(count * longest, seen.shape[-1])[place]], dim=-1)

    def _by_size(self, table: Tensor, padding: Tensor) -> Tensor:
        """Apply ``sequence`` without padding single sentences, which are most of a batch."""
        out, single = torch.zeros_like(table), padding[:, 1:].all(dim=1)
        for rows, size in ((single, 1), (~single, table.shape[1])):
            if rows.any():
                out[rows, :size] = self.sequence(table[rows, :size], src_key_padding_mask=padding[rows, :size])
        return out

    def logits(self, vectors: Tensor) -> dict[str, Tensor]:
        """Return the logits of each task, ``[sentences, labels]`` in float32."""
        read = self.dropout(vectors)
        return {task: head(read).float() for task, head in self.heads.items()}

    def likely(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Return each stance's probability, given that it is not neutral, ``[sentences, stances]``.

        The actor head scores who takes a stance if there is one; neutral gets 0.
        """
        stances = logits[STANCE].detach()
        is_neutral = torch.arange(stances.shape[1], device=stances.device) == self.neutral
        return stances.masked_fill(is_neutral, torch.finfo(stances.dtype).min / 2).softmax(dim=-1)


class ArticleModel(EncoderModel):
    """A network that reads articles, and everything it needs to predict."""

    kind = "article"
    reads_articles = True
    network_type, spec_type = ArticleNetwork, ArticleSpec
    network: ArticleNetwork
    spec: ArticleSpec

    def encode(self, sentences: Sequence[Segment]) -> list[Tokens]:
        """Return the token ids of each sentence, its target before it if the model reads that."""
        return encode(sentences, self.tokenizer, self.spec.read, self.spec.max_length, self.encoder.prefix)

    def articles(
        self, chosen: Sequence[Unit], tokens: Sequence[Sequence[Tokens]], asked: Callable[[int], bool] = lambda row: True
    ) -> tuple[ArticleBatch, list[int]]:
        """Return the batch of some units, given their sentences' tokens, and the labelled rows.

        The rows are in the order of the logits. Dyads are scored in those that are ``asked`` for.
        """
        every = [one for unit in tokens for one in unit]
        rows = [{"input_ids": one.ids, **({"token_type_ids": one.types} if self.with_types else {})} for one in every]
        parts, starts, base = [], list[int](), 0
        for start in range(0, len(rows), _PACKED):
            width = _width(list(map(len, every[start : start + _PACKED])))
            feeds, begin = pack(rows[start : start + _PACKED], self.pad, first_position(self.network.encoder.config), width)
            parts.append(Packed(**{name: torch.from_numpy(values) for name, values in feeds.items()}, starts=torch.tensor(begin)))
            starts += [base + one for one in begin]
            base += feeds["input_ids"].size
        where = {name: torch.from_numpy(values) for name, values in places([unit.rows for unit in chosen]).items()}
        labelled = [row for unit in chosen for row in unit.rows]
        wanted = torch.tensor([number for number, row in enumerate(labelled) if row is not None])
        actors = None if self.network.actors is None else ActorBatch(*map(torch.from_numpy, actor_batch(chosen, every, starts, asked)))
        batch: ArticleBatch = send_to_device(ArticleBatch(parts, where["place"], where["kind"], wanted, actors), self.device)
        return batch, [row for row in labelled if row is not None]

    def answers(
        self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto", stances: Stances = None, seek: bool = True
    ) -> Answers:
        """Return the calibrated probabilities, float64 ``[segments, labels]``, and the actors."""
        every = units(segments, self.spec.window, actors=self.actors if seek else None)
        out = {task.name: np.zeros((len(segments), len(task))) for task in self.scheme}
        actors: list[tuple[ActorAnswer, ...]] = [()] * len(segments)
        with predicting(self, precision, len(segments), progress) as done:
            for numbers in batches([len(unit.rows) for unit in every], _SENTENCES):
                chosen = [every[number] for number in numbers]
                articles, rows = self.articles(chosen, [self.encode(unit.sentences) for unit in chosen])
                given = None
                if stances is not None:
                    task = self.scheme[STANCE]
                    given = torch.eye(len(task), device=self.device)[[task.index(stances[row]) for row in rows]]
                logits_of, sides = self.network(articles, given)
                for name, logits in logits_of.items():
                    out[name][rows] = likely(logits, self.scheme[name])
                if sides is not None:
                    named = (found for unit in chosen for found in unit.named if found)
                    asked = articles.actors.rows.tolist()  # type: ignore[union-attr]
                    for row, found, of in zip(asked, named, sides.exp().cpu().unbind(1), strict=True):
                        actors[rows[row]] = actor_answers(found, of.numpy())
                done(len(rows))
        return Answers(calibrated(out, self.scheme, self.calibration), actors)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write weights, tokenizer and config; return the model's part of the description."""
        return {**super().write(folder), "dyads": self.finds_dyads}


def _width(lengths: Sequence[int]) -> int:
    """Return the width of rows with the least padding; for over ``_FEW`` sentences the smallest."""
    if len(lengths) > _FEW:
        return _WIDTHS[0]
    ends = {width: fitted(lengths, width)[0] for width in _WIDTHS}
    return min(ends, key=lambda width: len(ends[width]) * max(ends[width]))


def means(states: Tensor, sentence: Tensor, count: int) -> Tensor:
    """Return the mean token vector of each of ``count`` sentences, ``[sentences, width]``.

    ``states`` are ``[rows, tokens, width]``, and ``sentence`` is ``[rows, tokens]``.
    """
    with torch.autocast(states.device.type, enabled=False):
        belongs = (torch.arange(count, device=sentence.device).unsqueeze(1) == sentence.reshape(1, -1)).to(states.dtype)
        return belongs @ states.reshape(-1, states.shape[-1]) / belongs.sum(dim=1, keepdim=True).clamp(min=1)


def build(encoder: Encoder, spec: ArticleSpec, scheme: Scheme, dyads: bool = False) -> ArticleModel:
    """Return a model to train: the encoder as ``pretrained`` returns it, with new layers.

    ``dyads`` says whether to learn their sides, if the scheme has their stances.
    ``UserError`` is raised as by ``pretrained``, or if the encoder's family is not supported.
    """
    encoder, body, tokenizer = pretrained(encoder, spec.checked(scheme))
    if (family := str(body.config.model_type)) not in _FAMILIES:  # type: ignore[union-attr]
        raise UserError(f"model=article needs an encoder of the families {listed(_FAMILIES)}, not {family}; use model=network")
    return ArticleModel(ArticleNetwork(body, scheme, spec, dyads), tokenizer, scheme, spec, encoder)
