"""Clients that hold up a server: slow ones, silent ones, too many, and those that never read or
disconnect halfway. Each costs only its own connection for a while.
"""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

import exported
from haltung.serving.engine import Settings
from served import PATIENCE, Served, served, served_in_thread

pytestmark = pytest.mark.slow

ENDPOINTS = ("/classify", "/article", "/events")
CONNECTIONS, BODY, IDLE = 12, 1.5, 2.5

# The real server, except for two time limits that are too long for a test.
# Each of a thousand connections is an open file in both processes.
MORE_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)"
IMPATIENT = f"""
import sys
{MORE_FILES}
from haltung.cli import main
from haltung.serving import app, middleware
middleware._BODY_SECONDS, app._IDLE_SECONDS = {BODY}, {IDLE}
sys.exit(main())
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle."""
    return exported.write(tmp_path_factory.mktemp("slow") / "bundle")


@pytest.fixture(scope="module")
def impatient(bundle: Path) -> Iterator[Served]:
    """A server with few connections and short time limits."""
    with served(bundle, bundle.parent, f"connections={CONNECTIONS}", "timeout=3", program=("-c", IMPATIENT)) as running:
        yield running


@pytest.fixture
def server(impatient: Served) -> Iterator[Served]:
    """The same; after each test it must answer others, and must have logged no error."""
    server = impatient
    yield server
    with server.client() as client:
        end = time.monotonic() + PATIENCE
        while (answer := client.post("/classify", json={"text": "Peru lobt ."})).status_code == 503:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert answer.status_code == 200
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "Peru" not in log


def connect(address: str) -> socket.socket:
    """Open a bare TCP connection."""
    host, port = address.removeprefix("http://").strip("/").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def request(path: str, body: bytes, length: int | None = None) -> bytes:
    """Return a request whose body may be shorter than declared."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def drip(connection: socket.socket, data: bytes, start: float) -> float:
    """Send a byte each tenth of a second until the server closes; return the elapsed seconds."""
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            connection.settimeout(0.1)
            if not connection.recv(4096):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    else:
        raise AssertionError("nobody has hung up")
    return time.monotonic() - start


def knock(connection: socket.socket) -> None:
    """Send a byte each tenth of a second, reading nothing, until the closed connection fails."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        connection.sendall(b"G")
        time.sleep(0.1)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_body_that_comes_too_slowly_is_408(server: Served, path: str) -> None:
    """Even if each byte of it arrives in time."""
    with connect(server.address) as connection:
        connection.sendall(request(path, b'{"text": "', 5000))
        stop = threading.Event()

        def trickle() -> None:
            with suppress(OSError):  # the server closes after its answer
                while not stop.wait(0.1):
                    connection.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            answer = connection.recv(65536)
        finally:
            stop.set()
            thread.join()
        while not answer.endswith(b"}"):
            more = connection.recv(65536)
            assert more
            answer += more
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": f"the body did not arrive within {BODY:g} s"}


