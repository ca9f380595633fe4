"""Texts of several callers go through the graph together, each caller gets its own answers, and nobody waits for a long request.

One thread does all the work, batch after batch, and uses all cores. What arrives meanwhile waits, and the next batch takes a few texts of
each request in turn. So there is hardly anything to wait for by the clock: only where the last batch had more requests than are there now,
its callers have just been answered, and the next batch gives them a moment to ask again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

# So many texts of one request stand together in a batch while others wait too.
_TURN = 8

# How fast the estimate of texts per second follows: the weight of the newest batch.
_NEWEST = 0.2


class Full(Exception):
    """No room for these texts now; ``seconds`` tells when to come again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"come again in {seconds} s")
        self.seconds = seconds


class Closed(Exception):
    """The server stops and takes nothing more."""


class Broken(Exception):
    """The work itself failed; ``cause`` is the type of what was raised, whose message may hold a caller's text."""


@dataclass(frozen=True)
class Sizes:
    """``texts`` and estimated ``tokens`` of one batch, ``queue`` texts that may wait in all, ``wait`` seconds for company."""

    texts: int
    tokens: int
    queue: int
    wait: float


class Watch(Protocol):
    """Hears what the batcher does."""

    def waiting(self, texts: int) -> None:
        """So many texts wait now."""
        ...

    def worked(self, texts: int, requests: int, seconds: float) -> None:
        """A batch of so many texts, of so many requests, took so long."""
        ...


# Takes texts, and yields their places with what was found for them, as it comes.
Work = Callable[[Sequence[Any]], Iterable[tuple[Sequence[int], Sequence[Any]]]]


@dataclass(eq=False)
class _Call:
    items: Sequence[Any]
    answer: asyncio.Future[list[Any]]
    found: list[Any] = field(default_factory=list)
    begun: int = 0
    missing: int = 0

    def __post_init__(self) -> None:
        self.found = [None] * len(self.items)
        self.missing = len(self.items)


class Batcher:
    """Collects texts of concurrent requests.

    Args:
        work: runs in the thread.
        tokens: estimates the tokens of one item.
        sizes: of batches and queue.
        watch: is told what happens.
    """

    def __init__(self, work: Work, tokens: Callable[[Any], int], sizes: Sizes, watch: Watch) -> None:
        self._work, self._tokens, self._sizes, self._watch = work, tokens, sizes, watch
        self._waiting: deque[_Call] = deque()
        self._open: set[_Call] = set()
        self._texts = 0
        self._rate = 0.0
        self._company = 0
        self._closed = False
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run())

    async def submit(self, items: Sequence[Any]) -> list[Any]:
        """Return what was found for each item, in order.

        Raises:
            Full: as many wait as may.
            Closed: the server stops.
            Broken: the work failed.
        """
        if self._closed:
            raise Closed
        if not items:
            return []
        if self._texts + len(items) > self._sizes.queue:
            raise Full(self._seconds())
        call = _Call(items, self._loop.create_future())
        self._waiting.append(call)
        self._open.add(call)
        self._idle.clear()
        self._count(len(items))
        self._arrived.set()
        try:
            return await call.answer
        finally:
            # Also where the caller has given up: what is left of its texts takes nobody's place any more.
            self._open.discard(call)
            if call in self._waiting:
                self._waiting.remove(call)
                self._count(call.begun - len(items))
            if not self._open:
                self._idle.set()

    async def close(self) -> None:
        """Take nothing more, answer all that was taken, and end the thread."""
        self._closed = True
        await self._idle.wait()
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self._company:
                await asyncio.sleep(self._sizes.wait)
            batch = self._take()
            if not self._waiting:
                self._arrived.clear()
            if not batch:
                continue
            began = time.perf_counter()
            await self._loop.run_in_executor(self._thread, self._through, batch)
            seconds = time.perf_counter() - began
            self._company = len({id(call) for call, _ in batch})
            self._rate += (len(batch) / seconds - self._rate) * (_NEWEST if self._rate else 1)
            self._watch.worked(len(batch), self._company, seconds)

    def _take(self) -> list[tuple[_Call, int]]:
        """Return the next batch: call and place of each text."""
        batch: list[tuple[_Call, int]] = []
        tokens = 0
        while self._waiting and len(batch) < self._sizes.texts and tokens < self._sizes.tokens:
            call = self._waiting.popleft()
            turn = 0
            while call.begun < len(call.items) and turn < _TURN and len(batch) < self._sizes.texts and tokens < self._sizes.tokens:
                batch.append((call, call.begun))
                tokens += self._tokens(call.items[call.begun])
                call.begun += 1
                turn += 1
            if call.begun < len(call.items):
                self._waiting.append(call)
        self._count(-len(batch))
        return batch

    def _through(self, batch: Sequence[tuple[_Call, int]]) -> None:
        """Do the work; runs in the thread, and hands each part of the answers to the loop as it comes."""
        try:
            for places, found in self._work([call.items[place] for call, place in batch]):
                self._loop.call_soon_threadsafe(self._deliver, [batch[place] for place in places], found)
        except BaseException as error:  # noqa: BLE001 -- whatever a runtime raises (a panic in Rust is no Exception): the next batch goes on
            calls = {id(call): call for call, _ in batch}
            if len(calls) == 1:
                self._loop.call_soon_threadsafe(self._fail, batch, error)
                return
            # Nobody's request fails for another's: each once more by itself.
            for call in calls.values():
                self._through([(one, place) for one, place in batch if one is call and one.found[place] is None])

    def _deliver(self, parts: Sequence[tuple[_Call, int]], found: Sequence[Any]) -> None:
        for (call, place), one in zip(parts, found, strict=True):
            call.found[place] = one
            call.missing -= 1
            if not call.missing and not call.answer.done():
                call.answer.set_result(call.found)

    def _fail(self, batch: Sequence[tuple[_Call, int]], error: BaseException) -> None:
        broken = Broken(type(error).__name__)
        broken.__cause__ = error
        for call, _ in batch:
            if call.missing and not call.answer.done():
                call.answer.set_exception(broken)

    def _count(self, more: int) -> None:
        self._texts += more
        self._watch.waiting(self._texts)

    def _seconds(self) -> int:
        return min(60, max(1, math.ceil(self._texts / self._rate))) if self._rate else 1
