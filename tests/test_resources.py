"""Cores, memory and threads: limits by affinity, control groups and the user, and their use by
libraries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from haltung import resources

SETTINGS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset all settings; restore them after the test."""
    for name in SETTINGS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def quota(folder: Path, files: Mapping[str, str], groups: str = "0::/\n") -> float | None:
    """Return the quota according to control groups with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    (folder / "groups").write_text(groups)
    return resources.quota(folder, folder / "groups")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "50000 0"}, None),
        ({"cpu.max": "150000"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    """Values that can't be read are no limit."""
    assert quota(tmp_path, files) == expected


@pytest.mark.parametrize(
    ("files", "groups", "expected"),
    [
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 3.0),
        ({"a/b/cpu.max": "50000 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 0.5),
        ({"other/cpu.max": "50000 100000"}, "0::/a/b\n", None),
        ({"a/cpu.max": "150000 100000"}, "3:cpuset:/\n1:name=systemd:/b\n0::/a\n", 1.5),
        ({"cpu.max": "200000 100000"}, "0::/../outside\n", 2.0),
    ],
)
def test_the_groups_above_limit_too(tmp_path: Path, files: dict[str, str], groups: str, expected: float | None) -> None:
    """For example, a service is limited by its slice; other groups don't count."""
    assert quota(tmp_path, files, groups) == expected


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    """The files of its control group and of its ancestors are read, if they exist."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/memory.max").write_text("4294967296\n")
    (tmp_path / "a/b/memory.max").write_text("max\n")
    (tmp_path / "groups").write_text("0::/a/b\n")
    assert list(resources._of_groups("memory.max", tmp_path, tmp_path / "groups")) == ["max\n", "4294967296\n"]
    assert 0 < (resources.memory() or 0) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def test_no_more_cores_count_than_the_process_may_use() -> None:
    """Limits are set by `taskset` or SLURM, for example."""
    assert 1 <= resources.cores() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        program = (
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from haltung import resources; print(resources.cores())"
        )
        assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "1\n"


def test_two_processors_of_one_core_are_one(tmp_path: Path) -> None:
    """Two threads on one core do not multiply matrices faster than one."""
    for processor, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        folder = tmp_path / f"cpu{processor}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    assert len({resources._siblings(processor, tmp_path) for processor in range(4)}) == 2
    assert len({resources._siblings(processor, tmp_path / "absent") for processor in range(4)}) == 4


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("6,2", 6), ("0", None), ("many", None), ("", None)])
def test_the_users_number_wins(monkeypatch: pytest.MonkeyPatch, given: str, expected: int | None) -> None:
    """Whatever the number of cores; invalid values are ignored, as in OpenMP."""
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert resources.threads() == (expected or resources.cores())


def test_processes_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has at least one."""
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert [resources.threads(processes) for processes in (1, 2, 5, 8)] == [5, 2, 1, 1]


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_the_users_way_of_waiting_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """If any setting for waiting threads is set, none is added; otherwise threads sleep."""
    monkeypatch.setenv(name, "1")
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    always = {"OMP_NUM_THREADS": str(resources.cores()), "THP_MEM_ALLOC_ENABLE": "1"}
    assert resources.thread_settings() == always
    monkeypatch.delenv(name)
    assert resources.thread_settings() == always | {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize("entrance", ["import haltung.cli; haltung.cli.main(['--version'])", "import haltung; haltung.load"])
def test_torch_computes_with_this_number(entrance: str) -> None:
    """On the command line and in Python, so it is set before torch is loaded."""
    program = f"{entrance}; import json, os, torch; print(json.dumps([torch.get_num_threads(), os.environ['OMP_WAIT_POLICY']]))"
    for given, expected in (({}, resources.cores()), ({"OMP_NUM_THREADS": "1"}, 1)):
        environment = {**os.environ, **given}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
        assert json.loads(done.stdout.splitlines()[-1]) == [expected, "PASSIVE"]


@pytest.mark.parametrize(
    ("command", "given", "expected"), [("train", None, "1"), ("adapt", None, "0"), ("adapt", "1", "1"), ("train", "0", "0")]
)
def test_adapt_asks_for_small_pages(command: str, given: str | None, expected: str) -> None:
    """Huge pages fragment its memory; the user's setting has priority."""
    program = f"import haltung.cli, os; haltung.cli.main(['{command}', '--help']); print(os.environ['THP_MEM_ALLOC_ENABLE'])"
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    if given:
        environment["THP_MEM_ALLOC_ENABLE"] = given
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == expected
