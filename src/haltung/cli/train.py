"""``haltung train``, for each seed, fold or combination; ``adapt``, ``ensemble``, ``reproduce``."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.console import Console
from tqdm import tqdm

from haltung import resources, tracking
from haltung.cli import hint
from haltung.cli.build import Language, Seed, command, corpus_of, make, recipe_of, typed
from haltung.cli.config import Request, compose, each, plain
from haltung.errors import UserError
from haltung.evaluation.report import tables
from haltung.evaluation.report.i18n import word
from haltung.experiments.combined import MIN_ARTICLES, combine, cross_validate, folds_for
from haltung.experiments.evaluate import TrainedModel, evaluate_model, models_named
from haltung.experiments.train import Plan, TrainingOutcome, follow, launch, tags_of, train, train_seeds
from haltung.models import bundle
from haltung.models.spec import NetworkSpec
from haltung.records import Segment, by_key
from haltung.tracking import RunRecord, Store
from haltung.tracking.directory import tracked
from haltung.tracking.reproduction import MACHINE, compared, differences, trainings
from haltung.training.recipe import place

_SPLIT = "splits@corpus.split"  # the config group that says how a corpus is split


def run(arguments: Sequence[str]) -> None:
    """Train; print the metrics on dev and the run's id."""
    # Requests that differ only in the seed share one recipe.
    given = ((tuple(word for word in one.overrides if not word.startswith("seed=")), one) for one in each("train", arguments))
    for words, requests in by_key(given).items():
        recipes = [recipe_of(request.settings) for request in requests]
        options, processes, (rank, started) = recipes[0].options, recipes[0].processes, place()
        seeds = [recipe.options.seed for recipe in recipes]
        if len(set(seeds)) < len(seeds):
            raise UserError(f"seed is {','.join(map(str, seeds))}: one is given twice, and would count twice in mean and spread")
        store = make(requests[0].settings["tracking"], "tracking")
        folds, final = options.folds or 1, options.final
        if folds == 1:
            corpus = corpus_of(requests[0].settings, requests[0].config_dir)
            splits = [word for word in words if word.startswith((_SPLIT, "corpus.split", "share="))]
            if not (options.folds or options.teacher or processes > 1 or splits) and (folds := folds_for(corpus)) > 1:
                final = final is not False
                few = f"{sum(corpus.manifest.articles.values())} articles (fewer than {MIN_ARTICLES}) are too few for one held-out split"
                print(f"cross-validation by article in {folds} folds, since {few}; folds=1 trains on one split instead")
        if folds > 1:
            for request in requests:
                _cross_validate(request, folds, bool(final), store)
            continue
        if final:
            raise UserError("final=true trains on all the rows that folds hold out in turn; give folds=5 as well")
        plans = [recipe.plan(corpus, requests[0].command) for recipe in recipes]
        if processes > started:
            folder = [] if requests[0].config_dir is None else ["--config-dir", str(requests[0].config_dir)]
            launch(plans, processes, ["train", *words, f"seed={','.join(map(str, seeds))}", *folder], store)
        elif rank:
            follow(plans)
        else:
            _train(plans, store)


def _train(plans: Sequence[Plan], store: Store) -> None:
    console, corpus, language = _announced(plans), plans[0].corpus, plans[0].language
    if place()[1] == 1 and isinstance(plans[0].model, NetworkSpec):
        import torch

        if (gpus := torch.cuda.device_count()) > 1:
            Console(stderr=True).print(f"haltung: one of {gpus} GPUs is used; processes={gpus} uses them all", highlight=False)

    def show(outcome: TrainingOutcome) -> None:
        tables.show(outcome.evaluation, corpus.scheme, console, language)
        if outcome.primer:
            console.print(outcome.primer.sentence(corpus.scheme["stance"], language), highlight=False)
        if outcome.resumed:
            console.print("this training had already ended; resume=false trains it again")

    done = train_seeds(plans, store, show)
    outcome = done.outcomes[-1]
    if not outcome.evaluation.tasks:
        told, counts = [word("train_no_dev", language)], corpus.manifest.labels
        if not any(counts[task.name]["train"][label] for task in corpus.scheme for label in task.ids):
            sizes = ", ".join(f"{task.name} {len(task)}" for task in corpus.scheme)
            told += [word("train_descriptions", language), word("train_sizes", language, scheme=corpus.scheme.name, sizes=sizes)]
        console.print(*told, highlight=False, markup=False)
    if len(plans) > 1:
        console.print(tables.seeds(done.summary, corpus.scheme, language).rich())
    console.print(f"run [bold]{done.run}[/] ({done.name})", highlight=False, soft_wrap=True)
    hint("plots and report", str(outcome.bundle.parent / "dev" / "report.html"))
    hint("look at it", outcome.where)
    hint("open test", f"haltung evaluate run={done.run[:8]} split=test")
    _try(outcome, corpus.segments("dev"))


