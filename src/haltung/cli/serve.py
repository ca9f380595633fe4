"""``haltung serve``: an exported bundle behind HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from omegaconf import OmegaConf
from pydantic import Field

from haltung.cli.build import plain, typed
from haltung.cli.config import compose, parse
from haltung.errors import UserError

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    bundle: str | None
    dyads: str | None
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


def run(words: Sequence[str]) -> int:
    """Serve a bundle until a signal comes."""
    parsed = parse(words)
    if len(parsed.combinations) != 1:
        raise UserError("one bundle at a time; start haltung serve again for another one, with another port")
    config = compose("serve", parsed.combinations[0], parsed.config_dir)
    if parsed.show:
        print(OmegaConf.to_yaml(config))
        return 0
    keys = typed(Keys, plain(config))
    if keys.bundle is None:
        raise UserError("name the bundle to serve, as in bundle=DIR; haltung export run=RUN to=DIR writes one")
    try:
        from haltung.serving.server import serve
    except ModuleNotFoundError as error:
        raise UserError(f"serving needs the library {error.name}, which is not installed; pip install 'haltung[serve]'") from None
    from haltung.serving.settings import Settings, secret

    own = {name: value for name, value in vars(keys).items() if name not in ("bundle", "dyads", "origins", "key_file")}
    dyads = Path(keys.dyads) if keys.dyads else None
    serve(Settings(bundle=Path(keys.bundle), dyads=dyads, origins=tuple(keys.origins), key=secret(keys.key_file), **own))
    return 0
