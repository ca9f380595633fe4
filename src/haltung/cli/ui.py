"""``haltung ui``: MLflow's own pages on the right store."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from omegaconf import OmegaConf
from pydantic import Field

from haltung.cli.build import make, plain, typed
from haltung.cli.config import compose, parse
from haltung.errors import UserError


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]


def run(words: Sequence[str]) -> int:
    """Start the pages, say where they are, and wait until the user stops them."""
    parsed = parse(words)
    if len(parsed.combinations) != 1:
        raise UserError("one store at a time; start haltung ui again for another one, with another port")
    config = compose("ui", parsed.combinations[0], parsed.config_dir)
    if parsed.show:
        print(OmegaConf.to_yaml(config))
        return 0
    settings = plain(config)
    keys, store = typed(Keys, settings), make(settings["tracking"], "tracking")
    if not store.local:
        print(f"the runs are on a server, which has its own pages: {store.address}")
        return 0

    from haltung.tracking.ui import page

    # Stopped by a supervisor, the pages have to go too, as they do with Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    with page(store, keys.host, keys.port) as (address, process):
        print(f"runs of {store.shown}: {address}   (Ctrl-C stops it)", flush=True)
        code = process.wait()
    raise UserError(f"MLflow has ended with exit code {code}; start haltung ui again")


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