def _try(outcome: TrainingOutcome, segments: Sequence[Segment]) -> None:
    # Texts of a corpus are shown only on a terminal: other output, as a job's log, may be kept.
    texts = (segment.text for segment in segments if sys.stdout.isatty())
    text = next((text for text in texts if len(text) <= 120 and text.isprintable()), "Die USA warnen Russland vor einem Angriff.")
    hint("try it", f"haltung predict run={outcome.run[:8]} text={shlex.quote(text)}")


def _cross_validate(request: Request, folds: int, final: bool, store: Store) -> None:
    if others := [one for one in request.overrides if one.startswith(f"{_SPLIT}=") and one != f"{_SPLIT}=kfold"]:
        raise UserError(f"folds={folds} splits the corpus separately for each fold (kfold); leave out {others[0]}")
    rest = [word for word in request.overrides if not word.startswith((f"{_SPLIT}=", "corpus.split.folds=", "corpus.split.fold="))]
    words = [[*rest, f"{_SPLIT}=kfold", f"corpus.split.folds={folds}", f"corpus.split.fold={fold}"] for fold in range(1 - final, folds + 1)]
    settings = [plain(compose("train", one, request.config_dir)) for one in words]
    recipes, corpora = [recipe_of(one) for one in settings], [corpus_of(one, request.config_dir) for one in settings]
    plans = [recipe.plan(corpus, request.command) for recipe, corpus in zip(recipes, corpora, strict=True)]
    parts = plans[1:] if final else plans
    console, language, scheme = _announced(parts[:1]), plans[0].language, corpora[0].scheme
    done = cross_validate(
        parts, store, lambda result: console.print(tables.headline(result, scheme, language).rich()), plans[0] if final else None
    )
    tables.show(done.evaluation, scheme, console, language)
    console.print(tables.seeds(done.summary, scheme, language).rich())
    console.print(f"run [bold]{done.run.id}[/] ({done.run.name})", highlight=False, soft_wrap=True)
    hint("out-of-fold predictions and report", str(done.folder))
    hint("look at it", done.run.where)
    if done.final:
        console.print(f"trained on all rows: run [bold]{done.final.run}[/] ({plans[0].title})", highlight=False, soft_wrap=True)
        hint("compare", f"haltung compare 'runs=[{done.final.run[:8]},OTHER]'")
        _try(done.final, corpora[0].segments("train"))


def _announced(plans: Sequence[Plan]) -> Console:
    """Print what will be trained; return the console for further output."""
    console, corpus = Console(), plans[0].corpus
    counts = ", ".join(f"{corpus.manifest.segments[split]} {split}" for split in ("train", "dev"))
    console.print(f"[bold]{plans[0].name}[/]: {corpus.name} ({counts} segments), seed {', '.join(str(plan.seed) for plan in plans)}")
    for note in corpus.manifest.notes:
        console.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)
    return console


