"""``haltung serve``: an exported bundle behind HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from haltung.cli.build import typed
from haltung.cli.config import Request, command
from haltung.errors import UserError


@dataclass(frozen=True)
class ServeOptions:
    """The keys that have to be read before they are settings of the server, as all others are."""

    bundle: str | None
    key_file: str | None


@command("serve", single="one bundle at a time; start haltung serve again for another one, with another port")
def run(request: Request) -> None:
    """Serve a bundle until a signal comes."""
    options = typed(ServeOptions, request.settings)
    if options.bundle is None:
        raise UserError("name the bundle to serve, as in bundle=DIR; haltung export run=RUN to=DIR writes one")
    try:
        from haltung.serving.engine import Settings, secret
        from haltung.serving.server import serve
    except ModuleNotFoundError as error:
        raise UserError(f"serving needs the library {error.name}, which is not installed; pip install 'haltung[serve]'") from None
    serve(typed(Settings, {**request.settings, "bundle": Path(options.bundle), "key": secret(options.key_file)}))
