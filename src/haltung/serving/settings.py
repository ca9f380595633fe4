"""What a server is told when it starts, and how many cores it may use."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from haltung.errors import UserError

# The secret may come from the environment, so that it stands in no process list.
KEY_VARIABLE = "HALTUNG_API_KEY"


@dataclass(frozen=True)
class Settings:
    """How a bundle is served.

    ``texts`` (of one request), ``characters`` (of one text or article) and ``bytes`` (of one body) are what a caller may send; ``queue`` is
    how many texts may wait in all; ``batch`` texts or ``tokens``, padding included, go through the graph together; ``wait`` is how many
    seconds a batch waits for company where there was some before. ``timeout`` is in seconds, from the last byte of a request to its
    answer; ``drain`` how long a stopping server still tells new callers that it stops. ``origins`` are the web pages of others that
    may ask from a browser. ``dyads`` is a bundle of a model of dyads, for ``POST /events``; None: word order decides there.
    """

    bundle: Path
    dyads: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    runtime: str = "auto"
    format: str = "auto"
    threads: int | None = None
    batch: int = 32
    tokens: int = 1024
    wait: float = 0.002
    texts: int = 512
    characters: int = 100_000
    bytes: int = 2_000_000
    queue: int = 2048
    connections: int = 512
    timeout: float = 30.0
    drain: float = 0.5
    origins: tuple[str, ...] = ()
    key: str | None = None

    def __post_init__(self) -> None:
        """Hold the limits against each other.

        Raises:
            UserError: a request that is allowed could never be taken.
        """
        if self.texts > self.queue:
            raise UserError(
                f"texts is {self.texts} and queue is {self.queue}, so the largest allowed request never fits; make queue larger"
            )
        for origin in self.origins:
            scheme, _, rest = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not rest or "/" in rest):
                raise UserError(f"origins has '{origin}'; an origin is scheme and host, such as https://example.org, or * for all")


def secret(file: str | None) -> str | None:
    """Return the key that callers have to show: the first line of ``file``, or what ``HALTUNG_API_KEY`` holds; None asks for no key.

    Raises:
        UserError: the file can't be read, or the key in it, or in the variable, is empty or has characters that no header can hold.
    """
    where = file or KEY_VARIABLE
    if file is not None:
        try:
            found = (Path(file).read_text(encoding="utf-8").splitlines() or [""])[0]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the key file {file} can't be read ({error}); name a text file with the key in its first line") from None
    elif KEY_VARIABLE in os.environ:
        found = os.environ[KEY_VARIABLE]
    else:
        return None
    found = found.strip()
    if not found or not found.isascii() or not found.isprintable():
        raise UserError(f"the key in {where} is empty or has other characters than plain letters, digits and signs; write one such key")
    return found


def cores() -> int:
    """Return how many cores this process may use: those of its affinity, or of its control group's quota where that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many processors' time the control group may use; None where there is no limit (versions 2 and 1 of the interface)."""
    try:
        most, period = (root / "cpu.max").read_text().split()
        return None if most == "max" else int(most) / int(period)
    except (OSError, ValueError):
        pass
    try:
        most, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return None if int(most) <= 0 else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