@command("adapt", lists=("texts", "corpora"))
def adapt(request: Request, *, texts: tuple[str, ...], corpora: tuple[str, ...], name: str, seed: Seed, resume: bool, runs: str) -> None:
    """Continue an encoder's pretraining; print its perplexity and how to train from it."""
    from haltung.corpus.store import load
    from haltung.events.text.read import Article, Failure, find, read
    from haltung.training import adapt as adaptation

    settings, console, store = request.settings, Console(), make(request.settings["tracking"], "tracking")
    how, encoder = typed(adaptation.Adaptation, settings), make(settings["encoder"], "encoder")
    if encoder.origin == "folder" and (Path(encoder.path).expanduser() / bundle.DESCRIPTION).is_file():
        raise UserError(f"{encoder.path} is a bundle, whose encoder has learned labels; adapt an encoder first, and train from it")
    splits = {split: [one for folder in corpora for one in load(Path(folder)).segments(split)] for split in ("train", "dev", "test")}
    articles = list(tqdm(chain.from_iterable(read(find(given)[0]) for given in texts), unit=" texts", disable=None))
    written = [" ".join(one.text for one in of) for of in by_key((one.article or one.id, one) for one in splits["train"]).values()]
    read_in = [*written, *(one.text for one in articles if isinstance(one, Article))]
    kept = adaptation.without(read_in, (one.text for split in ("dev", "test") for one in splits[split]))
    console.print(f"[bold]{name}[/]: {len(kept):,} of {len(read_in):,} texts have no segment of dev or test, seed {seed}", highlight=False)
    if failed := [one for one in articles if isinstance(one, Failure)]:
        print(f"haltung: {len(failed)} can't be read; the first is {failed[0].where}: {failed[0].reason}", file=sys.stderr)
    # The training time is not part of the key, so that resume=true can train for longer.
    key = hashlib.sha256(json.dumps([asdict(encoder), asdict(replace(how, minutes=1, steps=None)), kept]).encode()).hexdigest()[:8]
    checkpoints = (directory := Path(runs) / f"{name}-{seed}-{key}") / "checkpoints"
    if resume and not any(checkpoints.glob("*")):
        print(f"haltung: {directory} has no checkpoint of these texts and settings, so training starts from the beginning", file=sys.stderr)
    tags = {"haltung.kind": "adapt", **tracking.provenance(request.command)}
    with tracked(directory, f"{name}-{seed}", store, tags, settings, None, resume) as run:
        found = adaptation.adapt(kept, encoder, how, seed, directory / "encoder", checkpoints, resume, lambda point: run.history([point]))
        run.metrics({"texts": {"read": len(kept), "left_out": len(read_in) - len(kept)}})
    console.print(f"perplexity of held-out texts: {', '.join(f'{value:.1f} after {step:,} steps' for step, value in found.items())}")
    console.print(f"run [bold]{run.id}[/] ({run.name})", highlight=False, soft_wrap=True)
    own = [word for word in request.overrides if word.startswith("encoder") and not word.startswith(("encoder.path", "encoder.origin"))]
    words = ["train", *([*own, "encoder.origin=folder"] if own else ["encoder=adapted"]), f"encoder.path={directory / 'encoder'}"]
    hint("train on it", f"haltung {shlex.join(words)}")


@command("ensemble", lists=("members",))
def ensemble(request: Request, *, members: tuple[str, ...], name: str | None, language: Language, runs: str) -> None:
    """Combine several runs into one model; print its weights, metrics on dev and run."""
    settings = request.settings
    if not members:
        raise UserError("name the runs to combine into one model, as in members=[A,B]; haltung runs lists them")
    store = make(settings["tracking"], "tracking")
    trained = [model for name in members for model in models_named(name, store)]
    if not settings.get("corpus"):
        if not (records := [member.record for member in trained if member.record is not None]):
            raise UserError("members that are folders don't say how their corpus was prepared; name it with corpus=NAME")
        settings = {**settings, "corpus": records[0].config["corpus"]}
    corpus = corpus_of(settings, request.config_dir)
    console, name = Console(), name or f"{corpus.name}-ensemble"
    done, by_task = combine(trained, corpus, store, name, Path(runs), settings, request.command, language)
    tables.show(done.evaluation, corpus.scheme, console, language)
    rows = tuple((member.name, *(f"{weights[number]:.2f}" for weights in by_task.values())) for number, member in enumerate(trained))
    console.print(tables.Grid("weights", ("member", *by_task), rows).rich())
    console.print(f"run [bold]{done.run}[/] ({name})", highlight=False, soft_wrap=True)
    hint("bundle", str(done.bundle))
    hint("open test", f"haltung evaluate run={done.run[:8]} split=test")


