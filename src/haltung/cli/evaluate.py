"""``haltung evaluate run=RUN split=test``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import OmegaConf

from haltung.cli.build import make, plain, typed
from haltung.cli.config import compose, parse
from haltung.cli.prepare import corpus_of
from haltung.errors import UserError, listed

if TYPE_CHECKING:
    from haltung.records import Segment
    from haltung.tracking import RunRecord

SPLITS = ("dev", "test")

# The share of a split that may be known by coincidence.
_COINCIDENCES = 0.01


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
    seen: Literal["refuse", "allow"]


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

    from haltung import tracking
    from haltung.evaluation import outcome
    from haltung.evaluation.comparison.compare import with_standing
    from haltung.evaluation.metrics.classification import summary
    from haltung.evaluation.report import page as report
    from haltung.evaluation.report import tables
    from haltung.experiments import train as runs
    from haltung.models import bundle

    systems: list[tuple[str, Path, tracking.RunRecord | None]] = []
    parent = None
    if keys.run is None:
        if not settings.get("corpus"):
            raise UserError("bundle=… says what to evaluate; corpus=NAME has to say on what")
        systems.append((Path(str(keys.bundle)).name, Path(str(keys.bundle)), None))
        source: Mapping[str, Any] = settings
    else:
        found = tracking.find(make(settings["tracking"], "tracking"), keys.run)
        members = tracking.members(found)
        # The mean over seeds belongs to the run that holds them, which in a sweep is not the one that was named.
        parent = tracking.group(found)
        systems += [(record.name, tracking.bundle_folder(record), record) for record in members]
        source = settings if settings.get("corpus") else {**settings, "corpus": found.config["corpus"]}
    corpus = corpus_of(source, config_dir)
    if not settings.get("corpus"):
        _same_split(systems, corpus.manifest.digests[split], corpus.name, split)
    segments = corpus.segments(split)
    known = {folder: _known(name, folder, segments, corpus.name, keys, own=not settings.get("corpus")) for name, folder, _ in systems}

    from rich.console import Console

    console = Console()
    evaluations, predicted = [], []
    for name, folder, record in systems:
        place = Path(keys.output or "experiments/reports") / f"{name}-{corpus.name}-{split}"
        evaluations.append(
            runs.test(bundle.load(folder), segments, corpus, split, place, record, command, language, keys.examine, known[folder])
        )
        predicted.append(outcome.read(place / report.PREDICTIONS))
        told = f"[bold]{name}[/] on {corpus.name} {split}; report: {place / 'report.html'}"
        console.print(told, highlight=False, soft_wrap=True)
        tables.show(evaluations[-1], corpus.scheme, console, language)
    if parent is not None:
        spread = with_standing(summary(evaluations), predicted)
        console.print(tables.seeds(spread, corpus.scheme, language).rich())
        run = tracking.attach(parent)
        run.metrics({f"{corpus.name}.{split}": runs.mean_and_deviation(spread)})
        run.text(json.dumps(spread.to_dict(), indent=2, ensure_ascii=False) + "\n", f"evaluation/{corpus.name}.{split}/summary.json")


def _known(name: str, folder: Path, segments: Sequence[Segment], corpus: str, keys: Keys, own: bool) -> int:
    """Return how many segments of a test split a model has learned from, or was chosen on; more than a few are refused.

    Dev is what models are chosen on, so there is nothing to be told of it.

    Args:
        name: of the run or bundle.
        folder: the bundle.
        segments: of the split.
        corpus: its name.
        keys: the command's own.
        own: whether it is the corpus that the model was trained on, cut as then; what is known of that was let pass when it was prepared.

    Raises:
        UserError: more than one in a hundred, of another corpus, unless ``seen`` allows it.
    """
    from haltung.models import seen as learned

    if keys.split == "dev":
        return 0
    known = learned.seen(folder, segments)
    if known is None:
        if not own:
            told = f"{folder} is of an older version and does not list what its model has learned from"
            print(f"{told}; make sure that none of the {keys.split} split of {corpus} is among it", file=sys.stderr)
        return 0
    if not known:
        return 0
    share = f"{len(known)} of the {len(segments)} segments of the {keys.split} split of '{corpus}' (the first: '{known[0]}')"
    # Short sentences such as "Das Gericht bestätigte das" stand in more than one article.
    if not own and keys.seen == "refuse" and len(known) > _COINCIDENCES * len(segments):
        raise UserError(
            f"{share} are among those that {name} has learned from or was chosen on, so its figures would say too little of new texts; "
            "evaluate it on a corpus that it does not know, or say seen=allow to score it all the same (report and comparisons will say so)"
        )
    print(f"note: {share} are among those that {name} has learned from or was chosen on", file=sys.stderr)
    return len(known)


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
