"""``haltung runs`` and ``haltung ui`` on a real store."""

from __future__ import annotations

import csv
import io
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from command_line import run_here
from haltung import tracking
from haltung.cli.runs import _since
from haltung.errors import UserError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], tracking.Store]) -> Path:
    """A folder with six runs on two corpora: three plain ones, a parent with a pruned part, and a
    failed one.
    """
    folder = tmp_path_factory.mktemp("listed")
    store = new_store(folder)
    for name, corpus, dev, test in (("low", "alpha", 0.2, 0.6), ("high", "alpha", 0.8, 0.4), ("other's 100%", "beta", 0.5, None)):
        with tracking.run(store, name, tags={"haltung.kind": "train", "haltung.corpus": corpus}) as run:
            run.params({"seed": 42})
            run.metrics({"dev": {"stance_macro_f1": dev}} | ({"test": {"stance_macro_f1": test}} if test else {}))
    with tracking.run(store, "parent", tags={"haltung.kind": "seeds", "haltung.corpus": "beta"}) as parent:
        parent.metrics({"dev": {"stance": {"macro_f1": {"mean": 0.3, "sd": 0.1}}}, "beta.test": {"stance": {"macro_f1": {"mean": 0.25}}}})
        with pytest.raises(tracking.Pruned), tracking.run(store, "child", parent, {"haltung.kind": "trial", "haltung.corpus": "beta"}):
            raise tracking.Pruned("hopeless")
    with pytest.raises(ValueError, match="broken"), tracking.run(store, "broken", tags={"haltung.kind": "train", "haltung.corpus": "beta"}):
        raise ValueError("broken")
    return folder


def listed(home: Path, *words: str) -> list[dict]:
    done = run_here("runs", "format=json", *words, cwd=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_runs_are_listed_newest_first(home: Path):
    """With name, id, time, kind, corpus, status and metrics; a parent's are the means over its
    seeds.
    """
    rows = listed(home)
    assert {row["name"] for row in rows} == {"low", "high", "other's 100%", "parent", "child", "broken"}
    assert [row["when"] for row in rows] == sorted((row["when"] for row in rows), reverse=True)
    parent = next(row for row in rows if row["name"] == "parent")
    assert (parent["dev"], parent["test"]) == ({"stance": 0.3}, {"stance": 0.25})
    assert {row["name"]: row["status"] for row in rows if row["status"] != "finished"} == {"child": "pruned", "broken": "failed"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("corpus=alpha",), {"low", "high"}),
        (("kind=seeds",), {"parent"}),
        (("status=pruned",), {"child"}),
        (("status=killed",), set()),
        (("status=failed", "corpus=beta"), {"broken"}),
        (("name=o",), {"low", "other's 100%", "broken"}),
        (("name='100%'",), {"other's 100%"}),
        (("parts=false", "corpus=beta"), {"other's 100%", "parent", "broken"}),
        (("since=1h", "corpus=alpha"), {"low", "high"}),
        (("since=2999-01-01",), set()),
        (("corpus=gamma",), set()),
    ],
    ids=lambda part: " ".join(sorted(part)),  # sorted, since pytest's workers must agree on the order of a set
)
def test_filters_let_through_what_they_name(home: Path, words: tuple[str, ...], names: set[str]):
    """Several filters are combined by "and"."""
    assert {row["name"] for row in listed(home, *words)} == names


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (("sort=stance",), "high"),
        (("sort=test.stance",), "low"),
        (("sort=name",), "broken"),
        (("sort=dev.stance", "corpus=beta"), "other's 100%"),
    ],
    ids=" ".join,
)
def test_sorting_puts_the_best_first(home: Path, words: tuple[str, ...], first: str):
    """Metrics in descending order, runs without one last; words in alphabetical order."""
    assert listed(home, *words)[0]["name"] == first
    assert len(listed(home, *words, "limit=1")) == 1


def test_the_table_and_the_csv_hold_the_same_figures(home: Path):
    """The table says how many runs it omits; the CSV can be parsed."""
    table = run_here("runs", "corpus=alpha", "sort=stance", "limit=1", cwd=home).stdout
    assert "1 of 2 runs" in table
    assert "0.800" in table
    assert "0.400" in table
    rows = list(csv.DictReader(io.StringIO(run_here("runs", "corpus=alpha", "format=csv", "sort=stance", cwd=home).stdout)))
    assert [(row["name"], row["dev_stance"], row["test_stance"]) for row in rows] == [
        ("high", "0.8", "0.4"),
        ("low", "0.2", "0.6"),
    ]


def test_a_name_that_is_a_formula_stays_a_text(tmp_path: Path, new_store: Callable[[Path], tracking.Store]):
    """A spreadsheet that opens the CSV does not compute it."""
    with tracking.run(new_store(tmp_path), "=1+2"):
        pass
    (row,) = csv.DictReader(io.StringIO(run_here("runs", "format=csv", cwd=tmp_path).stdout))
    assert row["name"] == "'=1+2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sort=stanze",), "sort is 'stanze', did you mean 'stance'?"),
        (("kind=sweeps",), "kind is 'sweeps', did you mean 'sweep'?"),
        (("status=prund",), "did you mean 'pruned'?"),
        (("since=gestern",), "since is 'gestern'; expected a date"),
        (("format=xml",), "format is 'xml'; choose from table, csv, json"),
        (("limit=0",), "limit is 0"),
    ],
)
def test_a_wrong_filter_is_refused_in_one_sentence(home: Path, words: tuple[str, ...], message: str):
    """The message says what is allowed."""
    done = run_here("runs", *words, cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_without_a_store_nothing_has_been_run(tmp_path: Path):
    """No store is created."""
    for command in ("runs", "ui"):
        done = run_here(command, cwd=tmp_path)
        assert done.returncode == 2
        assert "no run has been tracked here" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_spans_and_dates_are_understood():
    """A date is midnight in the local time zone."""
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert _since("2d", now) == datetime(2026, 3, 8, 12, tzinfo=UTC)
    assert _since("12h", now) == datetime(2026, 3, 10, tzinfo=UTC)
    assert _since("2026-03-01", now).astimezone().strftime("%Y-%m-%d %H:%M") == "2026-03-01 00:00"
    with pytest.raises(UserError, match="expected a date"):
        _since("3 days", now)


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def test_a_taken_port_is_refused(home: Path):
    """With another one to take."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_here("ui", f"port={port}", cwd=home)
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 can't be opened (" in done.stderr


@pytest.mark.slow
def test_the_pages_show_the_right_store_and_go_when_they_are_stopped(home: Path):
    """The running server answers over HTTP with this store's runs and leaves nothing behind."""
    port = _free_port()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    before = set(home.iterdir())
    command = [sys.executable, "-m", "haltung", "ui", f"port={port}"]
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        while process.poll() is None:
            with suppress(OSError), opener.open(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                assert "MLflow" in answer.read().decode()
                break
            time.sleep(0.2)
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=haltung"
        with opener.open(url, timeout=60) as answer:
            assert json.load(answer)["experiment"]["artifact_location"] == (home / "experiments/artifacts").as_uri()
    finally:
        process.terminate()
        process.communicate(timeout=60)
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(("127.0.0.1", port))
    assert set(home.iterdir()) == before
