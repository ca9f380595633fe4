"""``haltung ensemble members=[RUN,RUN]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from haltung.cli.build import make, plain, typed
from haltung.cli.config import compose, parse
from haltung.cli.prepare import corpus_of
from haltung.errors import UserError


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    members: tuple[str, ...]
    name: str | None
    language: Literal["en", "de"]
    sources: str
    prepared: str
    runs: str


def run(words: Sequence[str]) -> int:
    """Make one model of several runs; print its weights, its figures on dev and its run."""
    parsed = parse(words)
    for overrides in parsed.combinations:
        config = compose("ensemble", overrides, parsed.config_dir)
        if parsed.show:
            print(OmegaConf.to_yaml(config))
        else:
            _ensemble(plain(config), ["ensemble", *words], parsed.config_dir)
    return 0


def _ensemble(settings: Mapping[str, Any], command: Sequence[str], config_dir: Path | None) -> None:
    keys = typed(Keys, settings)
    if not keys.members:
        raise UserError("name the runs that shall answer as one, as in members=[A,B]; haltung runs lists them")

    from rich.console import Console

    from haltung.evaluation.report import tables
    from haltung.experiments.ensemble import combine, members_of

    store = make(settings["tracking"], "tracking")
    members = members_of(store, keys.members)
    if not settings.get("corpus"):
        records = [member.record for member in members if member.record is not None]
        if not records:
            raise UserError("members that are folders don't say how their corpus was prepared; name it with corpus=NAME")
        settings = {**settings, "corpus": records[0].config["corpus"]}
    corpus = corpus_of(settings, config_dir)
    console, name = Console(), keys.name or f"{corpus.name}-ensemble"
    done = combine(members, corpus, store, name, Path(keys.runs), settings, command, keys.language)
    tables.show(done.evaluation, corpus.scheme, console, keys.language)
    rows = tuple((member, *(f"{each[number]:.2f}" for each in done.weights.values())) for number, member in enumerate(done.members))
    console.print(tables.Grid("weights", ("member", *done.weights), rows).rich())
    console.print(f"run [bold]{done.run}[/] ({name})", highlight=False)
    console.print(f"bundle: {done.bundle}", highlight=False, soft_wrap=True)
    console.print(f"open test:   haltung evaluate run={done.run[:8]} split=test", highlight=False)
