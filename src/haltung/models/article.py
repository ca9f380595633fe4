"""The model of whole articles: each sentence is read once, and labelled beside its neighbours."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device

from haltung.encoders.load import Encoder
from haltung.encoders.tokens import Tokens, encode
from haltung.errors import UserError, listed
from haltung.inference.client import batches, pack, places
from haltung.labels import STANCE, Scheme
from haltung.models.article_network import ArticleBatch, ArticleNetwork, Packed
from haltung.models.calibration import calibrated
from haltung.models.neural import EncoderModel, first_position, likely, predicting, pretrained
from haltung.models.predictor import Answers
from haltung.models.spec import ArticleSpec
from haltung.models.units import ActorBatch, Unit, actor_answers, actor_batch, units
from haltung.records import ActorAnswer, Segment

# Encoders whose positions and attention can be told which tokens belong together.
_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")

# Sentences that are read at once.
_PACKED = 256

# The most sentences of articles that are read at once, whose tokens' vectors are kept.
_SENTENCES = 1024


class ArticleModel(EncoderModel):
    """A network that reads articles, and all that it needs to predict."""

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
        """Return the tensors of some units, given the tokens of their sentences, and their rows.

        The rows are those of the units' labelled sentences, in the order of the logits. Dyads are
        ``asked`` for by row.
        """
        every = [one for unit in tokens for one in unit]
        rows = [{"input_ids": one.ids, **({"token_type_ids": one.types} if self.with_types else {})} for one in every]
        parts, starts, base = [], list[int](), 0
        for start in range(0, len(rows), _PACKED):
            feeds, begin = pack(rows[start : start + _PACKED], self.pad, first_position(self.network.encoder.config))
            parts.append(Packed.of(feeds, begin))
            starts += [base + one for one in begin]
            base += feeds["input_ids"].size
        where = {name: torch.from_numpy(values) for name, values in places([unit.rows for unit in chosen]).items()}
        labelled = [row for unit in chosen for row in unit.rows]
        wanted = torch.tensor([number for number, row in enumerate(labelled) if row is not None])
        actors = None if self.network.actors is None else ActorBatch(*map(torch.from_numpy, actor_batch(chosen, every, starts, asked)))
        batch: ArticleBatch = send_to_device(ArticleBatch(parts, where["place"], where["kind"], wanted, actors), self.device)
        return batch, [row for row in labelled if row is not None]

    def answers(
        self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto", stances: Sequence[str] | None = None
    ) -> Answers:
        """Return the calibrated probabilities, float64 ``[segments, labels]``, and the actors."""
        out = {task.name: np.zeros((len(segments), len(task))) for task in self.scheme}
        actors: list[tuple[ActorAnswer, ...]] = [()] * len(segments)
        every = units(segments, self.spec.window, actors=self.actors)
        with predicting(self.network, precision, len(segments), progress) as done:
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


def build(encoder: Encoder, spec: ArticleSpec, scheme: Scheme, dyads: bool = False) -> ArticleModel:
    """Return a model to train: the encoder as ``pretrained`` returns it, and the new parts.

    ``dyads`` says whether there are any to learn, which the scheme has the stances of.
    ``UserError`` is raised as by ``pretrained``, or if the encoder is of another family.
    """
    encoder, body, tokenizer = pretrained(encoder, spec.checked(scheme))
    if (family := str(body.config.model_type)) not in _FAMILIES:  # type: ignore[union-attr]
        raise UserError(f"model=article reads with encoders of the families {listed(_FAMILIES)}, not {family}; take model=network")
    return ArticleModel(ArticleNetwork(body, scheme, spec, dyads), tokenizer, scheme, spec, encoder)
