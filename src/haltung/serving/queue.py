"""A queue that batches the texts of several callers, so that no long request blocks the others.

A thread processes batch after batch on all cores. Texts that arrive meanwhile wait, and the next
batch takes a few of each request in turn. A timed wait is rarely needed: only if the last batch
had more requests than are waiting now, since its callers may send their next ones immediately.

An item has one or several texts, such as the sentences of an article, and is never split.
"""

import asyncio
import hashlib
import logging
import math
import pickle
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from fastapi import HTTPException

from haltung.models.predictor import Answers
from haltung.models.units import Unit
from haltung.serving.engine import Settings
from haltung.serving.metrics import Metrics

log = logging.getLogger("haltung.serving")
_TURN = 8  # maximum of consecutive texts of one request in a batch while others wait too
_NEWEST = 0.2  # weight of the newest batch in the estimate of texts per second


# Takes items, and yields their indices and results as soon as these are computed.
Work = Callable[[Sequence[Any]], Iterable[tuple[Sequence[int], Sequence[Any]]]]


@dataclass(eq=False)
class _Call:
    items: Sequence[Any]
    sizes: Sequence[tuple[int, int]]
    answer: asyncio.Future[list[Any]]
    results: list[Any]
    begun: int = 0

    @property
    def waiting(self) -> int:
        """The number of its texts that are not in a batch yet."""
        return sum(texts for texts, _ in self.sizes[self.begun :])


