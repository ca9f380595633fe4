"""Concurrent callers: each gets its own answer, a full server says so, and a stopping one answers
what it has accepted.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

import exported
import tiny
from haltung.inference.client import Classifier
from served import PATIENCE, Served, served

pytestmark = pytest.mark.slow

CLIENTS = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle."""
    return exported.write(tmp_path_factory.mktemp("load") / "bundle")


def _texts(client: int, turn: int) -> list[str]:
    """Return texts that no other client sends: numbers whose digits are words of the tiny
    corpus.
    """
    words = sorted({word for segment in tiny.segments(60) for word in segment.text.split()})
    number, out = client * 1000 + turn, []
    for index in range(1 + (client + turn) % 4):
        rest, text = number * 7 + index, []
        while rest:
            text.append(words[rest % len(words)])
            rest //= len(words)
        out.append(" ".join(text) or words[0])
    return out


def _right(answer: dict[str, Any], texts: list[str], classifier: Classifier) -> bool:
    return all(
        prediction["probabilities"][task] == pytest.approx(values, abs=1e-5)
        for prediction, expected in zip(answer["predictions"], classifier.classify(texts), strict=True)
        for task, values in expected["probabilities"].items()
    )


def _async(server: Served) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    return httpx.AsyncClient(base_url=server.address, timeout=PATIENCE, trust_env=False, limits=limits)


def test_a_stopping_server_answers_all_that_it_has_taken(bundle: Path, tmp_path: Path) -> None:
    """SIGTERM under load: accepted requests get the right answer, others get 503 or no connection;
    none is cut off.
    """
    classifier = Classifier(bundle)
    outcomes: list[str] = []

    async def ask(server: Served) -> None:
        stopped = asyncio.Event()

        async def one(client: int) -> None:
            async with httpx.AsyncClient(base_url=server.address, timeout=PATIENCE, trust_env=False) as http:
                turn = 0
                while True:
                    texts = _texts(client, turn)
                    turn += 1
                    try:
                        answer = await http.post("/classify", json={"segments": [{"text": text} for text in texts]})
                    except httpx.ConnectError:
                        outcomes.append("closed")
                        return
                    if answer.status_code == 503:
                        assert answer.headers["connection"] == "close"
                        assert answer.json() == {"error": "the server is stopping; try again in a moment"}
                        outcomes.append("refused")
                        if stopped.is_set():
                            return
                        continue
                    assert answer.status_code == 200
                    assert _right(answer.json(), texts, classifier)
                    outcomes.append("answered")

        async def stop() -> None:
            while outcomes.count("answered") < CLIENTS:
                await asyncio.sleep(0.01)
            os.kill(server.process.pid, signal.SIGTERM)
            stopped.set()

        await asyncio.gather(stop(), *(one(client) for client in range(CLIENTS)))

    with served(bundle, tmp_path, "drain=1") as server:
        asyncio.run(ask(server))
        assert server.process.wait(PATIENCE) == 0
    assert outcomes.count("answered") >= CLIENTS
    assert "Traceback" not in server.log.read_text()


def test_a_full_server_says_when_to_come_again(bundle: Path, tmp_path: Path) -> None:
    """It answers 429 with Retry-After at once, and loses no accepted request."""
    heavy = {"segments": [{"text": f"Peru lobt den Zoll {number} . " * 1500} for number in range(10)]}

    async def ask(server: Served) -> list[httpx.Response]:
        async with _async(server) as http:
            return await asyncio.gather(*(http.post("/classify", json=heavy) for _ in range(30)))

    with served(bundle, tmp_path, "texts=10", "queue=20") as server:
        answers = asyncio.run(ask(server))
    full = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in full:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"] == f"too many texts are waiting; try again in {answer.headers['retry-after']} s"


def test_an_answer_that_takes_too_long_is_given_up(bundle: Path, tmp_path: Path) -> None:
    """It is answered with 504 and one sentence, and the server continues."""
    heavy = {"segments": [{"text": f"Peru lobt den Zoll {number} . " * 4000} for number in range(20)]}
    with served(bundle, tmp_path, "timeout=0.05") as server, server.client() as http:
        answer = http.post("/classify", json=heavy)
        assert (answer.status_code, answer.json()["error"]) == (
            504,
            "the answer took more than 0.05 s; send fewer texts at once, or try again",
        )
        assert http.get("/health/ready").status_code == 200
