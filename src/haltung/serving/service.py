"""The model that all routes share, in its own thread, with failures raised as HTTP errors."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import HTTPException

from haltung.actors.finder import Actors
from haltung.events import dyads as dyad_model
from haltung.events import pipeline
from haltung.events.records import ArticleEvents, DyadFinder
from haltung.inference.client import BundleError
from haltung.models.predictor import Answers, predictions
from haltung.records import Segment
from haltung.serving.engine import Settings, open_engine
from haltung.serving.metrics import Metrics
from haltung.serving.queue import AnswerCache, Batcher


class Service:
    """A bundle whose graphs run in one thread; ``UserError`` if it can't be served."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = False  # whether new requests are refused
        self.engine = open_engine(settings)
        graph = self.engine.graph
        self.metrics = Metrics({"scheme": self.engine.scheme.name, "runtime": graph.runtime, "format": graph.format})
        self._cache = AnswerCache(settings.cache, self.metrics)
        self._finder: DyadFinder = dyad_model.load(settings.bundle) if self.engine.finds_dyads else dyad_model.word_order
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    def start(self) -> None:
        """Start to accept requests; call it in the running event loop, before the first request."""
        self._batcher = Batcher(self.engine.groups, self.engine.size, self.settings, self.metrics, self._thread)

    async def stop(self) -> None:
        """Refuse new requests, and finish all that were accepted."""
        self.stopping = True
        await self._batcher.close()
        self._thread.shutdown()

    def check_count(self, texts: int) -> None:
        """Raise HTTPException 413 if a request has too many texts."""
        if texts > (most := self.settings.texts):
            raise HTTPException(413, f"the request has {texts} texts, at most {most} are allowed; send them in several requests")

    def check_parts(self, parts: Sequence[Mapping[str, str]], where: str) -> None:
        """Raise HTTPException 413 for too many texts or a too long one, named as in ``where``."""
        self.check_count(len(parts))
        most = self.settings.characters
        for number, part in enumerate(parts):
            for field, text in part.items():
                if len(text) > most:
                    name = where.format(number=number, field=field)
                    raise HTTPException(413, f"{name} has {len(text):,} characters, at most {most:,} are allowed; send it in parts")

    def check_abstain(self, precision: float | None) -> None:
        """Raise HTTPException 422 if the bundle has no thresholds for a precision."""
        if precision is not None:
            try:
                self.engine.classifier.thresholds(precision)
            except BundleError as error:
                raise HTTPException(422, f"abstain: {error}") from None

    async def predict(self, segments: Sequence[Segment], ids: Sequence[str | None], abstain: float | None = None) -> list[dict[str, Any]]:
        """Return predictions with the caller's ids, or raise HTTPException as ``answers`` does."""
        probabilities = (await self.answers(segments)).probabilities
        return self.engine.classifier.predictions([{"id": one} for one in ids], probabilities, abstain)

    async def events(self, prepared: pipeline.PreparedArticle) -> ArticleEvents:
        """Return the events of an article, or raise HTTPException as ``answers`` does."""
        answers = await self.answers(prepared.segments, self.engine.actors)
        predicted = predictions([one.id for one in prepared.segments], answers.probabilities, self.engine.scheme, answers.actors)
        return await asyncio.to_thread(pipeline.finish, prepared, predicted, self._finder)

    async def answers(self, segments: Sequence[Segment], actors: Actors | None = None) -> Answers:
        """Return the model's answers for segments; with ``actors``, also for the sides of dyads.
        Raises HTTPException as ``Batcher.submit`` does.
        """
        units = await asyncio.to_thread(self.engine.units, segments, actors) if actors else self.engine.units(segments)
        return self.engine.joined(zip(units, await self._cache.answers(units, self._batcher.submit), strict=True), len(segments))