class Batcher:
    """Collect the texts of concurrent requests in batches; needs a running event loop.

    ``work`` runs in ``thread``, an executor with one thread; ``size`` returns an item's number of
    texts and approximate number of tokens. A batch may exceed the ``settings`` by its last item.
    """

    def __init__(self, work: Work, size: Callable[[Any], tuple[int, int]], settings: Settings, metrics: Metrics, thread: Executor) -> None:
        self._work, self._size, self._settings, self._metrics, self._thread = work, size, settings, metrics, thread
        self._waiting: deque[_Call] = deque()
        self._open: set[asyncio.Future[list[Any]]] = set()
        self._texts = self._company = 0
        self._rate = 0.0
        self._closed = False
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run())

    async def submit(self, items: Sequence[Any]) -> list[Any]:
        """Return the results; HTTPException 429 (queue is full), 503 (stopping), 500 (failed)."""
        if self._closed:
            raise HTTPException(503, "the server is stopping; try again in a moment", {"retry-after": "2"})
        if not items:
            return []
        call = _Call(items, list(map(self._size, items)), self._loop.create_future(), [None] * len(items))
        if self._texts + call.waiting > self._settings.queue:
            seconds = min(60, max(1, math.ceil(self._texts / self._rate))) if self._rate else 1
            raise HTTPException(429, f"too many texts are waiting; try again in {seconds} s", {"retry-after": str(seconds)})
        self._waiting.append(call)
        self._open.add(call.answer)
        self._count(call.waiting)
        self._arrived.set()
        try:
            return await call.answer
        finally:
            # Also if the caller has given up: the rest of its texts leaves the queue.
            self._open.discard(call.answer)
            if call in self._waiting:
                self._waiting.remove(call)
                self._count(-call.waiting)

    async def close(self) -> None:
        """Refuse new items, and finish all that were accepted."""
        self._closed = True
        if self._open:
            await asyncio.wait(self._open)
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self._company:
                await asyncio.sleep(self._settings.wait)
            batch = self._take()
            if not self._waiting:
                self._arrived.clear()
            if not batch:
                continue
            start = time.perf_counter()
            await self._loop.run_in_executor(self._thread, self._run_batch, batch)
            seconds = time.perf_counter() - start
            self._company = len({id(call) for call, _ in batch})
            count = sum(call.sizes[index][0] for call, index in batch)
            self._rate += (count / seconds - self._rate) * (_NEWEST if self._rate else 1)
            self._metrics.texts.inc(count)
            self._metrics.batch_texts.observe(count)
            self._metrics.batch_requests.observe(self._company)
            self._metrics.batch_seconds.observe(seconds)

    def _take(self) -> list[tuple[_Call, int]]:
        """Return the next batch: the call of each item, and the item's index in the call."""
        batch: list[tuple[_Call, int]] = []
        texts, tokens, most, most_tokens = 0, 0, self._settings.batch, self._settings.tokens
        while self._waiting and texts < most and tokens < most_tokens:
            call, turn = self._waiting.popleft(), 0
            while call.begun < len(call.items) and turn < _TURN and texts < most and tokens < most_tokens:
                more, long = call.sizes[call.begun]
                turn, texts, tokens = turn + more, texts + more, tokens + long
                batch.append((call, call.begun))
                call.begun += 1
            if call.begun < len(call.items):
                self._waiting.append(call)
        self._count(-texts)
        return batch

    def _run_batch(self, batch: Sequence[tuple[_Call, int]]) -> None:
        """Process a batch in the thread, and pass each part of the results to the loop at once."""
        try:
            for indices, results in self._work([call.items[index] for call, index in batch]):
                self._loop.call_soon_threadsafe(self._deliver, [batch[index] for index in indices], results)
        except BaseException as error:  # noqa: BLE001 -- whatever a runtime raises (a panic in Rust is no Exception): the next batch goes on
            calls = {id(call): call for call, _ in batch}
            if len(calls) == 1:
                self._loop.call_soon_threadsafe(self._fail, batch[0][0], error)
                return
            # No request fails because of another's text: each is retried once by itself.
            for call in calls.values():
                self._run_batch([(one, index) for one, index in batch if one is call and one.results[index] is None])

    def _deliver(self, parts: Sequence[tuple[_Call, int]], results: Sequence[Any]) -> None:
        for (call, index), result in zip(parts, results, strict=True):
            call.results[index] = result
            if None not in call.results and not call.answer.done():
                call.answer.set_result(call.results)

    def _fail(self, call: _Call, error: BaseException) -> None:
        if not call.answer.done():
            # An exception's message may contain a caller's text.
            log.error("the graph has failed: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            call.answer.set_exception(HTTPException(500, "the model failed on these texts; the server's log says where"))

    def _count(self, more: int) -> None:
        self._texts += more
        self._metrics.waiting.inc(more)


_ENTRY = 700  # measured bytes of a digest and its entries in the cache's tables


class AnswerCache:
    """The last answers of one model, in at most ``size`` bytes (0: off); for the event loop only.

    Texts read together are kept together. A text in two simultaneous requests is computed twice.
    """

    def __init__(self, size: int, metrics: Metrics) -> None:
        # Pickled answers take a fifth of the memory, and keep no arrays of whole batches alive.
        self._answers: LRUCache[bytes, bytes] = LRUCache(size, lambda pickled: len(pickled) + _ENTRY)
        self._metrics = metrics

    async def answers(self, units: Sequence[Unit], compute: Callable[[Sequence[Unit]], Awaitable[list[Answers]]]) -> list[Answers]:
        """Return the answers of units, in order; ``compute`` gets each missing unit once."""
        if not self._answers.maxsize:
            return await compute(units)
        keys = list(map(_digest, units))
        found: dict[bytes, Answers] = {key: pickle.loads(self._answers[key]) for key in dict.fromkeys(keys) if key in self._answers}
        missing = {key: unit for key, unit in zip(keys, units, strict=True) if key not in found}
        for key, answers in zip(missing, await compute(list(missing.values())), strict=True):
            found[key] = answers
            with suppress(ValueError):  # larger than the whole cache
                self._answers[key] = pickle.dumps(answers)
        asked, misses = (sum(unit.labelled for unit in some) for some in (units, missing.values()))
        self._metrics.hits.inc(asked - misses)
        self._metrics.misses.inc(misses)
        self._metrics.cached.set(self._answers.currsize)
        return [found[key] for key in keys]


def _digest(unit: Unit) -> bytes:
    """Return a digest of all that a unit's answer depends on, so without ids and row numbers."""
    read = [(one.text, one.context, one.target) for one in unit.sentences]
    return hashlib.sha256(repr((read, [row is None for row in unit.rows], unit.named)).encode()).digest()
