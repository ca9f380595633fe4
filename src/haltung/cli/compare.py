"""``haltung compare runs=[A,B]``."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from omegaconf import OmegaConf
from pydantic import Field

from haltung import files
from haltung.cli.build import make, plain, typed
from haltung.cli.config import compose, parse
from haltung.errors import UserError

if TYPE_CHECKING:
    from haltung.evaluation.comparison.published import Reference


_REFERENCE = "haltung.evaluation.comparison.published.Reference"


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    runs: list[str]
    split: Literal["dev", "test", "folds"]
    task: str | None
    correction: Literal["holm", "none"]
    draws: Annotated[int, Field(ge=200, le=100_000)]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    language: Literal["en", "de"]
    output: str | None
    track: bool


def run(words: Sequence[str]) -> int:
    """Compare runs; print leaderboard, pairs and verdicts, keep them in MLflow, and write them where that is asked for."""
    parsed = parse([_as_texts(word) for word in words])
    for overrides in parsed.combinations:
        config = compose("compare", overrides, parsed.config_dir, optional=("corpus",))
        if parsed.show:
            print(OmegaConf.to_yaml(config))
        else:
            # Of a corpus its name alone is wanted, so that its files need not be named (corpus.reader.path).
            _compare(plain(config), ["compare", *words], parsed.config_dir)
    return 0


def _compare(settings: Mapping[str, Any], command: Sequence[str], config_dir: Path | None) -> None:
    keys = typed(Keys, settings)
    store = make(settings["tracking"], "tracking")
    corpus = settings["corpus"]["name"] if settings.get("corpus") else None

    from rich.console import Console
    from rich.text import Text

    from haltung import tracking
    from haltung.evaluation.comparison import published as comparison_references
    from haltung.evaluation.comparison.compare import OPEN, compare
    from haltung.evaluation.report import comparison_page, comparison_tables
    from haltung.experiments import compare as comparisons

    console = Console()
    systems = comparisons.read(store, keys.runs, keys.split, corpus)
    scheme = systems[0].runs[0].scheme
    found = compare(systems, [keys.task] if keys.task else [], keys.correction, keys.draws, keys.seed)
    found = comparison_references.with_references(found, _references(found.corpus, config_dir))
    for task, result in found.tasks.items():
        console.print(comparison_tables.leaderboard(found, task, scheme, keys.language).rich())
        for pair in result.pairs:
            told = comparison_tables.sentence(pair, found, keys.language)
            console.print(Text(told, "" if pair.verdict == OPEN else "bold"), soft_wrap=True)
        console.print()
        console.print(comparison_tables.pairs(found, task, scheme, keys.language, verdicts=False).rich())
    for note in comparison_tables.notes(found, keys.language):
        console.print(Text(note, "dim"))
    details = {
        "command": tracking.provenance(command)["haltung.command"],
        **{system.name: ", ".join(id[:8] for id in system.ids) for system in systems},
    }
    if not keys.output and not keys.track:
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(keys.output or Path(scratch) / "comparison")
        files = comparison_page.write(folder, found, scheme, keys.language, details)
        page = next(file for file in files if file.suffix == ".html")
        if keys.track:
            id = comparisons.track(store, found, systems, folder, command)
            console.print(f"run [bold]{id}[/] (compare)", highlight=False)
            if not keys.output:
                page = tracking.artifact(tracking.find(store, id), f"comparison/{page.name}")
    console.print(f"page: {page}", highlight=False, soft_wrap=True)


def _references(corpus: str, config_dir: Path | None) -> list[Reference]:
    """Return the published figures that the config of this corpus declares; none where there is no config of that name.

    Raises:
        UserError: they are of a wrong form.
    """
    for folder in ([config_dir] if config_dir else []) + [files.shipped("configs")]:
        path = folder / "corpus" / f"{corpus}.yaml"
        if path.is_file():
            declared = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("references") or []
            if not isinstance(declared, list) or not all(isinstance(one, Mapping) for one in declared):
                raise UserError(f"{path}: references is no list of mappings; see configs/corpus/xstance.yaml for their form")
            return [make({"_target_": _REFERENCE, **one}, f"corpus.references.{number}") for number, one in enumerate(declared)]
    return []


def _as_texts(word: str) -> str:
    """Put each run in quotes: an id such as 9e881582 would be read as a number; brackets may be left out."""
    key, _, value = word.partition("=")
    if key != "runs":
        return word
    items = [item.strip().strip("'\"") for item in re.sub(r"^\[|\]$", "", value.strip()).split(",")]
    return "runs=[" + ",".join("'" + item.replace("\\", "\\\\").replace("'", "\\'") + "'" for item in items if item) + "]"
