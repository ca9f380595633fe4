"""What the routes share: the models of a server in one thread, and their failures as errors."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi import HTTPException

from haltung.errors import listed
from haltung.events import pipeline
from haltung.events import plover as crosswalk
from haltung.events.dyads.rules import WordOrder
from haltung.events.records import ArticleEvents
from haltung.inference.client import BundleError
from haltung.models import predictor
from haltung.records import Prediction, Segment
from haltung.serving.engine import Engine, Part, Settings, as_parts, open_engine
from haltung.serving.metrics import Metrics
from haltung.serving.queue import Batcher, QueueClosed, QueueFull, QueueLimits, WorkFailed

log = logging.getLogger("haltung.serving")


class Service:
    """The model of a server, which works in one thread.

    Raises:
        UserError: a bundle can't be served.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        # Whether new requests are refused.
        self.stopping = False
        self.engine = open_engine(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._batchers: dict[Engine, Batcher] = {}

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return bool(self._batchers) and not self.stopping

    @property
    def lacks_stances(self) -> str:
        """What the model has in place of the stances of events; "" where it has them."""
        known = crosswalk.load().rules
        tasks = self.engine.classifier.tasks
        if "stance" not in tasks:
            return f"the tasks {listed(tasks)}"
        unknown = [label for label in tasks["stance"] if label not in known]
        return f"the stances {listed(unknown)}" if unknown else ""

    def start(self) -> None:
        """Take requests from now on; needs the running event loop."""
        settings = self.settings
        limits = QueueLimits(settings.batch, settings.tokens, settings.queue, settings.wait)
        self._batchers[self.engine] = Batcher(self.engine.groups, self.engine.estimate, limits, self.metrics, self._thread)
        description, graph = self.engine.classifier.description, self.engine.choice.graph
        facts = {"scheme": description["scheme"]["name"], "runtime": graph.runtime, "format": graph.format}
        self.metrics.serves({name: str(value) for name, value in facts.items()})

    async def stop(self) -> None:
        """Answer what was taken, and no more."""
        self.stopping = True
        # In the order in which an article goes through them.
        for batcher in self._batchers.values():
            await batcher.close()
        self._thread.shutdown()

    def check_abstain(self, precision: float | None) -> None:
        """Raise HTTPException 422 where the bundle has no thresholds for a precision."""
        if precision is not None:
            try:
                self.engine.classifier.thresholds(precision)
            except BundleError as error:
                raise HTTPException(422, f"abstain: {error}") from None

    async def predict(self, parts: Sequence[Part], abstain: float | None = None) -> list[dict[str, Any]]:
        """Return the client's prediction for each text; raises as ``probabilities`` does."""
        return self.engine.classifier.predictions(parts, await self.probabilities(parts), abstain)

    async def events(self, prepared: pipeline.PreparedArticle) -> ArticleEvents:
        """Return the events of an article, or raise HTTPException as ``probabilities`` does."""
        predictions = await self._predictions(self.engine, prepared.segments)
        dyads = WordOrder().find(prepared.labelled(predictions))
        return await asyncio.to_thread(pipeline.finish, prepared, predictions, dyads)

    async def _predictions(self, engine: Engine, segments: Sequence[Segment]) -> list[Prediction]:
        values = await self.probabilities(as_parts(segments), engine)
        return predictor.predictions([segment.id for segment in segments], values, engine.scheme)

    async def probabilities(self, parts: Sequence[Part], engine: Engine | None = None) -> dict[str, np.ndarray]:
        """Return each task's probabilities, float32 ``[texts, labels]``, by the sentence model.

        Raises:
            HTTPException: 429 where too many texts wait, 503 where the server stops, 500 where the
                graph fails.
        """
        engine = engine or self.engine
        if engine not in self._batchers:
            raise HTTPException(503, "the model is not loaded yet; ask again in a moment", {"retry-after": "1"})
        try:
            results = await self._batchers[engine].submit(parts)
        except QueueFull as full:
            sentence = f"too many texts are waiting; ask again in {full.seconds} s"
            raise HTTPException(429, sentence, {"retry-after": str(full.seconds)}) from None
        except QueueClosed:
            raise HTTPException(503, "the server is stopping; ask again in a moment", {"retry-after": "2"}) from None
        except WorkFailed as failed:
            cause = failed.__cause__
            log.error("the graph has failed: %s\n%s", failed, "".join(traceback.format_tb(cause.__traceback__ if cause else None)))
            raise HTTPException(500, "the model has failed at these texts; the server's log says where") from None
        return {
            task: np.array([one[task] for one in results], np.float32).reshape(-1, len(names))
            for task, names in engine.classifier.tasks.items()
        }