@command("reproduce", single="one run at a time; several seeds are reproduced by naming the run that contains them", texts=("run",))
def reproduce(request: Request, *, run: str | None, anyway: bool, tolerance: Annotated[float, Field(ge=0)]) -> int:
    """Train a run again from its record and compare; return 1 if the results differ."""
    if not run:
        raise UserError("name the run to retrain, as in run=ID; haltung runs lists them")
    store = make(request.settings["tracking"], "tracking")
    parts = trainings(tracking.find(store, run))
    if (count := parts[0].tags.get("haltung.hardware.threads", "")) not in ("", str(resources.threads())):
        # In a process of its own: libraries read the variable once, when they are loaded.
        return subprocess.call([sys.executable, "-m", "haltung", *request.command], env={**os.environ, "OMP_NUM_THREADS": count})
    plans, others = [_planned(part, request) for part in parts], dict[str, str]()
    for part, plan in zip(parts, plans, strict=True):
        here = {**tags_of(plan.corpus, "train", request.command, plan.share), "haltung.teacher": plan.teacher.id if plan.teacher else ""}
        found = differences(part.tags, here).items()
        others |= {tag: f"{tag} was {then[:40] or 'unknown'} and is {now[:40] or 'unknown'}" for tag, (then, now) in found}
    if (grave := [tag for tag in others if not tag.startswith(MACHINE)]) and not anyway:
        tags, was = parts[0].tags, f"git checkout {parts[0].tags.get('haltung.git.commit', 'the commit that it had')}"
        was = "its code had uncommitted changes" if tags.get("haltung.git.dirty") == "true" else was
        ways = [was] * ("code" in grave)
        ways += ["restore source, config and teacher"] * (grave != ["code"]) + ["or give anyway=true"]
        raise UserError(f"{run} can't be retrained as it was, since {', '.join(others[tag] for tag in grave)}: {', '.join(ways)}")
    print(*(f"figures may differ, since {sentence}\n" for sentence in others.values()), sep="", end="")
    return max([_again(part, plan, store, tolerance) for part, plan in zip(parts, plans, strict=True)])


def _planned(part: RunRecord, request: Request) -> Plan:
    described = bundle.describe(tracking.bundle_folder(part))  # without a bundle there is nothing to compare with
    own = {key: value for key in ("prepared", "runs", "tracking", "language") if (value := request.settings[key]) is not None}
    pinned = {key: value for key, value in described.get("encoder", {}).items() if key == "revision"}  # a branch may have moved
    recipe = recipe_of({**part.config, "resume": False, "encoder": {**part.config["encoder"], **pinned}, **own})
    if isinstance(recipe.model, NetworkSpec):
        import torch  # noqa: F401 -- with it loaded, tags name the GPU
    if recipe.processes > 1:
        raise UserError(f"{part.name} was trained with {recipe.processes} processes, but haltung reproduce uses one; rerun its command")
    corpus = corpus_of(recipe.settings, request.config_dir, drafts=False)
    return recipe.plan(corpus, request.command, f"{part.name.removesuffix(f'-{recipe.options.seed}')}-again")


def _again(old: RunRecord, plan: Plan, store: Store, tolerance: float) -> int:
    outcome = train(plan, store)
    new, digests = tracking.find(store, outcome.run), plan.corpus.manifest.digests
    run = tracking.attach(new)
    run.tags({"haltung.reproduces": old.id})
    splits = ["dev", *(["test"] if old.tags.get("haltung.digest.test") == digests["test"] else [])]
    for split in splits[1:]:
        model, folder = TrainedModel(new.name, outcome.bundle, new), outcome.bundle.parent / split
        evaluate_model(model, plan.corpus.segments(split), plan.corpus, split, folder, plan.command, plan.language, errors=False)
    result = compared(old, tracking.find(store, new.id), splits)
    run.text(result.to_json(), "reproduction.json")
    same, done = result.weights[0] == result.weights[1], result.within(tolerance)
    Console().print(tables.reproduction(f"{old.name}, {new.name}", result.figures, result.labels, plan.language).rich())
    weights = word("again_same_weights" if same else "again_other_weights", plan.language)
    print(word("again_done" if done else "again_not", plan.language, run=new.id, name=old.name, weights=weights))
    return int(not done)
