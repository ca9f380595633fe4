"""``haltung prepare corpus=NAME``."""

from rich.console import Console

from haltung.cli.build import command, corpus_of
from haltung.cli.config import Request
from haltung.corpus.store import table


@command("prepare")
def run(request: Request) -> None:
    """Prepare a corpus and print its table."""
    prepared = corpus_of(request.settings, request.config_dir)
    Console().print(table(prepared))
    print(f"written to {prepared.folder}")
