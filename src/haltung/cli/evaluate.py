"""``haltung evaluate run=RUN split=test``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from haltung.cli.build import make, plain, typed
from haltung.cli.config import compose, parse
from haltung.cli.prepare import corpus_of
from haltung.errors import UserError


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    run: str | None
    bundle: str | None
    split: Literal["dev", "test"]
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
    if (keys.run is None) == (keys.bundle is None):
        raise UserError("name what to evaluate: run=ID (of haltung train), or bundle=FOLDER with corpus=NAME; one of the two")
    own_corpus = not settings.get("corpus")

    from rich.console import Console

    from haltung import tracking
    from haltung.evaluation.report import tables
    from haltung.experiments.evaluate import ModelEvaluation, TrainedModel, evaluate, models_of

    group = None
    if keys.bundle is not None:
        if own_corpus:
            raise UserError("bundle=… says what to evaluate; corpus=NAME has to say on what")
        models = [TrainedModel(Path(keys.bundle).name, Path(keys.bundle))]
    else:
        record = tracking.find(make(settings["tracking"], "tracking"), str(keys.run))
        # The mean over seeds belongs to the run that holds them, which in a sweep is not the one that was named.
        models, group = models_of(record), tracking.group(record)
        settings = {**settings, "corpus": record.config["corpus"]} if own_corpus else settings
    corpus, console = corpus_of(settings, config_dir), Console()

    def show(model: ModelEvaluation) -> None:
        title = f"[bold]{model.name}[/] on {corpus.name} {keys.split}; report: {model.report / 'report.html'}"
        console.print(title, highlight=False, soft_wrap=True)
        tables.show(model.result, corpus.scheme, console, keys.language)

    done = evaluate(
        models, corpus, keys.split, own_corpus=own_corpus, group=group, folder=Path(keys.output or "experiments/reports"),
        command=command, language=keys.language, errors=keys.examine, allow_seen=keys.seen == "allow", callback=show,
    )  # fmt: skip
    if done.summary is not None:
        console.print(tables.seeds(done.summary, corpus.scheme, keys.language).rich())
