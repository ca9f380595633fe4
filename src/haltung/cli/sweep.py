"""``haltung sweep search=NAME``: search for the best recipe, then train it on several seeds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from haltung.cli import hint
from haltung.cli.build import Seed, corpus_of, make, recipe_of, typed
from haltung.cli.config import Request, compose, each, keys, plain, quote
from haltung.errors import UserError
from haltung.experiments.sweep import Sweep, Trial, Trials, Value, brief, check_spaces, search, spaces_of, start_values

if TYPE_CHECKING:
    from haltung.corpus.store import Prepared
    from haltung.experiments.sweep import SweepResult
    from haltung.experiments.train import Plan

# The keys that may differ between a sweep and its resumption.
_FREE = ("trials", "workers", "final_seeds", "resume", "language", "sources", "prepared", "runs", "sweeps", "tracking", "name")

# The keys that a training lacks, or that a further one wants for itself.
_OWN = ("search", "trials", "workers", "startup", "warmup", "final_seeds", "sweeps", "name", "resume", "seed")


@dataclass(frozen=True)
class SweepOptions:
    """The keys of the command beside those of a recipe."""

    trials: Annotated[int, Field(ge=1)]
    workers: Annotated[int, Field(ge=1, le=256)]
    startup: Annotated[int, Field(ge=0)]
    warmup: Annotated[int, Field(ge=0)]
    final_seeds: tuple[Seed, ...]
    sweeps: str
    search: Mapping[str, Any]


@dataclass(frozen=True)
class Composed:
    """The recipe that the command's words compose, with other values in it; see ``sweep.PlanFactory``."""

    words: tuple[str, ...]
    config_dir: Path | None
    command: tuple[str, ...]

    def settings(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Return the config with these values, as plain data."""
        return plain(compose("sweep", [*self.words, *(f"{key}={quote(value)}" for key, value in values.items())], self.config_dir))

    def check(self, values: Mapping[str, Value]) -> None:
        """Raise ``UserError`` if the config does not accept these values."""
        recipe_of(self.settings(values))

    def plan(self, values: Mapping[str, Value], name: str, seed: int, resume: bool = False) -> Plan:
        """Return what is to be trained.

        Raises:
            UserError: the config does not take a value.
        """
        recipe = recipe_of({**self.settings(values), "seed": seed, "resume": resume})
        return recipe.plan(self._corpus, self.command, name)

    def training(self, values: Mapping[str, Value]) -> str:
        """Return the command that trains with these values, with all that the sweep was told of corpus and recipe."""
        told = [word for word in self.words if word.partition("=")[0].lstrip("+") not in _OWN]
        where = [] if self.config_dir is None else ["--config-dir", str(self.config_dir)]
        return shlex.join(["haltung", "train", *told, *(f"{key}={quote(value)}" for key, value in values.items()), *where])

    @cached_property
    def _corpus(self) -> Prepared:
        return corpus_of(self.settings({}), self.config_dir)

    def __reduce__(self) -> tuple[type[Composed], tuple[Any, ...]]:
        # A worker opens the corpus itself.
        return Composed, (self.words, self.config_dir, self.command)


def run(arguments: Sequence[str]) -> int:
    """Search, print trials and importances, and the metrics of the best recipe."""
    single = "a sweep draws its values from search/NAME.yaml; give each key one value, and lists in brackets"
    for request in each("sweep", [_bracketed(word) for word in arguments], single=single):
        _sweep(request, arguments)
    return 0


def _sweep(request: Request, arguments: Sequence[str]) -> None:
    settings = request.settings
    own, recipe = typed(SweepOptions, settings), recipe_of(settings)
    composed = Composed(request.overrides, request.config_dir, ("sweep", *arguments))
    spaces = spaces_of(own.search)
    given = {word.partition("=")[0].lstrip("+") for word in request.overrides}
    check_spaces(spaces, composed, keys(compose("sweep", request.overrides, request.config_dir)), given)
    if len(set(own.final_seeds)) < len(own.final_seeds):
        raise UserError(f"final_seeds is {list(own.final_seeds)}: one stands twice, and would count twice in mean and spread")
    store = make(settings["tracking"], "tracking")
    corpus = composed._corpus
    options = recipe.options
    name = options.name or f"{recipe.name(corpus.name)}-sweep"
    start = start_values(spaces, composed)
    trials = Trials(Path(own.sweeps) / name, spaces, own.trials, options.seed, own.startup, own.warmup, start)
    sweep = Sweep(
        name, trials, own.workers, options.seed, own.final_seeds, options.resume, settings, _FREE, composed.command, options.language
    )

    from rich.console import Console

    console = Console()
    console.print(f"[bold]{name}[/]: {own.trials} trials over {len(spaces)} keys, {trials.folder}", highlight=False, soft_wrap=True)
    _show(search(sweep, composed, store, tell), name, composed, own.final_seeds, options.language, console)


def tell(trial: Trial) -> None:
    """Print one line for a trial that has ended."""
    score = "" if trial.score is None else f" {trial.score:.3f}"
    why = f" ({trial.why})" if trial.why else f" (same values as trial {trial.twin})" if trial.twin is not None else ""
    print(f"trial {trial.number}: {trial.state}{score}{why}  {brief(trial.values)}", flush=True)


def _show(found: SweepResult, name: str, recipe: Composed, seeds: Sequence[int], language: str, console: Any) -> None:
    from haltung.evaluation.report import tables
    from haltung.experiments.sweep import table, verdict

    corpus = recipe._corpus
    console.print(table(found, language).rich())
    console.print(verdict(found, language), highlight=False, markup=False)
    if found.importance:
        told = ", ".join(f"{key} {share:.2f}" for key, share in found.importance.items())
        console.print(f"importance of the keys (fANOVA): {told}", highlight=False)
    for outcome in found.outcomes if len(found.outcomes) == 1 else ():
        tables.show(outcome.evaluation, corpus.scheme, console, language)
    if found.final is not None and len(found.outcomes) > 1:
        console.print(tables.seeds(found.final, corpus.scheme, language).rich())
    # The scores above chose the recipe, so they flatter it.
    console.print("dev has chosen the recipe, so its dev figures are too good; test tells the truth:", highlight=False)
    console.print(f"run [bold]{found.run}[/]", highlight=False)
    if found.outcomes:
        # The parent of several seeds stands for them all.
        best = found.outcomes[0].run[:8] if len(found.outcomes) == 1 else f"{name}-best"
        hint("open test", f"haltung evaluate run={best} split=test")
    hint("train it", recipe.training(found.best.values))
    if len(found.outcomes) > 1 and found.start is not None and found.start.number != found.best.number:
        # One trial each tells of two models; the recipes want several seeds, on a split that has chosen neither.
        told = ",".join(str(seed) for seed in seeds)
        hint("against it", f"{recipe.training({})} seed={told} name={name}-start")
        hint("", f"haltung evaluate run={name}-start split=test")
        hint("", f"haltung compare 'runs=[{name}-best,{name}-start]'")
    hint("look at it", found.where)


def _bracketed(word: str) -> str:
    """Make a list of ``final_seeds=1,2,3``, which would otherwise ask for three sweeps."""
    key, _, value = word.partition("=")
    return f"{key}=[{value}]" if key == "final_seeds" and re.fullmatch(r"[0-9,]+", value) else word
