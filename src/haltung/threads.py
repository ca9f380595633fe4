"""How many threads the libraries compute with, and how these wait for each other.

A thread that spins while it waits takes the core from the one that it waits for, if another process
runs there too: beside one busy process on two cores a training lost two thirds of its speed. Here
they sleep. Nothing heavy is imported, since torch, numpy and scikit-learn read the settings once,
when they are loaded.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def settings() -> dict[str, str]:
    """Return the environment variables for libraries loaded later, without those that are set."""
    # torch asks for large pages then: a hundred thousand page faults less in a second of training.
    wanted = {"OMP_NUM_THREADS": str(cores()), "THP_MEM_ALLOC_ENABLE": "1"}
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        # libgomp, which torch's wheels for Linux carry, knows it, and so do libomp and libiomp5.
        wanted["OMP_WAIT_POLICY"] = "PASSIVE"
    return {name: value for name, value in wanted.items() if name not in os.environ}


def count(processes: int = 1) -> int:
    """Return how many threads each of some processes that run together is to compute with.

    The number for all of them is ``OMP_NUM_THREADS`` where it is set, else that of the cores.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    whole = int(first) if first.isdecimal() and int(first) else cores()
    return max(1, whole // processes)


def cores() -> int:
    """Return how many physical cores this process may use, by affinity and control group."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    physical = len({_siblings(processor) for processor in allowed})
    return max(1, min(physical, math.ceil(quota() or physical)))


def _siblings(processor: int, root: Path = Path("/sys/devices/system/cpu")) -> str:
    """Return the processors of the same core, as Linux writes them; else this one."""
    with suppress(OSError):
        return (root / f"cpu{processor}/topology/thread_siblings_list").read_text()
    return str(processor)


def quota(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return how many processors the control groups (version 2 or 1) allow; None: no limit.

    The limits of all groups above hold too. In a container its own group is often the only one that
    can be seen, at ``root``.
    """
    limits = []
    for folder, names in _groups(root, groups):
        with suppress(OSError, ValueError, ZeroDivisionError):
            limit, period = " ".join((folder / name).read_text() for name in names).split()
            if limit != "max" and int(limit) > 0:
                limits.append(int(limit) / int(period))
    return min(limits, default=None)


def _groups(root: Path, groups: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder that may hold a limit of this process, and the files of the limit in it."""
    lines = [":cpu:/", "::/"]
    with suppress(OSError):
        lines += groups.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            base, names = (root / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]) if controllers else (root, ["cpu.max"])
            folder = base / path.lstrip("/")
            for one in (folder, *folder.parents):
                if one.is_relative_to(base):
                    yield one, names
