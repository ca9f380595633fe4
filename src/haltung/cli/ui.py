"""``haltung ui``: MLflow's own pages on the right store."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from haltung.cli.build import make, typed
from haltung.cli.config import each
from haltung.errors import UserError


@dataclass(frozen=True)
class UiOptions:
    """The keys of the command."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]


def run(arguments: Sequence[str]) -> int:
    """Start the pages, print their address, and wait until the user stops them."""
    for request in each("ui", arguments, single="one store at a time; start haltung ui again for another one, with another port"):
        options, store = typed(UiOptions, request.settings), make(request.settings["tracking"], "tracking")
        if not store.local:
            print(f"the runs are on a server, which has its own pages: {store.address}")
            return 0

        from haltung.tracking.ui import page

        # Stopped by a supervisor, the pages have to go too, as they do with Ctrl-C.
        signal.signal(signal.SIGTERM, _interrupt)
        with page(store, options.host, options.port) as (address, process):
            print(f"runs of {store.label}: {address}   (Ctrl-C stops it)", flush=True)
            code = process.wait()
        raise UserError(f"MLflow has ended with exit code {code}; start haltung ui again")
    return 0


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
