"""``haltung train``: one training, or one for each seed, fold or share of train, or for each combination of values asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from omegaconf import OmegaConf
from pydantic import Field

from haltung.cli.build import make, plain, typed
from haltung.cli.config import Words, compose, parse
from haltung.cli.prepare import corpus_of
from haltung.cli.recipes import Recipe, recipe_of
from haltung.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from haltung.experiments.train import Plan, TrainingOutcome

# The config group that says how a corpus is split.
_SPLIT = "splits@corpus.split"


@dataclass(frozen=True)
class Keys:
    """The command's own keys, beside those of a training."""

    folds: Annotated[int, Field(ge=2)] | None
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None


def run(words: Sequence[str]) -> int:
    """Train what is asked for; print the figures on dev and the run's id."""
    parsed = parse(words)
    command = ["train", *words]
    for combinations in _by_recipe(parsed):
        configs = [compose("train", overrides, parsed.config_dir) for overrides in combinations]
        if parsed.show:
            for config in configs:
                print(OmegaConf.to_yaml(config))
            continue
        settings = [plain(config) for config in configs]
        keys = typed(Keys, settings[0])
        if keys.folds and keys.shares:
            raise UserError("folds and shares ask for two different experiments; give one of the two")
        recipes = [recipe_of(one) for one in settings]
        seeds = [recipe.keys.seed for recipe in recipes]
        if len(set(seeds)) < len(seeds):
            raise UserError(f"seed is {','.join(map(str, seeds))}: one stands twice, and would count twice in mean and spread")
        if keys.folds:
            for overrides in combinations:
                _cross_validate(_folds(overrides, keys.folds, parsed.config_dir), command, parsed.config_dir)
        elif keys.shares:
            _learning_curve(recipes, keys.shares, command, parsed.config_dir)
        else:
            _train(recipes, command, parsed.config_dir)
    return 0


def _by_recipe(parsed: Words) -> list[list[tuple[str, ...]]]:
    """Put the combinations that differ in nothing but the seed together."""
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for overrides in parsed.combinations:
        groups.setdefault(tuple(word for word in overrides if not word.startswith("seed=")), []).append(overrides)
    return list(groups.values())


def _train(recipes: Sequence[Recipe], command: Sequence[str], config_dir: Path | None) -> None:
    store, corpus = make(recipes[0].settings["tracking"], "tracking"), corpus_of(recipes[0].settings, config_dir)
    plans = [recipe.plan(corpus, command) for recipe in recipes]

    from rich.console import Console

    from haltung.evaluation.report import tables
    from haltung.experiments.train import train, train_seeds

    console, language, name = Console(), plans[0].language, plans[0].name
    _announce(plans, console)

    def show(outcome: TrainingOutcome) -> None:
        tables.show(outcome.evaluation, corpus.scheme, console, language)
        if outcome.resumed:
            console.print("this training had ended before; resume=false trains it again")

    if len(plans) == 1:
        outcome = train(plans[0], store)
        show(outcome)
        run_id = outcome.run
    else:
        seeds = train_seeds(plans, store, show)
        run_id, outcome = seeds.run, seeds.outcomes[-1]
        console.print(tables.seeds(seeds.summary, corpus.scheme, language).rich())
    console.print(f"run [bold]{run_id}[/] ({name if len(plans) > 1 else f'{name}-{plans[0].seed}'})", highlight=False)
    console.print(f"plots and report: {outcome.bundle.parent / 'dev' / 'report.html'}", highlight=False, soft_wrap=True)
    console.print(f"look at it:  {outcome.where}", highlight=False, soft_wrap=True)
    console.print(f"open test:   haltung evaluate run={run_id[:8]} split=test", highlight=False)
    console.print(f"try it:      haltung predict run={outcome.run[:8]} text='Die USA warnen Russland vor einem Angriff.'", highlight=False)


def _folds(overrides: Sequence[str], folds: int, config_dir: Path | None) -> list[dict[str, Any]]:
    """Return the config of each fold: the user's own, split by ``kfold``."""
    for word in overrides:
        if word.startswith(f"{_SPLIT}=") and word != f"{_SPLIT}=kfold":
            raise UserError(f"folds={folds} splits the corpus anew for each fold (kfold); leave out {word}")
    own = [word for word in overrides if not word.startswith((f"{_SPLIT}=", "corpus.split.folds=", "corpus.split.fold="))]
    words = [[*own, f"{_SPLIT}=kfold", f"corpus.split.folds={folds}", f"corpus.split.fold={fold}"] for fold in range(1, folds + 1)]
    return [plain(compose("train", each, config_dir)) for each in words]


def _cross_validate(settings: Sequence[Mapping[str, Any]], command: Sequence[str], config_dir: Path | None) -> None:
    store = make(settings[0]["tracking"], "tracking")
    recipes, corpora = [recipe_of(one) for one in settings], [corpus_of(one, config_dir) for one in settings]
    plans = [recipe.plan(corpus, command) for recipe, corpus in zip(recipes, corpora, strict=True)]

    from rich.console import Console

    from haltung.evaluation.report import tables
    from haltung.experiments.cross_validate import cross_validate

    console, language, scheme = Console(), plans[0].language, corpora[0].scheme
    _announce(plans[:1], console)
    done = cross_validate(plans, store, lambda fold, result: console.print(tables.headline(result, scheme, language).rich()))
    tables.show(done.evaluation, scheme, console, language)
    console.print(tables.seeds(done.summary, scheme, language).rich())
    console.print(f"run [bold]{done.run}[/] ({done.name})", highlight=False)
    console.print(f"out-of-fold predictions and report: {done.folder}", highlight=False, soft_wrap=True)
    console.print(f"look at it:  {done.where}", highlight=False, soft_wrap=True)


def _learning_curve(recipes: Sequence[Recipe], shares: Sequence[float], command: Sequence[str], config_dir: Path | None) -> None:
    store, corpus = make(recipes[0].settings["tracking"], "tracking"), corpus_of(recipes[0].settings, config_dir)
    plans = [recipe.plan(corpus, command) for recipe in recipes]

    from rich.console import Console

    from haltung.experiments.learning_curve import learning_curve, table

    console, language = Console(), plans[0].language
    _announce(plans, console)
    done = learning_curve(
        plans, shares, store, lambda point: console.print(f"share {point.share:g}: {point.segments} segments", highlight=False)
    )
    console.print(table(done.points, corpus, language).rich())
    console.print(f"run [bold]{done.run}[/] ({done.name})", highlight=False)
    console.print(f"plot: {done.plot}", highlight=False, soft_wrap=True)
    console.print(f"look at it:  {done.where}", highlight=False, soft_wrap=True)


def _announce(plans: Sequence[Plan], console: Console) -> None:
    corpus = plans[0].corpus
    counts = ", ".join(f"{corpus.manifest.segments[split]} {split}" for split in ("train", "dev"))
    console.print(f"[bold]{plans[0].name}[/]: {corpus.name} ({counts} segments), seed {', '.join(str(plan.seed) for plan in plans)}")
