"""``haltung prepare corpus=NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from haltung.cli.build import corpus_of, typed
from haltung.cli.config import each


@dataclass(frozen=True)
class PrepareOptions:
    """The keys of the command."""

    force: bool


def run(arguments: Sequence[str]) -> int:
    """Prepare each corpus and print its table."""
    for request in each("prepare", arguments):
        prepared = corpus_of(request.settings, request.config_dir, typed(PrepareOptions, request.settings).force)

        from rich.console import Console

        from haltung.corpus.store import table

        Console().print(table(prepared))
        print(f"written to {prepared.folder}")
    return 0
