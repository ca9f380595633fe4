"""The model of whole articles: each sentence is read once, and labelled beside its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from haltung.encoders.load import Encoder
from haltung.encoders.tokens import Tokens, encode
from haltung.errors import UserError, listed
from haltung.labels import Scheme
from haltung.models.calibration import Calibration, calibrated
from haltung.models.network import ArticleBatch, ArticleNetwork, pack
from haltung.models.neural import autocast, first_position, pretrained, read_body, read_weights, write_parts
from haltung.models.predictor import Model
from haltung.models.spec import ArticleSpec
from haltung.records import Segment

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
    is not labelled.
    """

    sentences: tuple[Segment, ...]
    rows: tuple[int | None, ...]

    @property
    def labelled(self) -> int:
        """How many sentences are to be labelled."""
        return sum(row is not None for row in self.rows)


def units(segments: Sequence[Segment], window: int, alone: Callable[[str], bool] = lambda article: False) -> list[Unit]:
    """Return what is read together: the segments of an article by position, below its headline.

    A segment without a position is read behind its context. An article longer than ``window`` is
    cut into parts, each below the headline; an article that is ``alone`` into single sentences
    without headline or context. A segment of no article is asked for by its id.
    """
    articles: dict[str, list[int]] = {}
    out = []
    for row, segment in enumerate(segments):
        if segment.article and segment.position is not None:
            articles.setdefault(segment.article, []).append(row)
        else:
            out.append(_unit([row], segments, "" if alone(segment.article or segment.id) else segment.context))
    for article, rows in articles.items():
        if alone(article):
            out += [Unit((segments[row],), (row,)) for row in rows]
            continue
        rows.sort(key=lambda row: segments[row].position or 0)
        out += [_unit(rows[start : start + window], segments, segments[rows[0]].headline) for start in range(0, len(rows), window)]
    return out


def _unit(rows: Sequence[int], segments: Sequence[Segment], before: str) -> Unit:
    first = (Segment("", before.strip()),) if before.strip() else ()
    return Unit((*first, *(segments[row] for row in rows)), (*(None for _ in first), *rows))


class ArticleModel(Model):
    """A network that reads articles, and all that it needs to predict."""

    kind = "article"

    def __init__(
        self, network: ArticleNetwork, tokenizer: PreTrainedTokenizerBase, scheme: Scheme, spec: ArticleSpec, encoder: Encoder
    ) -> None:
        """Assemble the parts."""
        self.network, self.tokenizer, self.scheme, self.spec, self.encoder = network, tokenizer, scheme, spec, encoder
        self.calibration = Calibration()

    @property
    def reads_articles(self) -> bool:
        """Whether the other segments of its article play a part in a segment's prediction."""
        return True

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    def encode(self, sentences: Sequence[Segment]) -> list[Tokens]:
        """Return the token ids of each sentence, its target before it if the model reads that."""
        return encode(sentences, self.tokenizer, self.spec.read, self.spec.max_length, self.encoder.prefix)

    def articles(self, chosen: Sequence[Unit], tokens: Sequence[Sequence[Tokens]]) -> tuple[ArticleBatch, list[int]]:
        """Return the tensors of some units, given the tokens of their sentences, and their rows.

        The rows are those of the units' labelled sentences, in the order of the logits.
        """
        longest = max(len(unit.rows) for unit in chosen)
        flat = [(number * longest + place, row) for number, unit in enumerate(chosen) for place, row in enumerate(unit.rows)]
        every = [one for unit in tokens for one in unit]
        pad, with_types = int(self.tokenizer.pad_token_id), "token_type_ids" in self.tokenizer.model_input_names
        first = first_position(self.network.encoder.config)
        groups = (every[start : start + _PACKED] for start in range(0, len(every), _PACKED))
        parts = [pack(group, pad, with_types, first).to(self.device) for group in groups]
        place = torch.tensor([where for where, _ in flat], device=self.device)
        kind = torch.tensor([int(row is not None) for _, row in flat], device=self.device)
        wanted = [(where, row) for where, row in flat if row is not None]
        return (
            ArticleBatch(parts, place, kind, (len(chosen), longest), torch.tensor([where for where, _ in wanted], device=self.device)),
            [row for _, row in wanted],
        )

    def probabilities(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return the calibrated probabilities of each task, float64 ``[segments, labels]``."""
        from tqdm import tqdm

        out = {task.name: np.zeros((len(segments), len(task)), dtype=np.float64) for task in self.scheme}
        was_training = self.network.training
        self.network.eval()
        try:
            with (
                torch.inference_mode(),
                autocast(self.device) if precision == "auto" else nullcontext(),
                tqdm(total=len(segments), desc="predict", unit=" segments", delay=2, disable=not progress, leave=False) as bar,
            ):
                for chosen in _chunks(units(segments, self.spec.window), _SENTENCES):
                    tokens = [self.encode(unit.sentences) for unit in chosen]
                    articles, rows = self.articles(chosen, tokens)
                    for name, logits in self.network(articles).items():
                        values = logits.double()
                        values = values.softmax(dim=-1) if self.scheme[name].kind == "single" else values.sigmoid()
                        out[name][rows] = values.cpu().numpy()
                    bar.update(len(rows))
        finally:
            self.network.train(was_training)
        return calibrated(out, self.scheme, self.calibration)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write weights, tokenizer and config; return the model's part of the description."""
        return write_parts(self, folder)

    @classmethod
    def read(cls, folder: Path, scheme: Scheme, description: Mapping[str, Any]) -> ArticleModel:
        """Read what ``write`` writes; ``UserError`` if a file is missing or does not match."""
        spec, encoder = ArticleSpec(**description["model"]), Encoder(**description["encoder"])
        body, tokenizer = read_body(folder, spec)
        return cls(read_weights(folder, _network(body, scheme, spec)), tokenizer, scheme, spec, encoder)


def build(encoder: Encoder, spec: ArticleSpec, scheme: Scheme) -> ArticleModel:
    """Return a model to train: the pretrained encoder, frozen as in ``spec``, and the new parts.

    ``UserError`` is raised if the encoder can't be loaded, or has too few layers or tokens.
    """
    encoder, body, tokenizer = pretrained(encoder, spec.checked(scheme))
    if (family := str(body.config.model_type)) not in _FAMILIES:  # type: ignore[union-attr]
        raise UserError(f"model=article reads with encoders of the families {listed(_FAMILIES)}, not {family}; take model=network")
    return ArticleModel(_network(body, scheme, spec), tokenizer, scheme, spec, encoder)


def _network(body: torch.nn.Module, scheme: Scheme, spec: ArticleSpec) -> ArticleNetwork:
    return ArticleNetwork(body, {task.name: len(task) for task in scheme}, spec.sequence, spec.layers, spec.window, spec.dropout)


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
