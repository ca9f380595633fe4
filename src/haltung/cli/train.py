"""``haltung train``: one training, or one for each seed, fold, share of train, or combination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from haltung.cli import hint
from haltung.cli.build import corpus_of, make, recipe_of
from haltung.cli.config import Request, compose, each, plain
from haltung.errors import UserError
from haltung.evaluation.report import tables

if TYPE_CHECKING:
    from haltung.experiments.train import Plan, TrainingOutcome
    from haltung.tracking import Store

# The config group that says how a corpus is split.
_SPLIT = "splits@corpus.split"


def run(arguments: Sequence[str]) -> None:
    """Train; print the metrics on dev and the run's id."""
    groups: dict[tuple[str, ...], list[Request]] = {}
    for request in each("train", arguments):
        # Requests that differ in nothing but the seed are one recipe.
        groups.setdefault(tuple(word for word in request.overrides if not word.startswith("seed=")), []).append(request)
    for requests in groups.values():
        recipes = [recipe_of(request.settings) for request in requests]
        options = recipes[0].options
        if options.folds and options.shares:
            raise UserError("folds and shares ask for two different experiments; give one of the two")
        seeds = [recipe.options.seed for recipe in recipes]
        if len(set(seeds)) < len(seeds):
            raise UserError(f"seed is {','.join(map(str, seeds))}: one is given twice, and would count twice in mean and spread")
        store = make(requests[0].settings["tracking"], "tracking")
        if options.folds:
            for request in requests:
                _cross_validate(request, options.folds, store)
            continue
        corpus = corpus_of(requests[0].settings, requests[0].config_dir)
        plans = [recipe.plan(corpus, requests[0].command) for recipe in recipes]
        if options.shares:
            _learning_curve(plans, options.shares, store)
        else:
            _train(plans, store)


def _train(plans: Sequence[Plan], store: Store) -> None:
    from haltung.experiments.train import train, train_seeds

    console, corpus, language, name = Console(), plans[0].corpus, plans[0].language, plans[0].name
    _announce(plans, console)

    def show(outcome: TrainingOutcome) -> None:
        tables.show(outcome.evaluation, corpus.scheme, console, language)
        if outcome.primer:
            console.print(outcome.primer.sentence(corpus.scheme["stance"], language), highlight=False)
        if outcome.resumed:
            console.print("this training had ended before; resume=false trains it again")

    if len(plans) == 1:
        outcome = train(plans[0], store)
        show(outcome)
        run_id, title = outcome.run, plans[0].title
    else:
        seeds = train_seeds(plans, store, show)
        run_id, title, outcome = seeds.run, name, seeds.outcomes[-1]
        console.print(tables.seeds(seeds.summary, corpus.scheme, language).rich())
    console.print(f"run [bold]{run_id}[/] ({title})", highlight=False, soft_wrap=True)
    hint("plots and report", str(outcome.bundle.parent / "dev" / "report.html"))
    hint("look at it", outcome.where)
    hint("open test", f"haltung evaluate run={run_id[:8]} split=test")
    hint("try it", f"haltung predict run={outcome.run[:8]} text='Die USA warnen Russland vor einem Angriff.'")


def _cross_validate(request: Request, folds: int, store: Store) -> None:
    for word in request.overrides:
        if word.startswith(f"{_SPLIT}=") and word != f"{_SPLIT}=kfold":
            raise UserError(f"folds={folds} splits the corpus anew for each fold (kfold); leave out {word}")
    rest = [word for word in request.overrides if not word.startswith((f"{_SPLIT}=", "corpus.split.folds=", "corpus.split.fold="))]
    words = [[*rest, f"{_SPLIT}=kfold", f"corpus.split.folds={folds}", f"corpus.split.fold={fold}"] for fold in range(1, folds + 1)]
    settings = [plain(compose("train", one, request.config_dir)) for one in words]
    recipes, corpora = [recipe_of(one) for one in settings], [corpus_of(one, request.config_dir) for one in settings]
    plans = [recipe.plan(corpus, request.command) for recipe, corpus in zip(recipes, corpora, strict=True)]

    from haltung.experiments.cross_validate import cross_validate

    console, language, scheme = Console(), plans[0].language, corpora[0].scheme
    _announce(plans[:1], console)
    run, folder, evaluation, summary = cross_validate(
        plans, store, lambda result: console.print(tables.headline(result, scheme, language).rich())
    )
    tables.show(evaluation, scheme, console, language)
    console.print(tables.seeds(summary, scheme, language).rich())
    console.print(f"run [bold]{run.id}[/] ({run.name})", highlight=False, soft_wrap=True)
    hint("out-of-fold predictions and report", str(folder))
    hint("look at it", run.where)


def _learning_curve(plans: Sequence[Plan], shares: Sequence[float], store: Store) -> None:
    from haltung.experiments.cross_validate import learning_curve, table

    console, language = Console(), plans[0].language
    _announce(plans, console)
    progress = "share {0.share:g}: {0.segments} segments"
    run, plot, points = learning_curve(plans, shares, store, lambda point: console.print(progress.format(point), highlight=False))
    console.print(table(points, plans[0].corpus, language).rich())
    console.print(f"run [bold]{run.id}[/] ({run.name})", highlight=False, soft_wrap=True)
    hint("plot", str(plot))
    hint("look at it", run.where)


def _announce(plans: Sequence[Plan], console: Console) -> None:
    corpus = plans[0].corpus
    counts = ", ".join(f"{corpus.manifest.segments[split]} {split}" for split in ("train", "dev"))
    console.print(f"[bold]{plans[0].name}[/]: {corpus.name} ({counts} segments), seed {', '.join(str(plan.seed) for plan in plans)}")