def test_headers_that_come_too_slowly_are_not_waited_for(server: Served) -> None:
    """For a first request, and for a second one on a connection that was used before."""
    head = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
    start = time.monotonic()
    with connect(server.address) as first, connect(server.address) as second:
        second.sendall(head + b"\r\n")
        assert second.recv(4096).startswith(b"HTTP/1.1 200")
        times = list[float]()
        threads = [
            threading.Thread(target=lambda one=one: times.append(drip(one, head + b"X: y\r\n" * 200, start))) for one in (first, second)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [IDLE - 0.5 < one < PATIENCE for one in times] == [True, True]


def test_too_many_connections_are_503_until_the_idle_ones_are_ended(server: Served) -> None:
    """A thousand silent connections, if a process may have so many files, take all places; the
    server ends each of them.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, limits[1] - 300)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1],) * 2)
        silent = [stack.enter_context(connect(server.address)) for _ in range(count)]
        with server.client() as client:
            assert client.get("/health/live").status_code == 503
            end = time.monotonic() + PATIENCE
            while client.get("/health/live").status_code == 503:
                assert time.monotonic() < end
                time.sleep(0.1)
        assert [one.recv(1) for one in silent] == [b""] * count


def test_a_connection_that_is_used_again_and_again_is_not_ended(server: Served) -> None:
    """Even for longer than an idle one may stay, and if it is idle at each check."""
    connection = HTTPConnection(server.address.removeprefix("http://"), timeout=PATIENCE)
    connection.connect()
    connection.auto_open = 0
    end = time.monotonic() + 2 * IDLE
    while time.monotonic() < end:
        connection.request("GET", "/health/live")
        assert connection.getresponse().read() == b'{"status":"live"}'
        time.sleep(0.3)
    connection.close()


def test_who_never_reads_is_hung_up_on(server: Served) -> None:
    """With pipelined requests, the next one is in progress while its answer waits for a buffer.

    The test uses a single connection, since such a connection counts twice: several could reach the
    limit of connections, and be ended for that.
    """
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        host, port = server.address.removeprefix("http://").split(":")
        connection.connect((host, int(port)))
        start = time.monotonic()
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        with pytest.raises(ConnectionError):
            knock(connection)
    assert time.monotonic() - start > IDLE


def test_who_hangs_up_makes_room(bundle: Path) -> None:
    """Texts that nobody waits for any more leave the queue, except those in a running batch."""
    clients, texts = 12, 30
    # Each text takes a few milliseconds to tokenize.
    body = request("/classify", json.dumps({"segments": [{"text": "Peru lobt den Zoll . " * 1000}] * texts}).encode())
    settings = Settings(bundle, runtime="onnxruntime", threads=1, cache=0, timeout=PATIENCE)
    with served_in_thread(settings) as address, httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as client:

        def counted(name: str) -> float:
            lines = client.get("/metrics").text.splitlines()
            return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

        def wait_until(condition: Callable[[], bool]) -> None:
            end = time.monotonic() + PATIENCE
            while not condition():
                assert time.monotonic() < end
                time.sleep(0.01)

        ended = 'haltung_requests_total{route="/classify"'
        with ExitStack() as stack:
            for _ in range(clients):
                stack.enter_context(connect(address)).sendall(body)
            wait_until(lambda: counted("haltung_waiting_texts") > clients * texts / 3)
        wait_until(lambda: counted(ended) == clients)
        assert counted("haltung_waiting_texts") == 0
        assert counted(f'{ended},status="499"}}') > clients / 4
        assert client.post("/classify", json={"text": "Malta warnt Peru ."}).status_code == 200
        assert counted("haltung_texts_total") < 0.8 * clients * texts


def test_requests_that_are_cancelled_cost_nobody_an_answer(bundle: Path) -> None:
    """Clients of each endpoint disconnect while their texts are classified; others still get their
    own answers.
    """
    own = {"text": "Malta warnt Peru ."}
    heavy = {"/classify": {"segments": [{"text": "Peru lobt den Zoll . " * 40}] * 20}}
    settings = Settings(bundle, runtime="onnxruntime", threads=1, cache=0, timeout=PATIENCE)
    with served_in_thread(settings) as address, httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as client:

        def answers() -> list[Any]:
            # Other texts in the same batch change the last digits.
            return [json.loads(client.post(path, json=own).text, parse_float=lambda number: round(float(number), 3)) for path in ENDPOINTS]

        expected = answers()
        with ExitStack() as stack:
            for path in ENDPOINTS * 3:
                body = json.dumps(heavy.get(path, {"text": "Peru lobt . " * 5})).encode()
                stack.enter_context(connect(address)).sendall(request(path, body))
        assert answers() == expected
    assert [sorted(one) for one in expected] == [
        ["probabilities", "stance", "topic"], ["removed", "segments"], ["events", "language", "notes", "removed", "segments"]
    ]  # fmt: skip
