"""``haltung sweep search=NAME``: search for the best recipe, then train it on several seeds."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console

from haltung.cli import hint
from haltung.cli.build import Seed, command, corpus_of, make, recipe_of
from haltung.cli.config import Request, compose, keys, overrides_of, plain
from haltung.corpus.store import Prepared
from haltung.errors import UserError
from haltung.evaluation.report import tables
from haltung.experiments.combined import folds_for
from haltung.experiments.sweep.search import Sweep, SweepResult, brief, table, verdict
from haltung.experiments.sweep.search import search as search_best
from haltung.experiments.sweep.spaces import Value, check_spaces, spaces_of, start_values
from haltung.experiments.sweep.trials import Trial, Trials
from haltung.experiments.train import Plan

# The keys that a training lacks, or that each training sets for itself.
_SWEEP_KEYS = ("search", "trials", "startup", "warmup", "final_seeds", "storage", "sweeps", "name", "resume", "seed")


@dataclass(frozen=True)
class Composed:
    """The recipe of a request, with some values replaced; a ``sweep.spaces.PlanFactory``."""

    request: Request

    def settings(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Return the config with these values, as plain data."""
        return plain(compose("sweep", [*self.request.overrides, *overrides_of(values)], self.request.config_dir))

    def plan(self, values: Mapping[str, Value], name: str, seed: int, resume: bool = False) -> Plan:
        """Return the training with these values; ``UserError`` if they are invalid."""
        return recipe_of({**self.settings(values), "seed": seed, "resume": resume}).plan(self.corpus, self.request.command, name)

    def training(self, values: Mapping[str, Value]) -> str:
        """Return the command that trains this recipe with these values."""
        words = [word for word in self.request.overrides if word.partition("=")[0].lstrip("+") not in _SWEEP_KEYS]
        more = ["folds=1"] if folds_for(self.corpus) > 1 else []  # to train on the splits of the sweep
        more += [] if self.request.config_dir is None else ["--config-dir", str(self.request.config_dir)]
        return shlex.join(["haltung", "train", *words, *overrides_of(values), *more])

    @cached_property
    def corpus(self) -> Prepared:
        """The corpus that the recipe learns from."""
        return corpus_of(self.settings({}), self.request.config_dir)


_SINGLE = "a sweep draws its values from search/NAME.yaml; give each key one value, and lists in brackets"


@command("sweep", numbers=("final_seeds",), single=_SINGLE)
def run(
    request: Request, *, trials: Annotated[int, Field(ge=1)], startup: Annotated[int, Field(ge=0)], warmup: Annotated[int, Field(ge=0)],
    final_seeds: tuple[Seed, ...], sweeps: str, search: Mapping[str, Any], storage: str | None,
) -> None:  # fmt: skip
    """Search; print the trials, and the metrics of the best recipe."""
    recipe, composed, spaces = recipe_of(request.settings), Composed(request), spaces_of(search)
    given = {word.partition("=")[0].lstrip("+") for word in request.overrides}
    check_spaces(spaces, composed, keys(compose("sweep", request.overrides, request.config_dir)), given)
    if len(set(final_seeds)) < len(final_seeds):
        raise UserError(f"final_seeds is {list(final_seeds)}: one is given twice, and would count twice in mean and spread")
    store, common = make(request.settings["tracking"], "tracking"), recipe.options
    name = common.name or f"{recipe.name(composed.corpus.name)}-sweep"
    planned = Trials(Path(sweeps) / name, spaces, trials, common.seed, startup, warmup, start_values(spaces, composed), storage or "")
    sweep = Sweep(name, planned, final_seeds, common.resume, request.settings, request.command)
    console = Console()
    console.print(f"[bold]{name}[/]: {trials} trials over {len(spaces)} keys, {planned.folder}", highlight=False, soft_wrap=True)
    if (result := search_best(sweep, composed, store, print_trial)) is None:
        told = "its trials have ended; the process that started the sweep, or resumed it, shows the result; if it has died, run this again"
        console.print(told, soft_wrap=True)
    else:
        _show(result, name, composed, final_seeds, common.language, console)


def print_trial(trial: Trial) -> None:
    """Print one line for a trial that has ended."""
    score = "" if trial.score is None else f" {trial.score:.3f}"
    why = f" ({trial.why})" if trial.why else ""
    print(f"trial {trial.number}: {trial.state}{score}{why}  {brief(trial.values)}", flush=True)


def _show(result: SweepResult, name: str, recipe: Composed, seeds: Sequence[int], language: str, console: Console) -> None:
    corpus = recipe.corpus
    console.print(table(result, language).rich())
    console.print(verdict(result, language), highlight=False, markup=False)
    for outcome in result.outcomes if len(result.outcomes) == 1 else ():
        tables.show(outcome.evaluation, corpus.scheme, console, language)
    if result.final is not None and len(result.outcomes) > 1:
        console.print(tables.seeds(result.final, corpus.scheme, language).rich())
    console.print("the recipe was chosen on dev, so its dev metrics are optimistic; the test split shows how good it is:", highlight=False)
    console.print(f"run [bold]{result.run.id}[/]", highlight=False, soft_wrap=True)
    if result.outcomes:
        # The parent run of several seeds represents them all.
        best = result.outcomes[0].run[:8] if len(result.outcomes) == 1 else f"{name}-best"
        hint("open test", f"haltung evaluate run={best} split=test")
    hint("train it", recipe.training(result.best.values))
    if len(result.outcomes) > 1 and result.start is not None and result.start.number != result.best.number:
        # Recipes are compared over several seeds, on a split that chose neither.
        hint("against it", f"{recipe.training({})} seed={','.join(map(str, seeds))} name={name}-start")
        hint("", f"haltung evaluate run={name}-start split=test")
        hint("", f"haltung compare 'runs=[{name}-best,{name}-start]'")
    hint("look at it", result.run.where)
