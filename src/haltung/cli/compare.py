"""``haltung compare runs=[A,B]``, and ``haltung promote run=RUN`` if it is not worse."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field
from rich.console import Console
from rich.text import Text

from haltung.cli import hint
from haltung.cli.build import Language, Seed, command, make
from haltung.cli.config import Request, shipped_or_own
from haltung.errors import UserError
from haltung.evaluation.comparison import OPEN, PublishedResult, compare, with_published
from haltung.evaluation.report import comparison
from haltung.experiments.compare import carry_out, consider, read, save


# Of a corpus only the name is needed, so that its files need not be named (corpus.reader.path).
@command("compare", lists=("runs",), optional=("corpus",))
def run(
    request: Request, *, runs: list[str], split: Literal["dev", "test", "folds"], task: str | None, correction: Literal["holm", "none"],
    draws: Annotated[int, Field(ge=200, le=100_000)], seed: Seed, language: Language, output: str | None, track: bool,
) -> None:  # fmt: skip
    """Compare runs; print leaderboard, pairs and verdicts, track them, write them to ``output``."""
    store = make(request.settings["tracking"], "tracking")
    corpus = request.settings["corpus"]["name"] if request.settings.get("corpus") else None
    console = Console()
    systems = read(store, runs, split, corpus)
    scheme = systems[0].runs[0].scheme
    result = compare(systems, [task] if task else [], correction, draws, seed)
    result = with_published(result, _references(result.corpus, request.config_dir))
    for task, pairs in result.tasks.items():
        console.print(comparison.leaderboard(result, task, scheme, language).rich())
        for pair in pairs.pairs:
            sentence = comparison.sentence(pair, result, language)
            console.print(Text(sentence, "" if pair.verdict == OPEN else "bold"), soft_wrap=True)
        console.print()
        console.print(comparison.pairs(result, task, scheme, language, verdicts=False).rich())
    for note in comparison.notes(result, language):
        console.print(Text(note, "dim"))
    page, run_id = save(
        result, systems, request.command, language=language, folder=Path(output) if output else None,
        store=store if track else None,
    )  # fmt: skip
    if run_id:
        console.print(f"run [bold]{run_id}[/] (compare)", highlight=False)
    if page is not None:
        hint("page", str(page))


@command("promote")
def promote(request: Request, *, run: str | None, alias: str, force: bool, dry: bool, language: Language) -> int:
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


def _references(corpus: str, config_dir: Path | None) -> list[PublishedResult]:
    """Return the published results in the config of this corpus; none if it has no config."""
    path = shipped_or_own("corpus", corpus, config_dir)
    declared = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("references") or [] if path else []
    if not isinstance(declared, list) or not all(isinstance(one, Mapping) for one in declared):
        raise UserError(f"{path}: references is no list of mappings; see configs/corpus/xstance.yaml for their form")
    target = {"_target_": "haltung.evaluation.comparison.PublishedResult"}
    return [make(target | one, f"corpus.references.{number}") for number, one in enumerate(declared)]
