"""The batcher: each caller gets its own answers in its turn, the queue is bounded, and closing
loses no request.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from hypothesis import given, settings
from hypothesis import strategies as st

from haltung.inference.client import batches
from haltung.serving.engine import Settings
from haltung.serving.metrics import Metrics
from haltung.serving.queue import Batcher


class _Metrics(Metrics):
    """The server's metrics; fails if the number of waiting texts becomes negative."""

    def __init__(self) -> None:
        super().__init__({})
        count = self.waiting.inc

        def checked(more: float) -> None:
            count(more)
            assert self.value("haltung_waiting_texts") >= 0

        self.waiting.inc = checked

    def value(self, name: str) -> float:
        return self.registry.get_sample_value(name)


class _Work:
    """Doubles numbers, in reverse order and in two parts; waits for ``go`` before each batch, and
    records the batches.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.given: list[list[Any]] = []

    def __call__(self, items: Sequence[Any]) -> Iterator[tuple[list[int], list[Any]]]:
        self.go.wait(30)
        self.given.append(list(items))
        places = list(reversed(range(len(items))))
        for part in (places[: len(places) // 2], places[len(places) // 2 :]):
            if any(items[place] == "bad" for place in part):
                raise ValueError(*items)
            yield part, [2 * items[place] for place in part]


def _size(item: Any) -> tuple[int, int]:
    """Return the numbers of texts and tokens; a tuple is an item of several texts."""
    texts = len(item) if isinstance(item, tuple) else 1
    return texts, 10 * texts


def _run(test: Callable[[Batcher, _Work, _Metrics], Awaitable[None]], **sizes: Any) -> None:
    async def main() -> None:
        work, metrics = _Work(), _Metrics()
        limits = Settings(Path("bundle"), texts=1, **({"batch": 16, "tokens": 1000, "queue": 100, "wait": 0.001} | sizes))
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(work, _size, limits, metrics, thread)
            await asyncio.wait_for(test(batcher, work, metrics), 30)
            work.go.set()
            await asyncio.wait_for(batcher.close(), 30)
            assert metrics.value("haltung_waiting_texts") == 0

    asyncio.run(main())


def test_each_caller_gets_its_own_answers() -> None:
    """For concurrent requests of all sizes, in batches that mix them."""

    async def test(batcher: Batcher, work: _Work, metrics: _Metrics) -> None:
        work.go.set()
        asked = [list(range(number, number + number % 13)) for number in range(60)]
        found = await asyncio.gather(*(batcher.submit(items) for items in asked))
        assert found == [[2 * item for item in items] for items in asked]
        assert metrics.value("haltung_batch_requests_sum") > metrics.value("haltung_batch_requests_count")

    _run(test, queue=1000)


def test_a_small_request_does_not_wait_for_a_large_one() -> None:
    """A batch takes a few texts of each request in turn."""

    async def test(batcher: Batcher, work: _Work, metrics: _Metrics) -> None:
        large = asyncio.create_task(batcher.submit(list(range(90))))
        await asyncio.sleep(0.01)
        small = asyncio.create_task(batcher.submit([1000]))
        await asyncio.sleep(0.01)
        work.go.set()
        assert await small == [2000]
        assert not large.done()
        assert len(await large) == 90
        assert any(1000 in given for given in work.given[:3])

    _run(test)


def test_a_batch_has_so_many_texts_and_tokens_at_most() -> None:
    """Here the limit of tokens is the lower one."""

    async def test(batcher: Batcher, work: _Work, metrics: _Metrics) -> None:
        work.go.set()
        await asyncio.gather(*(batcher.submit([number]) for number in range(60)))
        assert max(map(len, work.given)) == 5

    _run(test, tokens=50)


def test_an_item_of_several_texts_is_never_torn_and_counts_as_so_many() -> None:
    """Even if it alone exceeds the limit of a batch; other requests have their turn in between."""

    async def test(batcher: Batcher, work: _Work, metrics: _Metrics) -> None:
        first = asyncio.create_task(batcher.submit([0]))
        await asyncio.sleep(0.05)  # the worker has it, and waits
        articles = asyncio.create_task(batcher.submit([(1,) * 40, (2,) * 12, (3,) * 3]))
        small = asyncio.create_task(batcher.submit([7, 8]))
        await asyncio.sleep(0)
        assert metrics.value("haltung_waiting_texts") == 57
        work.go.set()
        assert await articles == [(1,) * 80, (2,) * 24, (3,) * 6]
        assert (await first, await small) == ([0], [14, 16])
        assert work.given == [[0], [(1,) * 40], [7, 8, (2,) * 12, (3,) * 3]]
        while metrics.value("haltung_batch_texts_count") < 3:  # a batch is counted after its answers
            await asyncio.sleep(0.01)
        assert (metrics.value("haltung_batch_texts_sum"), metrics.value("haltung_batch_texts_count")) == (58, 3)

    _run(test)


def test_a_full_queue_says_when_to_come_again() -> None:
    """Excess texts are refused at once, and accepted ones are answered."""

    async def test(batcher: Batcher, work: _Work, metrics: _Metrics) -> None:
        first = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.05)  # the worker has it, and waits
        second = asyncio.create_task(batcher.submit([2] * 10))
        await asyncio.sleep(0)
        with pytest.raises(HTTPException) as full:
            await batcher.submit([3])
        assert full.value.status_code == 429
        assert int(full.value.headers["retry-after"]) >= 1
        work.go.set()
        assert (await first, len(await second)) == ([2], 10)
        assert await batcher.submit([3]) == [6]

    _run(test, queue=10)


def test_who_gives_up_makes_room() -> None:
    """The texts of a caller that has gone are not processed."""

    async def test(batcher: Batcher, work: _Work, metrics: _Metrics) -> None:
        first = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(batcher.submit([7] * 10))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        second = asyncio.create_task(batcher.submit([2] * 10))
        work.go.set()
        assert (await first, await second) == ([2], [4] * 10)
        assert all(7 not in given for given in work.given)

    _run(test, queue=10)


def test_nobody_fails_for_anothers_text(caplog: pytest.LogCaptureFixture) -> None:
    """If a batch fails, each request is retried alone; the error is logged without its message."""

    async def test(batcher: Batcher, work: _Work, metrics: _Metrics) -> None:
        first = asyncio.create_task(batcher.submit([0]))
        await asyncio.sleep(0.05)
        asked = [asyncio.create_task(batcher.submit(items)) for items in ([1, 2], ["bad"], [3])]
        await asyncio.sleep(0)
        work.go.set()
        found = await asyncio.gather(first, *asked, return_exceptions=True)
        assert [found[0], found[1], found[3]] == [[0], [2, 4], [6]]
        assert isinstance(found[2], HTTPException)
        assert found[2].status_code == 500
        assert "bad" not in f"{found[2].detail}{caplog.text}"
        assert "ValueError" in caplog.text

    _run(test)


def test_closing_answers_what_was_taken_and_takes_nothing_more() -> None:
    """Stopping a server loses no accepted request."""

    async def test(batcher: Batcher, work: _Work, metrics: _Metrics) -> None:
        asked = [asyncio.create_task(batcher.submit([number] * 5)) for number in range(10)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(HTTPException) as closed:
            await batcher.submit([1])
        assert closed.value.status_code == 503
        work.go.set()
        assert await asyncio.gather(*asked) == [[2 * number] * 5 for number in range(10)]
        await closing

    _run(test)


@settings(deadline=None)
@given(st.lists(st.integers(1, 200), max_size=60), st.integers(1, 400))
def test_groups_have_each_text_once_and_keep_to_the_limit(lengths: list[int], tokens: int) -> None:
    """Padding is bounded: the texts of a group have similar lengths, and only a single text may
    exceed the limit.
    """
    groups = list(batches(lengths, tokens, similar=0.8))
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    for group in groups:
        longest, shortest = max(lengths[place] for place in group), min(lengths[place] for place in group)
        assert len(group) == 1 or (len(group) * longest <= tokens and shortest >= 0.8 * longest)
