"""``haltung serve``: an exported bundle behind HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from haltung.cli.build import typed
from haltung.cli.config import Request, command
from haltung.errors import UserError

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class ServeOptions:
    """The keys of the command."""

    bundle: str | None
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    runtime: Literal["auto", "onnxruntime", "openvino"]
    format: str
    threads: Count | None
    batch: Count
    tokens: Count
    wait: Annotated[float, Field(ge=0)]
    texts: Count
    characters: Count
    bytes: Count
    queue: Count
    connections: Count
    timeout: Seconds
    drain: Annotated[float, Field(ge=0)]
    origins: list[str]
    key_file: str | None


@command("serve", single="one bundle at a time; start haltung serve again for another one, with another port")
def run(request: Request) -> None:
    """Serve a bundle until a signal comes."""
    options = typed(ServeOptions, request.settings)
    if options.bundle is None:
        raise UserError("name the bundle to serve, as in bundle=DIR; haltung export run=RUN to=DIR writes one")
    try:
        from haltung.serving.server import serve
    except ModuleNotFoundError as error:
        raise UserError(f"serving needs the library {error.name}, which is not installed; pip install 'haltung[serve]'") from None
    from haltung.serving.engine import Settings, secret

    others = {name: value for name, value in vars(options).items() if name not in ("bundle", "origins", "key_file")}
    serve(Settings(Path(options.bundle), origins=tuple(options.origins), key=secret(options.key_file), **others))
