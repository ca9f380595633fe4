"""``haltung prepare corpus=NAME``."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from haltung.cli.build import corpus_of, typed
from haltung.cli.config import Request, command


@dataclass(frozen=True)
class PrepareOptions:
    """The keys of the command."""

    force: bool


@command("prepare")
def run(request: Request) -> None:
    """Prepare a corpus and print its table."""
    prepared = corpus_of(request.settings, request.config_dir, typed(PrepareOptions, request.settings).force)

    from haltung.corpus.store import table

    Console().print(table(prepared))
    print(f"written to {prepared.folder}")
