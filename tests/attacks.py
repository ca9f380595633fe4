"""A fuzzer: random mutations of inputs, tried in a process that may hang, die or exhaust memory.

Its targets are in ``faults/fuzz.py``. This module imports little, so that a test can fork a small
process: forking one that has threads of torch, Ray and ONNX Runtime may crash the child at once.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import resource
import signal
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from haltung.errors import UserError
from haltung.inference.client import BundleError

SECONDS, BYTES = 5, 2**30

# Replacements for values of JSON or YAML.
ODD = (
    None, True, 0, -1, 2**70, 1e308, float("nan"), float("inf"), 0.5, "", " ", "\x00", "\r", "a\rb", "\ud800", "\ufeff", "\u202e", "ﬁ",
    "😀" * 50, "x" * 200_000, "../../x", "${oc.env:HOME}", "null", "1e999", "=1+1",
    [], {}, [[]], {"": ""}, {"a": {"b": {}}}, [None], ["\ud83d"],
)  # fmt: skip
# Byte strings to insert.
BITS = (
    b"\x00", b"\xff", b"\r", b"\n\n", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b"'", b"\\", b"\\ud800",
    b"{", b"}", b"[", b"]", b",", b":", b";",
    b"\t", b"-", b"&a *a", b"!!python/name:os.system", b"NaN", b"1e999", b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"a" * 100_000,
    "\u2028".encode(), "ß".encode("latin-1"),
)  # fmt: skip


class Hang(BaseException):
    """A case took too long; as no ``Exception``, it passes the handlers of the code under test."""


@dataclass(frozen=True)
class Target:
    """A function that reads ``file`` in a folder, and valid contents of it."""

    file: str
    run: Callable[[Path], object]
    seeds: tuple[bytes, ...]
    # Writes the other files that it needs into the folder.
    beside: Callable[[Path], object] = lambda folder: None


def mutated(data: bytes, file: str, pick: random.Random) -> bytes:
    """Return the data after one to four random mutations."""
    changed = data
    if pick.random() < 0.6 and file.endswith((".json", ".jsonl", ".yaml")):
        with contextlib.suppress(ValueError, yaml.YAMLError):
            changed = _with_odd_values(data, file, pick)
    for _ in range(pick.randint(changed == data, 3) if pick.random() < 0.5 or changed == data else 0):
        changed = _with_odd_bytes(changed, pick)
    return changed


def _with_odd_values(data: bytes, file: str, pick: random.Random) -> bytes:
    if file.endswith(".yaml"):
        # JSON is valid YAML.
        tree = _changed(yaml.safe_load(data), pick)
        return json.dumps(tree, ensure_ascii=pick.random() < 0.5).encode("utf-8", "surrogatepass")
    rows = [json.loads(line) for line in data.splitlines()] if file.endswith(".jsonl") else [json.loads(data)]
    row = pick.randrange(len(rows))
    rows[row] = _changed(rows[row], pick)
    return "\n".join(json.dumps(one, ensure_ascii=pick.random() < 0.5) for one in rows).encode("utf-8", "surrogatepass")


def _changed(tree: Any, pick: random.Random) -> Any:
    """Return a copy of plain data with one to three parts replaced, deleted or renamed."""
    tree = copy.deepcopy(tree)
    for _ in range(pick.randint(1, 3)):
        spots: list[tuple[Any, Any]] = []

        def walk(node: Any, spots: list[tuple[Any, Any]] = spots) -> None:
            for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
                spots.append((node, key))
                walk(node[key])

        walk(tree)
        if not spots:
            return copy.deepcopy(pick.choice(ODD))
        node, key = pick.choice(spots)
        match pick.randrange(6):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[pick.choice(["", "x", "id", "text", key + " ", key.upper(), "\ud800"]) if isinstance(key, str) else "x"] = node.pop(
                    key
                )
            case 2:
                node[key] = copy.deepcopy(pick.choice(spots)[0])
            case _:
                node[key] = copy.deepcopy(pick.choice(ODD))
    return tree


def _with_odd_bytes(data: bytes, pick: random.Random) -> bytes:
    at, to = sorted(pick.randint(0, len(data)) for _ in range(2))
    to = min(to, at + 40)
    match pick.randrange(6):
        case 0:
            return data[:at] + bytes([pick.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[to:]
        case 3:
            return data[:to] + data[at:to] * pick.choice([1, 2, 50]) + data[to:]
        case 4:
            return data[:at] + bytes(byte ^ 1 << pick.randrange(8) for byte in data[at:to]) + data[to:]
        case _:
            return data[:at] + pick.choice(BITS) + data[at:]


def case_of(target: Target, name: str, seed: int, number: int) -> bytes:
    """Return the input of a case; it is deterministic."""
    pick = random.Random(f"{name} {seed} {number}")
    return mutated(pick.choice(target.seeds), target.file, pick)


def tried(target: Target, data: bytes, folder: Path) -> str:
    """Run a case; return a description of the fault, or "" if there is none."""
    path = folder / target.file
    path.write_bytes(data)

    def late(*_: object) -> None:
        raise Hang

    # Limits processor time, which does not depend on the load of the machine.
    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        target.run(path)
    except (UserError, BundleError) as error:
        return "" if str(error).strip() else "an empty sentence"
    except Hang:
        return f"it takes over {SECONDS} s"
    except BaseException as error:  # noqa: BLE001 -- any other is a finding
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:200]!r}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return ""


def prepared(target: Target, folder: Path) -> None:
    """Prepare a folder for the cases of a target, and check that its valid inputs are accepted."""
    (folder / target.file).parent.mkdir(parents=True, exist_ok=True)
    target.beside(folder)
    for sound in target.seeds:
        (folder / target.file).write_bytes(sound)
        target.run(folder / target.file)


def limit_memory() -> None:
    """Limit this process to 1 GiB more than it uses now."""
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def attack(name: str, target: Target, seed: int, numbers: range, keep: Path) -> Counter[str]:
    """Try cases in a process that is restarted if it dies; return the findings and their counts."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="haltung-fuzz-") as folder:
        marker, first = Path(folder, ".at"), numbers.start
        while first < numbers.stop:
            marker.write_text(f"{first}\n", encoding="utf-8")
            child = os.fork()
            if not child:
                try:
                    _work(name, target, seed, range(first, numbers.stop), Path(folder), keep, marker)
                except BaseException:  # noqa: BLE001 -- a child must not go on as its parent
                    traceback.print_exc()
                finally:
                    os._exit(1)
            status, waited, at = 0, time.monotonic(), first
            while not (done := os.waitpid(child, os.WNOHANG))[0]:
                time.sleep(0.05)
                if (now := int(marker.read_text() or at)) != at:
                    waited, at = time.monotonic(), now
                elif time.monotonic() - waited > max(60, 60 * SECONDS):  # native code, which delays signal handlers
                    os.kill(child, signal.SIGKILL)
            status, at = done[1], int(marker.read_text() or at)
            if not status:
                break
            died = f"the process ends with status {status}"
            found[kept(name, target, case_of(target, name, seed, at), f"case {at} of seed {seed}", died, keep)] += 1
            first = at + 1
    return found + noted(name, keep)


