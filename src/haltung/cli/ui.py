"""``haltung ui``: MLflow's own pages on the right store."""

import signal
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from haltung.cli.build import command, make
from haltung.errors import UserError
from haltung.tracking.ui import page


@command("ui", single="one store at a time; start haltung ui again for another one, with another port")
def run(host: str, port: Annotated[int, Field(ge=1, le=65535)], tracking: Mapping[str, Any]) -> None:
    """Start the pages, print their address, and wait until the user stops them."""
    store = make(tracking, "tracking")
    if not store.local:
        print(f"the runs are on a server, which has its own pages: {store.address}")
        return
    # Stopped by a supervisor, the pages have to go too, as they do with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with page(store, host, port) as (address, process):
        print(f"runs of {store.label}: {address}   (Ctrl-C stops it)", flush=True)
        code = process.wait()
    raise UserError(f"MLflow has ended with exit code {code}; start haltung ui again")
