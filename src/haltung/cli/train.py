"""``haltung train``: one training, or one for each seed, or one for each combination that a sweep of values asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import Field

from haltung.cli.composing import Words, compose, parse
from haltung.cli.objects import make, plain, typed
from haltung.cli.prepare import corpus_of
from haltung.encoders.sources import locate
from haltung.errors import UserError

if TYPE_CHECKING:
    from haltung.runs import Outcome, Plan


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    name: str | None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    resume: bool
    language: Literal["en", "de"]
    sources: str
    prepared: str
    runs: str


def run(words: Sequence[str]) -> int:
    """Train what is asked for; print the figures on dev and the run's id."""
    parsed = parse(words)
    for combinations in _by_recipe(parsed):
        configs = [compose("train", overrides, parsed.config_dir) for overrides in combinations]
        if parsed.show:
            for config in configs:
                print(OmegaConf.to_yaml(config))
            continue
        _train([plain(config) for config in configs], ["train", *words], parsed.config_dir)
    return 0


def _by_recipe(parsed: Words) -> list[list[tuple[str, ...]]]:
    """Put the combinations that differ in nothing but the seed together."""
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for overrides in parsed.combinations:
        groups.setdefault(tuple(word for word in overrides if not word.startswith("seed=")), []).append(overrides)
    return list(groups.values())


def _train(settings: Sequence[Mapping[str, Any]], command: Sequence[str], config_dir: Path | None) -> None:
    first, keys = settings[0], [typed(Keys, one) for one in settings]
    seeds = [key.seed for key in keys]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seed is {','.join(map(str, seeds))}: one stands twice, and would count twice in mean and spread")
    # What can be wrong with the config is found before any work is done.
    specs = [make(one["model"], "model") for one in settings]
    store = make(first["tracking"], "tracking")
    encoder, training = make(first["encoder"], "encoder"), make(first["training"], "training")
    if encoder.origin == "folder" and first["model"]["_target_"].endswith("NetworkSpec"):
        locate(encoder)
    corpus = corpus_of(first, config_dir)
    training.checked(corpus.scheme)
    for task in corpus.scheme.names:
        if not any(corpus.manifest.labels[task]["train"][label] for label in corpus.scheme[task].ids):
            raise UserError(
                f"no segment of {corpus.name}'s train split has a label for the task '{task}', so there is nothing to learn; "
                "name its column (corpus.reader.columns), or choose a label scheme without it (corpus.labels)"
            )
    specs = [spec.checked(corpus.scheme) for spec in specs]

    from rich.console import Console

    from haltung import runs
    from haltung.evaluation import tables

    console, language = Console(), keys[0].language
    name = str(keys[0].name or f"{corpus.name}-{first['encoder']['name'] if 'encoder_dropout' in first['model'] else 'linear'}")
    plans: list[Plan] = [
        runs.Plan(name, corpus, encoder, spec, training, key.seed, one, command, Path(key.runs), language, key.resume)
        for one, key, spec in zip(settings, keys, specs, strict=True)
    ]
    counts = ", ".join(f"{corpus.manifest.segments[split]} {split}" for split in ("train", "dev"))
    console.print(f"[bold]{name}[/]: {corpus.name} ({counts} segments), seed {', '.join(str(plan.seed) for plan in plans)}")

    def told(outcome: Outcome) -> None:
        tables.show(outcome.evaluation, corpus.scheme, console, language)
        if outcome.again:
            console.print("this training had ended before; resume=false trains it again")

    if len(plans) == 1:
        outcome = runs.train(plans[0], store)
        told(outcome)
        run_id = outcome.run
    else:
        run_id, spread, outcomes = runs.train_seeds(plans, store, told)
        outcome = outcomes[-1]
        console.print(tables.seeds(spread, corpus.scheme, language).rich())
    console.print(f"run [bold]{run_id}[/] ({name if len(plans) > 1 else f'{name}-{plans[0].seed}'})", highlight=False)
    console.print(f"plots and report: {outcome.bundle.parent / 'dev' / 'report.html'}", highlight=False, soft_wrap=True)
    console.print(f"look at it:  {outcome.where}", highlight=False, soft_wrap=True)
    console.print(f"open test:   haltung evaluate run={run_id[:8]} split=test", highlight=False)
    console.print(f"try it:      haltung predict run={outcome.run[:8]} text='Die USA warnen Russland vor einem Angriff.'", highlight=False)