def _work(name: str, target: Target, seed: int, numbers: range, folder: Path, keep: Path, marker: Path) -> None:
    prepared(target, folder)
    limit_memory()
    for number in numbers:
        marker.write_text(f"{number}\n", encoding="utf-8")
        if wrong := tried(target, case_of(target, name, seed, number), folder):
            note(name, kept(name, target, case_of(target, name, seed, number), f"case {number} of seed {seed}", wrong, keep), keep)
    os._exit(0)


def kept(name: str, target: Target, data: bytes, origin: str, wrong: str, keep: Path) -> str:
    """Store the input of a finding if it is the first of its kind; return the kind."""
    kind = f"{name}: {wrong.encode('ascii', 'backslashreplace').decode()}"
    place = keep / f"{name}-{zlib.crc32(wrong.partition(':')[0].encode()):08x}{Path(target.file).suffix}"
    if not place.exists():
        place.write_bytes(data)
        print(f"{kind}\n  {origin}: {place}", flush=True)
    return kind


def note(name: str, kind: str, keep: Path) -> None:
    """Append a finding to a file, which the parent can read even if this process dies."""
    with (keep / f"{name}.txt").open("a", encoding="utf-8") as file:
        file.write(kind + "\n")


def noted(name: str, keep: Path) -> Counter[str]:
    """Return the findings that ``note`` has written, with their counts."""
    path = keep / f"{name}.txt"
    return Counter(path.read_text(encoding="utf-8").splitlines() if path.exists() else ())
