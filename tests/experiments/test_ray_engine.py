"""``engine=ray``: a cluster of two nodes on this machine has the results of one process, even if it
loses workers.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import psutil
import pytest

import exported
import tiny
from command_line import haltung, run_here

if find_spec("ray") is None:
    reason = "needs Ray; run: pip install 'haltung[ray]'"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)

pytestmark = pytest.mark.slow

ROWS = [
    {"id": f"{one.id}-{n}", "text": one.text, "article": f"{n}", "position": position}
    for n in range(150)
    for position, one in enumerate(tiny.segments(10, seed=n))
]


def title(process: psutil.Process) -> str:
    """Return the command line of a process, "" if it has ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the descendants of a process that hold the model."""
    return [one for one in process.children(recursive=True) if "MapWorker" in title(one)]


class Node:
    """``ray start`` with one processor, in the foreground."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", *words]
        # If the user has a token for Ray, the cluster would ask for it. A lost node is noticed
        # after five of these periods, which by default take a quarter of a minute.
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_health_check_period_ms": "500"}
        self.process = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that hold the model."""
        return workers_of(self.process)

    def kill(self) -> None:
        """Kill all processes of the node."""
        every = [self.process, *self.process.children(recursive=True)] if self.process.is_running() else []
        for one in every:
            one.kill()
        psutil.wait_procs(every)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle, whose graph any runtime can run."""
    return exported.write(tmp_path_factory.mktemp("exported") / "bundle")


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Node, Node]]:
    """The address of a cluster, and its two nodes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    nodes = [Node("--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false")]
    try:
        wait(lambda: answers(address))
        nodes.append(Node(f"--address={address}"))
        yield address, nodes[0], nodes[1]
    finally:
        for node in reversed(nodes):
            node.kill()


def answers(address: str) -> bool:
    """Return whether a server listens at this address."""
    host, _, port = address.partition(":")
    with socket.socket() as asking:
        return asking.connect_ex((host, int(port))) == 0


def wait(done: Callable[[], object], seconds: float = 240) -> None:
    """Wait until ``done()`` is true; fail after this number of seconds."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows in the format of the file name."""
    table = pd.DataFrame(rows)
    if path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)


