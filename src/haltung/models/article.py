"""The model of whole articles: each sentence is read once, and labelled beside its neighbours."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from haltung.actors.candidates import ITSELF, ROLES, Candidate, candidates
from haltung.actors.finder import Actors
from haltung.encoders.load import Encoder
from haltung.encoders.tokens import Tokens, encode
from haltung.errors import UserError, listed
from haltung.labels import NEUTRAL, STANCE, Scheme
from haltung.models.article_network import CUES, SLOTS, ActorBatch, ArticleBatch, ArticleNetwork, Packed, pack
from haltung.models.calibration import Calibration, calibrated
from haltung.models.neural import autocast, first_position, pretrained, read_body, read_weights, write_parts
from haltung.models.predictor import Model, predictions
from haltung.models.spec import ArticleSpec
from haltung.records import ActorAnswer, Prediction, Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Encoders whose positions and attention can be told which tokens belong together.
_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")

# Sentences that are read at once.
_PACKED = 256

# Sentences whose vectors are kept before their articles are read.
_SENTENCES = 8192


@dataclass(frozen=True)
class Unit:
    """Sentences that are read together, in order.

    ``rows`` has each sentence's number among the segments, None for a headline or a context, which
    is not labelled; ``named`` has the candidates for the sides of each sentence's dyads, whose
    ``before`` counts the sentences of the unit.
    """

    sentences: tuple[Segment, ...]
    rows: tuple[int | None, ...]
    named: tuple[tuple[Candidate, ...], ...] = ()

    @property
    def labelled(self) -> int:
        """How many sentences are to be labelled."""
        return sum(row is not None for row in self.rows)


def units(
    segments: Sequence[Segment], window: int, alone: Callable[[str], bool] = lambda article: False, actors: Actors | None = None
) -> list[Unit]:
    """Return what is read together: the segments of an article by position, below its headline.

    A segment without a position is read behind its context. An article longer than ``window`` is
    cut into parts, each below the headline; an article that is ``alone`` into single sentences
    without headline or context. A segment of no article is asked for by its id. With ``actors`` the
    candidates of each sentence are found in the whole article.
    """
    articles: dict[str, list[int]] = {}
    whole = []
    for row, segment in enumerate(segments):
        if segment.article and segment.position is not None:
            articles.setdefault(segment.article, []).append(row)
        else:
            whole.append(_unit([row], segments, "" if alone(segment.article or segment.id) else segment.context))
    for article, rows in articles.items():
        if alone(article):
            whole += [_unit([row], segments, "") for row in rows]
        else:
            whole.append(_unit(sorted(rows, key=lambda row: segments[row].position or 0), segments, segments[rows[0]].headline))
    if actors is not None:
        whole = [_with_candidates(unit, actors) for unit in whole]
    return [part for unit in whole for part in _cut(unit, window)]


def _unit(rows: Sequence[int], segments: Sequence[Segment], before: str) -> Unit:
    first = (Segment("", before.strip()),) if before.strip() else ()
    return Unit((*first, *(segments[row] for row in rows)), (*(None for _ in first), *rows))


def _with_candidates(unit: Unit, actors: Actors) -> Unit:
    texts = [sentence.text for sentence in unit.sentences]
    mentions = actors.article(texts, unit.sentences[-1].date)
    found = (() if row is None else candidates(texts, mentions, number) for number, row in enumerate(unit.rows))
    return replace(unit, named=tuple(found))


def _cut(unit: Unit, window: int) -> Iterator[Unit]:
    if unit.labelled <= window:
        yield unit
        return
    first = len(unit.rows) - unit.labelled
    for start in range(first, len(unit.rows), window):
        chosen = [*range(first), *range(start, min(start + window, len(unit.rows)))]
        number_of = {old: new for new, old in enumerate(chosen)}
        named = [tuple(_moved(one, number_of) for one in unit.named[number]) for number in chosen] if unit.named else []
        yield Unit(tuple(unit.sentences[number] for number in chosen), tuple(unit.rows[number] for number in chosen), tuple(named))


def _moved(candidate: Candidate, number_of: Mapping[int, int]) -> Candidate:
    if candidate.before is None or candidate.before[0] not in number_of:
        return replace(candidate, before=None)
    return replace(candidate, before=(number_of[candidate.before[0]], candidate.before[1]))


class ArticleModel(Model):
    """A network that reads articles, and all that it needs to predict."""

    kind = "article"

    def __init__(
        self, network: ArticleNetwork, tokenizer: PreTrainedTokenizerBase, scheme: Scheme, spec: ArticleSpec, encoder: Encoder
    ) -> None:
        """Assemble the parts."""
        self.network, self.tokenizer, self.scheme, self.spec, self.encoder = network, tokenizer, scheme, spec, encoder
        self.calibration = Calibration()
        self._actors: Actors | None = None

    @property
    def reads_articles(self) -> bool:
        """Whether the other segments of its article play a part in a segment's prediction."""
        return True

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    @property
    def actors(self) -> Actors | None:
        """The tables that name actors, if the model finds dyads; others can be set."""
        if self._actors is None and self.network.actors is not None:
            self._actors = Actors.load()
        return self._actors

    @actors.setter
    def actors(self, actors: Actors) -> None:
        self._actors = actors if self.network.actors is not None else None

    def encode(self, sentences: Sequence[Segment]) -> list[Tokens]:
        """Return the token ids of each sentence, its target before it if the model reads that."""
        return encode(sentences, self.tokenizer, self.spec.read, self.spec.max_length, self.encoder.prefix)

    def articles(
        self, chosen: Sequence[Unit], tokens: Sequence[Sequence[Tokens]], asked: Callable[[int], bool] = lambda row: True
    ) -> tuple[ArticleBatch, list[int]]:
        """Return the tensors of some units, given the tokens of their sentences, and their rows.

        The rows are those of the units' labelled sentences, in the order of the logits. Dyads are
        ``asked`` for by row.
        """
        longest = max(len(unit.rows) for unit in chosen)
        flat = [(number * longest + place, row) for number, unit in enumerate(chosen) for place, row in enumerate(unit.rows)]
        every = [one for unit in tokens for one in unit]
        pad, with_types = int(self.tokenizer.pad_token_id), "token_type_ids" in self.tokenizer.model_input_names
        first = first_position(self.network.encoder.config)
        groups = (every[start : start + _PACKED] for start in range(0, len(every), _PACKED))
        parts = [pack(group, pad, with_types, first) for group in groups]
        place, kind = torch.tensor([where for where, _ in flat]), torch.tensor([int(row is not None) for _, row in flat])
        wanted = [(where, row) for where, row in flat if row is not None]
        actors = actor_batch(chosen, every, parts, asked) if self.network.actors is not None else None
        batch = ArticleBatch(parts, place, kind, (len(chosen), longest), torch.tensor([where for where, _ in wanted]), actors)
        return batch.to(self.device), [row for _, row in wanted]

    def probabilities(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return the calibrated probabilities of each task, float64 ``[segments, labels]``."""
        return self._read(segments, progress, precision)[0]

    def predict(self, segments: Sequence[Segment], progress: bool = False, stances: Sequence[str] | None = None) -> list[Prediction]:
        """Return a prediction for each segment, in order, with its actors.

        ``stances`` are the true ones of the segments, if they are known, to seek the actors of.
        """
        probabilities, answers = self._read(segments, progress, stances=stances)
        plain = predictions([segment.id for segment in segments], probabilities, self.scheme)
        return [replace(one, actors=answers.get(row, ())) for row, one in enumerate(plain)]

    def _read(
        self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto", stances: Sequence[str] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[int, tuple[ActorAnswer, ...]]]:
        from tqdm import tqdm

        out = {task.name: np.zeros((len(segments), len(task)), dtype=np.float64) for task in self.scheme}
        answers: dict[int, tuple[ActorAnswer, ...]] = {}
        was_training = self.network.training
        self.network.eval()
        try:
            with (
                torch.inference_mode(),
                autocast(self.device) if precision == "auto" else nullcontext(),
                tqdm(total=len(segments), desc="predict", unit=" segments", delay=2, disable=not progress, leave=False) as bar,
            ):
                for chosen in _chunks(units(segments, self.spec.window, actors=self.actors), _SENTENCES):
                    articles, rows = self.articles(chosen, [self.encode(unit.sentences) for unit in chosen])
                    given = None if stances is None else self.one_hot([stances[row] for row in rows])
                    logits_of, sides = self.network(articles, given)
                    for name, logits in logits_of.items():
                        values = logits.double()
                        values = values.softmax(dim=-1) if self.scheme[name].kind == "single" else values.sigmoid()
                        out[name][rows] = values.cpu().numpy()
                    if sides is not None:
                        named = (found for unit in chosen for found in unit.named if found)
                        places = articles.actors.rows.tolist()  # type: ignore[union-attr]
                        for place, found, of in zip(places, named, sides.exp().cpu().unbind(1), strict=True):
                            answers[rows[place]] = actor_answers(found, of.numpy())
                    bar.update(len(rows))
        finally:
            self.network.train(was_training)
        return calibrated(out, self.scheme, self.calibration), answers

    def one_hot(self, stances: Sequence[str]) -> torch.Tensor:
        """Return certain stances, ``[stances, labels]``."""
        task = self.scheme[STANCE]
        return torch.eye(len(task), device=self.device)[[task.index(stance) for stance in stances]]

    def write(self, folder: Path) -> dict[str, Any]:
        """Write weights, tokenizer and config; return the model's part of the description."""
        return {**write_parts(self, folder), "dyads": self.network.actors is not None}

    @classmethod
    def read(cls, folder: Path, scheme: Scheme, description: Mapping[str, Any]) -> ArticleModel:
        """Read what ``write`` writes; ``UserError`` if a file is missing or does not match."""
        spec, encoder = ArticleSpec(**description["model"]), Encoder(**description["encoder"])
        body, tokenizer = read_body(folder, spec)
        return cls(read_weights(folder, _network(body, scheme, spec, description.get("dyads", False))), tokenizer, scheme, spec, encoder)


def build(encoder: Encoder, spec: ArticleSpec, scheme: Scheme, dyads: bool = False) -> ArticleModel:
    """Return a model to train: the pretrained encoder, frozen as in ``spec``, and the new parts.

    ``dyads`` says whether there are any to learn, which the scheme has the stances of. ``UserError``
    is raised if the encoder can't be loaded, or has too few layers or tokens.
    """
    encoder, body, tokenizer = pretrained(encoder, spec.checked(scheme))
    if (family := str(body.config.model_type)) not in _FAMILIES:  # type: ignore[union-attr]
        raise UserError(f"model=article reads with encoders of the families {listed(_FAMILIES)}, not {family}; take model=network")
    return ArticleModel(_network(body, scheme, spec, dyads), tokenizer, scheme, spec, encoder)


def actor_batch(chosen: Sequence[Unit], tokens: Sequence[Tokens], parts: Sequence[Packed], asked: Callable[[int], bool]) -> ActorBatch:
    """Return the tensors of the candidates of those sentences that have any and are asked for."""
    starts, base = [], 0
    for part in parts:
        starts += (part.starts + base).tolist()
        base += part.ids.numel()
    rows: list[int] = []
    places: list[tuple[int, int]] = []
    cues: list[list[int]] = []
    mentions: list[tuple[int, int]] = []
    row = first = 0
    for unit in chosen:
        for number, segment in enumerate(unit.rows):
            if segment is None:
                continue
            named = unit.named[number] if asked(segment) else ()
            for slot, one in enumerate(named):
                spans = [(0, number, span) for span in one.spans] + ([(1, *one.before)] if one.before else [])
                for which, sentence, span in spans:
                    found = tokens[first + sentence].within(*span)
                    mentions += [(starts[first + sentence] + token, 2 * len(places) + which) for token in found]
                places.append((len(rows), slot))
                cues.append([cue_number(cue) for cue in one.cues])
            rows += [row] if named else []
            row += 1
        first += len(unit.rows)
    longest = max(map(len, cues), default=0)
    return ActorBatch(
        torch.tensor(rows, dtype=torch.long),
        *torch.tensor(places, dtype=torch.long).view(-1, 2).unbind(1),
        torch.tensor([one + [0] * (longest - len(one)) for one in cues], dtype=torch.long).view(len(places), longest),
        *torch.tensor(mentions, dtype=torch.long).view(-1, 2).unbind(1),
    )


def cue_number(cue: str) -> int:
    """Return the number of a cue's embedding: its CRC-32, so that no vocabulary has to be kept."""
    return zlib.crc32(cue.encode()) % (CUES - 1) + 1


def actor_answers(named: Sequence[Candidate], sides: np.ndarray) -> tuple[ActorAnswer, ...]:
    """Return the probabilities of a sentence's candidates, given ``[2, SLOTS * roles]``."""
    source, target = sides.reshape(2, SLOTS, len(ROLES))
    roles = [(ITSELF,), *([ROLES] * (len(named) - 1))]
    return tuple(
        ActorAnswer(one.code, one.spans, *(dict(zip(of, map(float, side[slot]), strict=False)) for side in (source, target)))
        for slot, (one, of) in enumerate(zip(named, roles, strict=True))
    )


def _network(body: torch.nn.Module, scheme: Scheme, spec: ArticleSpec, dyads: bool) -> ArticleNetwork:
    sizes = {task.name: len(task) for task in scheme}
    finds = dyads and STANCE in sizes and scheme[STANCE].kind == "single" and NEUTRAL in scheme[STANCE].ids
    about = (STANCE, scheme[STANCE].index(NEUTRAL)) if finds else ("", 0)
    return ArticleNetwork(body, sizes, spec.sequence, spec.layers, spec.window, spec.dropout, *about)


def _chunks(every: Sequence[Unit], sentences: int) -> Iterator[list[Unit]]:
    """Yield the units in lists of about so many sentences, those of similar length together."""
    chunk: list[Unit] = []
    count = 0
    for unit in sorted(every, key=lambda unit: len(unit.rows)):
        chunk.append(unit)
        count += len(unit.rows)
        if count >= sentences:
            yield chunk
            chunk, count = [], 0
    if chunk:
        yield chunk
