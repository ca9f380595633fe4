"""``haltung prepare corpus=NAME`` and ``haltung check corpus=NAME limits=NAME``."""

from typing import Annotated, Literal

from pydantic import Field
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from haltung.cli.build import CorpusOptions, command, corpus_of, make, scheme_of, typed
from haltung.cli.config import Request
from haltung.corpus.quality import INSTALL_HUNSPELL, has_hunspell, inspect
from haltung.corpus.split import SPLITS
from haltung.corpus.store import REASONS, Prepared, label_rows
from haltung.evaluation.report.tables import Grid


@command("prepare")
def run(request: Request) -> None:
    """Prepare a corpus and print its table."""
    prepared = corpus_of(request.settings, request.config_dir)
    Console().print(table(prepared))
    print(f"written to {prepared.folder}")


@command("check")
def check(
    request: Request, *, spelling: Literal["auto", "required", "off"], shown: Annotated[int, Field(ge=0)],
    only_splits: tuple[Literal["train", "dev", "test"], ...] | None,
) -> int:  # fmt: skip
    """Hold a corpus against its limits; return 1 if one of them is not met."""
    corpus = typed(CorpusOptions, request.settings["corpus"], "corpus")
    limits, reader = make(request.settings["limits"], "limits"), make(corpus.reader, "corpus.reader")
    scheme = scheme_of(corpus.labels, request.config_dir)
    console = Console()
    spells = spelling == "required" or (spelling == "auto" and has_hunspell())
    segments = reader.read(scheme).segments
    if only_splits is not None:
        segments = tuple(segment for segment in segments if segment.split in only_splits)
    with Console(stderr=True).status(f"{corpus.name}: checking {len(segments)} segments"):
        countries = reader.countries() if hasattr(reader, "countries") else {}
        measures = list(inspect(segments, limits, scheme, countries, spells))
    heads = ("measure", Column("found", justify="right"), "allowed", "")
    grid = Table(*heads, title=f"{corpus.name}: {len(segments):,} segments", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for measure in measures:
        grid.add_row(measure.name, measure.found, measure.allowed, Text("ok", "green") if measure.holds else Text("not met", "bold red"))
    console.print(grid)
    for measure in measures:
        if not measure.holds and measure.faults:
            console.print(Text(f"{measure.name}: {len(measure.faults)}", "bold"))
            for fault in measure.faults[:shown]:
                console.print(Text(f"  {fault}"))
            if len(measure.faults) > shown:
                console.print(f"  … and {len(measure.faults) - shown} more (shown={len(measure.faults)} lists them all)")
    if limits.spelling is not None and not spells:
        why = "switched off" if spelling == "off" else f"hunspell is not installed; {INSTALL_HUNSPELL}"
        console.print(Text(f"Note: spelling was not checked: {why}.", "yellow"))
    return 0 if all(measure.holds for measure in measures) else 1


def table(prepared: Prepared) -> Group:
    """Return counts of the labels by split, then dropped segments."""
    manifest = prepared.manifest
    parts: list[RenderableType] = [Text(prepared.name, style="bold")]
    parts += [Text(f"  {part}: {manifest.segments[part]:,} segments of {manifest.articles[part]:,} articles") for part in SPLITS]
    whole = max(1, manifest.segments["train"])
    for task in prepared.scheme:
        rows = tuple(
            (id, name, *(f"{count:,}" for count in counts.values()), f"{counts['train'] / whole:.1%}")
            for id, _, name, counts in label_rows(task, manifest)
        )
        parts.append(Grid(task.title(), ("label", "English", *SPLITS, "share of train"), rows, left=2).rich())
    losses = [(reason, REASONS.get(reason, "see dropped.jsonl"), f"{count:,}") for reason, count in sorted(manifest.dropped.items())]
    losses += [(f"repaired: {what}", "see repaired.jsonl", f"{count:,}") for what, count in sorted(manifest.repaired.items())]
    if losses:
        parts.append(Grid("Dropped and repaired", ("reason", "meaning", "segments"), tuple(losses), left=2).rich())
    return Group(*parts, *(Text(f"Note: {note}.", style="yellow") for note in manifest.notes))
