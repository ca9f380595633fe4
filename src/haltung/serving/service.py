"""What the endpoints share: the model's answers, by way of the batcher, and refusals in place of its faults."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from haltung.inference.client import BundleError
from haltung.serving.answers import Refused
from haltung.serving.dyads import Finder, finder
from haltung.serving.engine import Engine
from haltung.serving.metrics import Metrics
from haltung.serving.middleware import Gate
from haltung.serving.queue import Batcher, Broken, Closed, Full, Sizes
from haltung.serving.requests import Reader
from haltung.serving.settings import Settings

log = logging.getLogger("haltung.serving")


@dataclass
class Service:
    """One server's parts; ``start`` makes the batcher, which needs the running loop."""

    settings: Settings
    engine: Engine
    metrics: Metrics = field(default_factory=Metrics)
    gate: Gate = field(default_factory=Gate)
    batcher: Batcher | None = None

    @cached_property
    def finder(self) -> Finder:
        """What finds dyads.

        Raises:
            UserError: ``settings.dyads`` holds no exported bundle of a model of dyads.
        """
        return finder(self.engine.classifier.tasks, self.settings.dyads)

    @property
    def reader(self) -> Reader:
        """What reads bodies."""
        return Reader(self.settings.texts, self.settings.characters)

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return self.batcher is not None and not self.gate.stopping

    def start(self) -> None:
        """Take requests from now on."""
        settings = self.settings
        sizes = Sizes(settings.batch, settings.tokens, settings.queue, settings.wait)
        self.batcher = Batcher(self.engine.groups, self.engine.estimate, sizes, self.metrics)
        description = self.engine.classifier.description
        graph = self.engine.choice.graph
        facts = {"scheme": description["scheme"]["name"], "runtime": graph.runtime, "format": graph.format}
        self.metrics.serves({name: str(value) for name, value in facts.items()})

    async def stop(self) -> None:
        """Answer what was taken, and no more."""
        self.gate.stopping = True
        if self.batcher is not None:
            await self.batcher.close()

    async def probabilities(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Return each task's probabilities, float32 ``[texts, labels]``.

        Raises:
            Refused: 429 where too many wait, 503 where the server stops, 500 where the graph fails.
        """
        if self.batcher is None:
            raise Refused(503, "the model is not loaded yet; ask again in a moment", {"retry-after": "1"})
        try:
            found = await self.batcher.submit(parts)
        except Full as full:
            sentence = f"too many texts are waiting; ask again in {full.seconds} s"
            raise Refused(429, sentence, {"retry-after": str(full.seconds)}) from None
        except Closed:
            raise Refused(503, "the server is stopping; ask again in a moment", {"retry-after": "2"}) from None
        except Broken as broken:
            cause = broken.__cause__
            log.error("the graph has failed: %s\n%s", broken, "".join(traceback.format_tb(cause.__traceback__ if cause else None)))
            raise Refused(500, "the model has failed at these texts; the server's log says where") from None
        tasks = self.engine.classifier.tasks
        return {
            task: np.stack([one[task] for one in found]) if found else np.zeros((0, len(labels)), np.float32)
            for task, labels in tasks.items()
        }

    def check(self, abstain: float | None) -> None:
        """Hold a wished precision against the bundle's thresholds, before the work.

        Raises:
            Refused: 422 where it has none for it.
        """
        if abstain is not None:
            try:
                self.engine.classifier.thresholds(abstain)
            except BundleError as error:
                raise Refused(422, f"abstain: {error}") from None

    async def predictions(self, parts: Sequence[Mapping[str, Any]], abstain: float | None) -> list[dict[str, Any]]:
        """Return a prediction for each text, in order.

        Raises:
            Refused: as ``probabilities`` and ``check``.
        """
        self.check(abstain)
        return self.engine.classifier.predictions(parts, await self.probabilities(parts), abstain)
