"""``haltung promote run=RUN alias=champion``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import OmegaConf

from haltung.cli.build import make, plain, typed
from haltung.cli.config import compose, parse
from haltung.errors import UserError


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    run: str | None
    alias: str
    force: bool
    dry: bool
    language: Literal["en", "de"]


def run(words: Sequence[str]) -> int:
    """Let the alias point to the run's exported version; return 1 where the run is worse than the one that has it."""
    parsed = parse(words)
    done = True
    for overrides in parsed.combinations:
        config = compose("promote", overrides, parsed.config_dir)
        if parsed.show:
            print(OmegaConf.to_yaml(config))
        else:
            done &= _promote(plain(config), ["promote", *words])
    return 0 if done else 1


def _promote(settings: Mapping[str, Any], command: Sequence[str]) -> bool:
    keys = typed(Keys, settings)
    if not keys.run:
        raise UserError("name the run whose exported model is to be promoted, as in run=ID; haltung runs lists them")
    store = make(settings["tracking"], "tracking")
    corpus = settings["corpus"]["name"] if settings.get("corpus") else None

    from rich.console import Console
    from rich.text import Text

    from haltung.evaluation.report import comparison_tables
    from haltung.experiments import promote as promotions

    console = Console()
    found = promotions.consider(store, keys.run, keys.alias, corpus, keys.force)
    for sentence in found.verdicts(keys.language):
        console.print(Text(sentence, "bold"), soft_wrap=True)
    for note in comparison_tables.notes(found.comparison, keys.language) if found.comparison else [found.note]:
        console.print(Text(note, "dim" if found.comparison else ""), soft_wrap=True)
    before = str(found.old) if found.old else "none"
    if not found.allowed:
        tasks = ", ".join(found.worse)
        said = f"{keys.alias}: {before} stays; {found.record.name} is worse in {tasks} (force=true promotes it all the same)"
        console.print(Text(said, "bold red"), soft_wrap=True)
        return False
    if not found.changes:
        console.print(Text(f"{keys.alias}: {before}, nothing changed"), soft_wrap=True)
        return True
    if not keys.dry:
        promotions.carry_out(found, command)
    worse = f", although worse in {', '.join(found.worse)}" if found.worse else ""
    would = " (dry=true, so nothing was changed)" if keys.dry else ""
    moved = f"{keys.alias}: {before} -> {found.new} ({found.record.name}){worse}{would}"
    console.print(Text(moved), soft_wrap=True)
    return True