def rows_in(path: Path) -> int:
    """Return the number of lines in a file, 0 if there is none."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def predict(bundle: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the bundle; with ``engine=ray``, in a separate process."""
    run = haltung if "engine=ray" in words else run_here
    return run("predict", f"bundle={bundle}", *words, cwd=folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_cluster_writes_what_one_process_writes(bundle: Path, cluster: tuple[str, Node, Node], tmp_path: Path) -> None:
    """All files are equal byte for byte, including broken rows; the cluster keeps running."""
    (tmp_path / "news").mkdir()
    for name in ("a.jsonl", "b.csv.gz", "c.parquet"):
        write(tmp_path / "news" / name, [{**row, "text": row["text"] if n % 99 else ""} for n, row in enumerate(ROWS[:400])])
    with (tmp_path / "news/a.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "Ja\n')
    for words in (["output=local"], ["output=ray", "engine=ray", f"ray.address={cluster[0]}"]):
        done = predict(bundle, tmp_path, "input=news", "window=25", *words)
        assert (done.returncode, "16 rows" in done.stderr) == (1, True), done.stderr
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert len(contents(tmp_path / "ray")) == 6
    assert answers(cluster[0])


def test_what_breaks_a_file_ends_the_run_behind_what_was_done(bundle: Path, cluster: tuple[str, Node, Node], tmp_path: Path) -> None:
    """With one sentence that names the line; results so far are kept, so it can be resumed."""
    write(tmp_path / "a.jsonl", ROWS[:400])
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write('{"text": "Grüße"}'.encode("latin-1"))
    done = predict(bundle, tmp_path, "input=a.jsonl", "output=b.jsonl", "window=25", "engine=ray", f"ray.address={cluster[0]}")
    assert (done.returncode, "a.jsonl, line 401" in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    assert rows_in(tmp_path / "b.jsonl.partial") == 390


def test_killed_workers_and_a_lost_node_change_no_byte(bundle: Path, cluster: tuple[str, Node, Node], tmp_path: Path) -> None:
    """During the run, SIGKILL ends the worker of one node, and all processes of the other node."""
    address, head, other = cluster
    write(tmp_path / "a.jsonl", ROWS)
    assert predict(bundle, tmp_path, "input=a.jsonl", "output=local.jsonl", "window=10").returncode == 0
    words = [f"bundle={bundle}", "input=a.jsonl", "output=ray.jsonl", "window=10", "engine=ray", f"ray.address={address}"]
    command = [sys.executable, "-m", "haltung", "predict", *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        growing = tmp_path / "ray.jsonl.partial"
        wait(lambda: running.poll() is not None or (rows_in(growing) > 0 and head.workers() and other.workers()))
        (killed,) = head.workers()
        killed.kill()
        other.kill()
        assert running.poll() is None
        _, errors = running.communicate(timeout=500)
    assert running.returncode == 0, errors
    assert (tmp_path / "ray.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()


def test_one_process_goes_on_with_what_a_cluster_left(bundle: Path, tmp_path: Path) -> None:
    """A cluster started for the run ends with it, even if killed; the resumed file is the same."""
    write(tmp_path / "a.csv", ROWS[:1000])
    assert predict(bundle, tmp_path, "input=a.csv", "output=local.csv", "window=10").returncode == 0
    command = [sys.executable, "-m", "haltung", "predict", f"bundle={bundle}", "input=a.csv", "output=b.csv", "window=10"]
    with psutil.Popen([*command, "engine=ray", "ray.workers=2"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        wait(lambda: running.poll() is not None or rows_in(tmp_path / "b.csv.partial") > 100)
        # The cluster's two agents, which hold no data of the run, end a minute later.
        processes = [one for one in running.children(recursive=True) if "Agent" not in title(one)]
        assert len(processes) > len(workers_of(running))
        workers = workers_of(running)
        assert len(workers) == 2
        telemetry = ("RAY_USAGE_STATS_ENABLED", "MLFLOW_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY")
        assert [[one.environ()[name] for name in telemetry] for one in workers] == [["0", "true", "1", "1"]] * 2
        running.kill()
    assert rows_in(tmp_path / "b.csv.partial") < 1000
    done = predict(bundle, tmp_path, "input=a.csv", "output=b.csv", "window=10", "resume=true")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
    wait(lambda: not any(map(title, processes)))


def test_events_of_a_cluster_are_those_of_one_process(bundle: Path, cluster: tuple[str, Node, Node], tmp_path: Path) -> None:
    """Table, JSON Lines, page and failures, with an actor defined by the user."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own/companies.csv").write_text("name,code\nNordwerft,DEU-BUS\n", encoding="utf-8")
    texts = [f"Vertrag {number}\nDie USA warnen Russland. Die Nordwerft begrüßt den Vertrag {number}." for number in range(150)]
    articles = [{"id": f"a{number}", "text": text if number % 40 else ""} for number, text in enumerate(texts)]
    write(tmp_path / "news.jsonl", articles)
    given = [f"bundle={bundle}", "input=news.jsonl", "actors=own", "output=events.jsonl", "table=events.csv", "page=events.html"]
    for name, engine in (("local", []), ("ray", ["engine=ray", f"ray.address={cluster[0]}"])):
        folder = tmp_path / name
        folder.mkdir()
        words = [word.replace("=events", f"={name}/events") for word in given]
        done = haltung("events", *words, *engine, cwd=tmp_path)
        assert (done.returncode, "4 failed" in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert b'"DEU-BUS"' in (tmp_path / "ray/events.jsonl").read_bytes()


@pytest.mark.parametrize(
    "words", [["input=a.txt"], ["input=-", "output=b.jsonl"], ["input=a.txt", "output=b.jsonl", "ray.address=127.0.0.1:1"]]
)
def test_a_mistake_in_events_is_one_sentence(bundle: Path, tmp_path: Path, words: list[str]) -> None:
    """Before anything starts."""
    (tmp_path / "a.txt").write_text("Chile warnt Peru.", encoding="utf-8")
    done = run_here("events", f"bundle={bundle}", "engine=ray", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["input=a.csv"], ["engine=ray", "output="]),
        (["text=Ja."], ["engine=ray", "input="]),
        (["input=a.csv", "output=b.csv", "ray.address=127.0.0.1:1"], ["127.0.0.1:1", "ray start"]),
        (["input=a.csv", "output=b.csv", "ray.address=ray://127.0.0.1:10001"], ["ray.address", "HOST:PORT"]),
        (["input=a.csv", "output=b.csv", "ray.address=auto"], ["ray.address", "HOST:PORT"]),
        (["input=a.csv", "output=b.csv", "ray.threads=0"], ["ray.threads", "0"]),
        (["input=a.csv", "output=b.csv", "ray.adress=auto"], ["ray.adress"]),
    ],
)
def test_a_mistake_is_one_sentence(bundle: Path, tmp_path: Path, words: list[str], named: list[str]) -> None:
    """Before anything starts."""
    write(tmp_path / "a.csv", ROWS[:5])
    done = run_here("predict", f"bundle={bundle}", "engine=ray", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [part for part in named if part not in done.stderr] == [], done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_without_ray_a_sentence_says_what_to_install(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``engine=ray``, the command works."""
    write(tmp_path / "a.csv", ROWS[:5])
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ("predict", f"bundle={bundle}", "input=a.csv", "output=b.csv")
    done = run_here(*words, "engine=ray", cwd=tmp_path)
    assert (done.returncode, "haltung[ray]" in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert run_here(*words, cwd=tmp_path).returncode == 0
