"""The settings of a server, and its engine: a bundle whose graph runs in one thread."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from haltung.errors import UserError
from haltung.inference.client import Classifier
from haltung.inference.sessions import Graph
from haltung.models.bundle import ExportedModel, broken_parts, first_loaded, graphs_for
from haltung.models.units import Unit

KEY_VARIABLE = "HALTUNG_API_KEY"  # so that no list of processes shows the key
_MAX_TOKENS = 512  # the longest estimate for a linear model, which reads a text of any length
_SIMILAR = 0.8  # minimum length as a share of a batch's longest text; less padding would cost more runs
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Settings:
    """How a bundle is served: the keys of ``configs/serve.yaml``, which describes each of them.

    ``timeout`` counts from the last byte of a request; ``key`` is what callers have to send.
    """

    bundle: Path
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    runtime: Literal["auto", "onnxruntime", "openvino"] = "auto"
    format: str = "auto"
    threads: Count | None = None
    batch: Count = 32
    tokens: Count = 1024
    wait: Annotated[float, Field(ge=0)] = 0.002
    texts: Count = 512
    characters: Count = 100_000
    bytes: Count = 2_000_000
    queue: Count = 2048
    cache: Annotated[int, Field(ge=0)] = 16_000_000
    connections: Count = 512
    timeout: Annotated[float, Field(gt=0)] = 30.0
    drain: Annotated[float, Field(ge=0)] = 0.5
    origins: tuple[str, ...] = ()
    key: str | None = None

    def __post_init__(self) -> None:
        """Raise ``UserError`` if the largest request exceeds the queue or an origin is invalid."""
        if self.texts > self.queue:
            sentence = f"texts is {self.texts} and queue is {self.queue}, so the largest allowed request never fits; make queue larger"
            raise UserError(sentence)
        for origin in self.origins:
            scheme, _, rest = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not rest or "/" in rest):
                raise UserError(f"origins has '{origin}'; an origin is a scheme and a host, such as https://example.org, or * for all")


def secret(file: str | None) -> str | None:
    """Return the key that callers have to send, None for no key; ``UserError`` if it is invalid."""
    key = os.environ.get(KEY_VARIABLE)
    if file is not None:
        try:
            key = (Path(file).read_text(encoding="utf-8").splitlines() or [""])[0]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the key file {file} can't be read ({error}); name a text file with the key in its first line") from None
    if key is None:
        return None
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        where = file or KEY_VARIABLE
        raise UserError(f"the key in {where} is empty or has characters other than plain letters, digits and signs; use only these")
    return key


class Engine(ExportedModel):
    """A bundle whose graph runs on the chosen runtime; to be called from one thread only.

    A run of the graph has at most ``tokens`` tokens, padding included, or a single text or article.
    """

    def __init__(self, classifier: Classifier, graph: Graph, tokens: int) -> None:
        self.graph = graph
        super().__init__(classifier, graph)
        # Articles need no padding. The shortest come first, so that nobody waits for the long ones.
        self.tokens, self.similar, self.shortest_first = tokens, 0.0 if self.reads_articles else _SIMILAR, True

    def size(self, unit: Unit) -> tuple[int, int]:
        """Return how many texts of a unit are labelled, and its approximate number of tokens."""
        longest = int(self.classifier.description["input"].get("max_length", _MAX_TOKENS))
        characters = [len(one.text) + len(one.target) + (0 if self.reads_articles else len(one.context)) for one in unit.sentences]
        # German news has about four characters per token.
        return unit.labelled, sum(min(longest, 8 + count // 4) for count in characters) * len(self.classifier.views)


def open_engine(settings: Settings) -> Engine:
    """Load a bundle's graph with the set or preferred runtime; ``UserError`` if none can do so."""
    with broken_parts(settings.bundle):
        classifier = Classifier(settings.bundle, format=None)
        graphs = graphs_for(settings.bundle, classifier.description, settings.runtime, settings.format, settings.threads)
        return first_loaded(graphs, lambda graph: Engine(classifier, graph, settings.tokens))
