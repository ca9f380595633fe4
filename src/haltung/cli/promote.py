"""``haltung promote run=RUN alias=champion``."""

from rich.console import Console
from rich.text import Text

from haltung.cli.build import Language, command, make
from haltung.cli.config import Request
from haltung.errors import UserError
from haltung.evaluation.report import comparison
from haltung.experiments.compare import carry_out, consider


@command("promote")
def run(request: Request, *, run: str | None, alias: str, force: bool, dry: bool, language: Language) -> int:
    """Move the alias to the run's exported version; return 1 if the run is worse."""
    if not run:
        raise UserError("name the run whose exported model is to be promoted, as in run=ID; haltung runs lists them")
    corpus = request.settings["corpus"]["name"] if request.settings.get("corpus") else None
    console = Console(soft_wrap=True)
    plan = consider(make(request.settings["tracking"], "tracking"), run, alias, corpus, force)
    for sentence in plan.verdicts(language):
        console.print(Text(sentence, "bold"))
    for note in comparison.notes(plan.comparison, language) if plan.comparison else [plan.note]:
        console.print(Text(note, "dim" if plan.comparison else ""))
    before, worse = str(plan.old) if plan.old else "none", ", ".join(plan.worse)
    if not plan.allowed:
        refusal = f"{alias}: {before} stays; {plan.record.name} is worse in {worse} (force=true promotes it all the same)"
        console.print(Text(refusal, "bold red"))
        return 1
    if not plan.changes:
        console.print(Text(f"{alias}: {before}, nothing changed"))
        return 0
    if not dry:
        carry_out(plan, request.command)
    although = f", although worse in {worse}" if worse else ""
    as_if = " (dry=true, so nothing was changed)" if dry else ""
    console.print(Text(f"{alias}: {before} -> {plan.new} ({plan.record.name}){although}{as_if}"))
    return 0
