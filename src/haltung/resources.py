"""The cores and memory that a process may use, and the number of threads of libraries.

If another process is busy, a thread that spins while it waits takes the core from the thread that
it waits for: beside one busy process on two cores, training lost two thirds of its speed. These
settings let threads sleep. Nothing heavy is imported: libraries read them once, when loaded.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def thread_settings(huge_pages: bool = True) -> dict[str, str]:
    """Return environment variables for libraries loaded later, except those already set."""
    # Makes torch request huge pages: a hundred thousand fewer page faults per second of training.
    wanted = {"OMP_NUM_THREADS": str(cores()), "THP_MEM_ALLOC_ENABLE": str(int(huge_pages))}
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        # Supported by libgomp, which torch's wheels for Linux include, and by libomp and libiomp5.
        wanted["OMP_WAIT_POLICY"] = "PASSIVE"
    return {name: value for name, value in wanted.items() if name not in os.environ}


def threads(processes: int = 1) -> int:
    """Return the number of threads for each of several processes that run together.

    They share ``OMP_NUM_THREADS`` threads if it is set, else as many as there are cores.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, (int(first) if first.isdecimal() and int(first) else cores()) // processes)


def cores() -> int:
    """Return the number of physical cores this process may use, by affinity and control group."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    physical = len({_siblings(processor) for processor in allowed})
    return max(1, min(physical, math.ceil(quota() or physical)))


def _siblings(processor: int, root: Path = Path("/sys/devices/system/cpu")) -> str:
    """Return the processors of the same core, as Linux lists them; else this one."""
    with suppress(OSError):
        return (root / f"cpu{processor}/topology/thread_siblings_list").read_text()
    return str(processor)


def quota(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return how many processors the control group and its parents allow, None without a limit.

    Groups are of version 2. In a container, only its own group is visible, at ``root``.
    """
    limits = []
    for text in _of_groups("cpu.max", root, groups):
        with suppress(ValueError, ZeroDivisionError):  # "max" is no number
            limit, period = map(int, text.split())
            limits.append(limit / period)
    return min(limits, default=None)


def memory() -> float | None:
    """Return the GiB that this process may use: the machine's, or what its control group allows."""
    limits = [int(text) / 2**30 for text in _of_groups("memory.max") if text.strip().isdecimal()]
    with suppress(ValueError, OSError, AttributeError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    return min(limits, default=None)


def _of_groups(name: str, root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> Iterator[str]:
    """Yield the content of a file of the control group, and of each group above it."""
    with suppress(OSError):
        own = root / groups.read_text().rpartition("0::/")[2].strip()
        for folder in (own, *own.parents):
            with suppress(OSError):
                yield (folder / name).read_text()
