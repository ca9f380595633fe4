"""``haltung evaluate run=RUN split=test``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import OmegaConf

from haltung.cli.composing import compose, parse
from haltung.cli.objects import make, plain, typed
from haltung.cli.prepare import corpus_of
from haltung.errors import UserError, listed

if TYPE_CHECKING:
    from haltung.tracking import RunRecord

SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    run: str | None
    bundle: str | None
    split: str
    language: Literal["en", "de"]
    sources: str
    prepared: str
    output: str | None
    examine: bool


def run(words: Sequence[str]) -> int:
    """Score a run's model, or each seed's, on a split; print the tables and write the reports."""
    parsed = parse(words)
    for overrides in parsed.combinations:
        config = compose("evaluate", overrides, parsed.config_dir)
        if parsed.show:
            print(OmegaConf.to_yaml(config))
        else:
            _evaluate(plain(config), ["evaluate", *words], parsed.config_dir)
    return 0


def _evaluate(settings: Mapping[str, Any], command: Sequence[str], config_dir: Path | None) -> None:
    keys = typed(Keys, settings)
    split, language = keys.split, keys.language
    if split not in SPLITS:
        raise UserError(f"split is '{split}', allowed are {listed(SPLITS)}")
    if (keys.run is None) == (keys.bundle is None):
        raise UserError("name what to evaluate: run=ID (of haltung train), or bundle=FOLDER with corpus=NAME; one of the two")

    from haltung import runs, tracking
    from haltung.evaluation import tables
    from haltung.evaluation.metrics import summary
    from haltung.model import bundle

    systems: list[tuple[str, Path, tracking.RunRecord | None]] = []
    parent = None
    if keys.run is None:
        if not settings.get("corpus"):
            raise UserError("bundle=… says what to evaluate; corpus=NAME has to say on what")
        systems.append((Path(str(keys.bundle)).name, Path(str(keys.bundle)), None))
        source: Mapping[str, Any] = settings
    else:
        found = tracking.find(make(settings["tracking"], "tracking"), keys.run)
        if found.tags.get("haltung.kind") == "folds":
            raise UserError(
                f"{found.name} is a cross-validation, whose out-of-fold figures it holds already; "
                "compare it with another one (haltung compare 'runs=[A,B]' split=folds), or evaluate one of its folds"
            )
        members = tracking.children(found)
        parent = found if members else None
        systems += [(record.name, tracking.bundle_folder(record), record) for record in members or [found]]
        source = settings if settings.get("corpus") else {**settings, "corpus": found.config["corpus"]}
    corpus = corpus_of(source, config_dir)
    if not settings.get("corpus"):
        _same_split(systems, corpus.manifest.digests[split], corpus.name, split)
    segments = corpus.segments(split)

    from rich.console import Console

    console = Console()
    evaluations = []
    for name, folder, record in systems:
        place = Path(keys.output or "experiments/reports") / f"{name}-{corpus.name}-{split}"
        evaluations.append(runs.test(bundle.load(folder), segments, corpus, split, place, record, command, language, keys.examine))
        told = f"[bold]{name}[/] on {corpus.name} {split}; report: {place / 'report.html'}"
        console.print(told, highlight=False, soft_wrap=True)
        tables.show(evaluations[-1], corpus.scheme, console, language)
    if parent is not None:
        spread = summary(evaluations)
        console.print(tables.seeds(spread, corpus.scheme, language).rich())
        run = tracking.attach(parent)
        run.metrics({f"{corpus.name}.{split}": runs.mean_and_deviation(spread)})
        run.text(json.dumps(spread.to_dict(), indent=2, ensure_ascii=False) + "\n", f"evaluation/{corpus.name}.{split}/summary.json")


def _same_split(systems: Sequence[tuple[str, Path, RunRecord | None]], digest: str, corpus: str, split: str) -> None:
    """Refuse to score a run on a split that is not the one of its own corpus any more.

    Raises:
        UserError: the corpus has changed since the run was trained.
    """
    for name, _, record in systems:
        trained = record.tags.get(f"haltung.split_digest.{split}") if record else None
        if trained is not None and trained != digest:
            raise UserError(
                f"the {split} split of the corpus '{corpus}' (digest {digest[:12]}) is not the one of the run {name} "
                f"({trained[:12]}): its source or its config has changed since; train again,"
                f" or say corpus={corpus} to score the run on the new one all the same"
            )
