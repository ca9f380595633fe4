"""``haltung ensemble members=[RUN,RUN]``."""

from pathlib import Path

from rich.console import Console

from haltung.cli import hint
from haltung.cli.build import Language, command, corpus_of, make
from haltung.cli.config import Request
from haltung.errors import UserError


@command("ensemble", lists=("members",))
def run(request: Request, *, members: tuple[str, ...], name: str | None, language: Language, runs: str) -> None:
    """Make one model of several runs; print its weights, its metrics on dev and its run."""
    settings = request.settings
    if not members:
        raise UserError("name the runs that shall answer as one, as in members=[A,B]; haltung runs lists them")

    from haltung.evaluation.report import tables
    from haltung.experiments.combined import combine, members_of

    store = make(settings["tracking"], "tracking")
    trained = members_of(store, members)
    if not settings.get("corpus"):
        if not (records := [member.record for member in trained if member.record is not None]):
            raise UserError("members that are folders don't say how their corpus was prepared; name it with corpus=NAME")
        settings = {**settings, "corpus": records[0].config["corpus"]}
    corpus = corpus_of(settings, request.config_dir)
    console, name = Console(), name or f"{corpus.name}-ensemble"
    done, by_task = combine(trained, corpus, store, name, Path(runs), settings, request.command, language)
    tables.show(done.evaluation, corpus.scheme, console, language)
    rows = tuple((member.name, *(f"{weights[number]:.2f}" for weights in by_task.values())) for number, member in enumerate(trained))
    console.print(tables.Grid("weights", ("member", *by_task), rows).rich())
    console.print(f"run [bold]{done.run}[/] ({name})", highlight=False, soft_wrap=True)
    hint("bundle", str(done.bundle))
    hint("open test", f"haltung evaluate run={done.run[:8]} split=test")
