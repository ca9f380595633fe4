"""``haltung check corpus=NAME limits=NAME``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import Field

from haltung.cli.build import make, plain, scheme_of, typed
from haltung.cli.config import compose, parse
from haltung.cli.prepare import CorpusKeys


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    spelling: Literal["auto", "required", "off"]
    shown: Annotated[int, Field(ge=0)]


def run(words: Sequence[str]) -> int:
    """Hold each corpus that is asked for against its limits; return 1 if one of them is not met."""
    parsed = parse(words)
    holds = True
    for overrides in parsed.combinations:
        config = compose("check", overrides, parsed.config_dir)
        if parsed.show:
            print(OmegaConf.to_yaml(config))
            continue
        holds &= _check(plain(config), parsed.config_dir)
    return 0 if holds else 1


def _check(settings: Mapping[str, Any], config_dir: Path | None) -> bool:
    keys, corpus = typed(Keys, settings), typed(CorpusKeys, settings["corpus"], "corpus")
    limits, reader = make(settings["limits"], "limits"), make(corpus.reader, "corpus.reader")
    scheme = scheme_of(corpus.labels, config_dir)

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from haltung.corpus.quality import prose, spelling

    console = Console()
    spells = keys.spelling == "required" or (keys.spelling == "auto" and spelling.is_there())
    segments = reader.read(scheme).segments
    with Console(stderr=True).status(f"{corpus.name}: checking {len(segments)} segments"):
        countries = reader.countries() if hasattr(reader, "countries") else {}
        measures = list(prose.inspect(segments, limits, scheme, countries, spells))
    table = Table(title=f"{corpus.name}: {len(segments):,} segments", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in ("measure", "found", "allowed", ""):
        table.add_column(column, justify="right" if column == "found" else "left")
    for measure in measures:
        table.add_row(measure.name, measure.found, measure.allowed, Text("ok", "green") if measure.holds else Text("not met", "bold red"))
    console.print(table)
    for measure in measures:
        if not measure.holds and measure.faults:
            console.print(Text(f"{measure.name}: {len(measure.faults)}", "bold"))
            for fault in measure.faults[: keys.shown]:
                console.print(Text(f"  {fault}"))
            if len(measure.faults) > keys.shown:
                console.print(f"  … and {len(measure.faults) - keys.shown} more (shown={len(measure.faults)} lists them all)")
    if limits.spelling is not None and not spells:
        why = "switched off" if keys.spelling == "off" else f"hunspell is not installed; {spelling.INSTALL}"
        console.print(Text(f"Note: spelling was not checked: {why}.", "yellow"))
    return all(measure.holds for measure in measures)
