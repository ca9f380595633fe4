"""One training as a tracked run: a prepared corpus and a recipe go in, an MLflow run with figures, plots and the bundle comes out."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from haltung.files import write_text
from haltung import tracking
from haltung.corpus.store import Prepared
from haltung.corpus.subsample import part
from haltung.encoders.load import Encoder
from haltung.errors import UserError
from haltung.evaluation import outcome
from haltung.evaluation.metrics import minimal_pairs as challenge
from haltung.evaluation.report import page as report
from haltung.evaluation.metrics import results as stored
from haltung.evaluation.metrics.results import EvaluationResult, Summary
from haltung.evaluation.statistics.intervals import with_intervals
from haltung.evaluation.metrics.classification import evaluate, summary
from haltung.evaluation.predictions import score
from haltung.experiments.evaluate import examine
from haltung.labels import Scheme
from haltung.models import bundle
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.records import Prediction, Segment
from haltung.tracking import Run, RunRecord, Store
from haltung.training.calibrate import calibrate, calibration_of
from haltung.training.recipe import Training

# A point of the learning curve, as ``training.finetune`` reports it.
Point = dict[str, float]

# Beside a training's checkpoints: which run it is, and whether it has ended.
STATE = "run.json"


@dataclass(frozen=True)
class Plan:
    """What is to be trained.

    ``config`` is the resolved config as it is tracked; ``folder`` holds one folder for each training. ``share`` below 1 trains on a part
    of the train split (see ``corpus.shares.part``).
    """

    name: str
    corpus: Prepared
    encoder: Encoder
    model: NetworkSpec | LinearSpec
    training: Training
    seed: int
    config: Mapping[str, Any]
    command: Sequence[str]
    folder: Path
    language: str = "en"
    resume: bool = False
    twin: str = ""
    share: float = 1.0

    @property
    def place(self) -> Path:
        """The folder of this very training; another recipe, corpus or seed has another one."""
        parts = [asdict(self.encoder), asdict(self.model), asdict(self.training), self.seed, self.corpus.manifest.digest, self.name]
        parts += [self.share] if self.share < 1 else []
        parts += [self.corpus.scheme.names] if self.corpus.scheme.digest() != self.corpus.manifest.scheme_digest else []
        key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()[:8]
        return self.folder / f"{self.name}-{self.seed}-{key}{self.twin}"


@dataclass(frozen=True)
class Outcome:
    """A finished training: its run, its bundle, and its figures on dev. ``again`` is set where it had been finished before (``resume``)."""

    run: str
    where: str
    bundle: Path
    evaluation: EvaluationResult
    again: bool = False


def train(plan: Plan, store: Store, parent: Run | None = None) -> Outcome:
    """Train, evaluate on dev, and track.

    Raises:
        UserError: the corpus, recipe or encoder does not allow it, the store can't be reached, or it is being trained already.
    """
    from filelock import FileLock, Timeout

    plan.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(plan.folder / f".{plan.place.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        if plan.resume:
            raise UserError(f"{plan.place} is being trained by another process; wait for it before you resume it") from None
        # The same training, started twice at once, has a folder of its own each time.
        return _train(replace(plan, twin=f"-{os.getpid()}"), store, parent)
    with lock:
        return _train(plan, store, parent)


def _train(plan: Plan, store: Store, parent: Run | None) -> Outcome:
    state = read_state(plan.place)
    if plan.resume and state.get("finished"):
        return Outcome(state["run"], state["where"], plan.place / "bundle", stored.read(plan.place / "dev" / "evaluation.json"), again=True)
    manifest = plan.corpus.manifest
    tags = tags_of(plan.corpus, "train", plan.command, plan.share)
    resumed = state.get("run") if plan.resume else None
    with tracking.run(store, f"{plan.name}-{plan.seed}", parent, tags, resumed) as run:
        plan.place.mkdir(parents=True, exist_ok=True)
        write_state(plan.place, {"run": run.id, "where": run.where, "finished": False})
        run.params({**plan.config, "seed": plan.seed})
        run.artifact(plan.corpus.folder / "manifest.json", "corpus")
        train_split, dev_split = part(plan.corpus.segments("train"), plan.share, plan.seed), plan.corpus.segments("dev")
        model, history, cost = _fit(plan, train_split, dev_split, run)
        source = {
            "run": run.id,
            "corpus": manifest.name,
            "corpus_digest": manifest.digest,
            "seed": plan.seed,
            "command": tags["haltung.command"],
        }
        kept = Keeping(plan.corpus, plan.place, f"{plan.name}-{plan.seed}", tags["haltung.command"], plan.language)
        folder, figures = keep(model, kept, run, source, train_split[:3], history, cost)
        write_state(plan.place, {"run": run.id, "where": run.where, "finished": True})
    shutil.rmtree(plan.place / "checkpoints", ignore_errors=True)
    return Outcome(run.id, run.where, folder, figures)


@dataclass(frozen=True)
class Keeping:
    """Where and as what a trained model is kept: ``place`` gets its bundle and its report on dev, ``title`` stands over that."""

    corpus: Prepared
    place: Path
    title: str
    command: str
    language: str = "en"


def keep(
    model: Any, kept: Keeping, run: Run, source: Mapping[str, Any], examples: Sequence[Segment],
    history: tuple[dict[str, float], ...] = (), cost: Mapping[str, float] | None = None, said: Sequence[Prediction] | None = None,
) -> tuple[Path, EvaluationResult]:  # fmt: skip
    """Calibrate a new model on dev, write its bundle and its report, put both into the run, and return the bundle's folder and the figures.

    Args:
        model: as it comes from its training.
        kept: where and as what.
        run: that it belongs to.
        source: where the bundle comes from (``provenance``).
        examples: a few segments, for the tracked model's signature.
        history: the learning curve.
        cost: what the training took.
        said: what the model says of dev, where that is known already.
    """
    dev, manifest = kept.corpus.segments("dev"), kept.corpus.manifest
    # Temperatures and thresholds are fitted before the bundle is written: what is evaluated here is what is loaded from it.
    scored = calibrate(model, score(dev, said or model.predict(dev, progress=True), kept.corpus.scheme, manifest.name, "dev"))
    folder = bundle.save(model, kept.place / "bundle", source, [*kept.corpus.segments("train"), *dev])
    figures = with_intervals(evaluate(scored), scored)
    details = {"run": run.id, "command": kept.command, "corpus digest": manifest.digest[:16]}
    calibration = calibration_of(model, scored)
    report.write(
        kept.place / "dev", figures, scored,
        language=kept.language, history=history, title=kept.title, details=details, calibration=calibration,
    )  # fmt: skip
    run.history(history)
    run.metrics({"dev": {**figures.headline(), **calibration.metrics()}, **({"cost": dict(cost)} if cost else {})})
    run.artifact(kept.place / "dev", "dev")
    run.bundle(folder, examples)
    return folder, figures


def attempt(plan: Plan, store: Store, parent: Run, tags: Mapping[str, object], told: Callable[[Point], None]) -> tuple[str, EvaluationResult]:
    """Train as a mere trial of a recipe, as a part of ``parent``: figures, curve and predictions of dev are tracked, the model is not kept.

    Args:
        plan: what to train; its ``resume`` is of no use here.
        store: where to.
        parent: the run that the trial is a part of.
        tags: to find the trial by.
        told: is called with each new point of the learning curve, and may raise ``tracking.Pruned`` to end the trial.

    Returns:
        the run's id, and the figures on dev.

    Raises:
        UserError: as ``train``.
        tracking.Pruned: ``told`` has raised it.
    """
    try:
        with tracking.run(
            store, f"{plan.name}-{plan.seed}", parent, {**tags_of(plan.corpus, "trial", plan.command, plan.share), **tags}
        ) as run:
            run.params({**plan.config, "seed": plan.seed})
            train_split, dev_split = part(plan.corpus.segments("train"), plan.share, plan.seed), plan.corpus.segments("dev")
            model, history, cost = _fit(plan, train_split, dev_split, run, told)
            scored = score(dev_split, model.predict(dev_split), plan.corpus.scheme, plan.corpus.name, "dev")
            figures = evaluate(scored)
            run.history(history)
            run.metrics({"dev": figures.headline(), "cost": cost})
            run.artifact(outcome.write(plan.place / report.PREDICTIONS, scored), "dev")
    finally:
        shutil.rmtree(plan.place, ignore_errors=True)
    return run.id, figures


def train_seeds(
    plans: Sequence[Plan], store: Store, told: Callable[[Outcome], None] = lambda outcome: None, parent: Run | None = None
) -> tuple[str, Summary, list[Outcome]]:
    """Train the same recipe with several seeds, as parts of a run that holds mean and spread; ``told`` is called after each seed.

    That run is itself a part of ``parent``, where one is given.

    Returns:
        that run's id, mean and standard deviation of the dev figures, and the outcomes.

    Raises:
        UserError: as ``train``.
    """
    first = plans[0]
    place = first.folder / f"{first.name}-seeds-{hashlib.sha256('/'.join(plan.place.name for plan in plans).encode()).hexdigest()[:8]}"
    resumed = read_state(place).get("run") if first.resume else None
    tags = {"haltung.kind": "seeds", "haltung.corpus": first.corpus.name, **tracking.provenance(first.command)}
    with tracking.run(store, first.name, parent, tags, resumed) as run:
        place.mkdir(parents=True, exist_ok=True)
        write_state(place, {"run": run.id, "where": run.where, "finished": False})
        run.params({**first.config, "seed": ",".join(str(plan.seed) for plan in plans)})
        outcomes = []
        for plan in plans:
            outcomes.append(train(plan, store, run))
            if outcomes[-1].again:
                tracking.adopt(run, outcomes[-1].run)
            run.tags({tracking.MEMBERS: " ".join(outcome.run for outcome in outcomes)})
            told(outcomes[-1])
        spread = summary([outcome.evaluation for outcome in outcomes])
        run.metrics({"dev": mean_and_deviation(spread)})
        run.text(json.dumps(spread.to_dict(), indent=2, ensure_ascii=False) + "\n", "dev/summary.json")
        write_state(place, {"run": run.id, "where": run.where, "finished": True})
    return run.id, spread, outcomes


def test(model: bundle.Model, segments: Sequence[Segment], corpus: Prepared, split: str, folder: Path, record: RunRecord | None,
         command: Sequence[str], language: str = "en", looks: bool = True, seen: int = 0) -> EvaluationResult:  # fmt: skip
    """Score a model on a split, write the report into ``folder``, and, where there is a run, into that run.

    With ``looks`` the report also holds slices, masked names and errors to read (see ``examination``), which takes about as long again.
    ``seen`` segments are known to the model from its training; the report and the run say so.

    Raises:
        UserError: the model was trained with another label scheme, or the split is empty.
    """
    if model.scheme.digest() != corpus.scheme.digest():
        raise UserError(
            f"the model knows the scheme '{model.scheme.name}' (digest {model.scheme.digest()}), but the corpus '{corpus.name}' "
            f"is labelled by '{corpus.scheme.name}' (digest {corpus.scheme.digest()}); {_own_scheme(model.scheme, corpus.scheme)}"
        )
    if not segments:
        raise UserError(f"the {split} split of the corpus '{corpus.name}' is empty, so there is nothing to evaluate on")
    scored = score(segments, model.predict(segments, progress=True), corpus.scheme, corpus.name, split)
    figures = with_intervals(evaluate(scored), scored)
    if challenge.is_challenge(segments):
        figures = replace(figures, phenomena=challenge.phenomena(scored, segments))
    provenance = tracking.provenance(command)
    details = (
        {"command": provenance["haltung.command"], f"{split} digest": corpus.manifest.digests[split][:16]}
        | ({"run": record.id} if record else {})
        | ({"known from training": f"{seen} of {len(segments)} segments"} if seen else {})
    )
    calibration = calibration_of(model, scored)
    title = record.name if record else ""
    examination = None
    if looks:
        from rich.console import Console

        with Console(stderr=True).status(f"looking at {len(segments)} segments: slices, names, errors"):
            examination = examine(model, segments, scored)
    report.write(folder, figures, scored, language=language, title=title, details=details, calibration=calibration, examination=examination)
    if record is not None:
        run = tracking.attach(record)
        key = split if corpus.name == record.tags.get("haltung.corpus") else f"{corpus.name}.{split}"
        looked = examination.metrics() if examination else {}
        run.metrics({key: {**figures.headline(), **calibration.metrics(), **looked, **challenge.flat(figures.phenomena)}})
        run.tags({f"haltung.digest.{key}": corpus.manifest.digests[split], f"{tracking.SEEN}.{key}": seen})
        run.artifact(folder, f"evaluation/{key}")
    return figures


def _own_scheme(known: Scheme, given: Scheme) -> str:
    """Return what to do where a model's scheme isn't the corpus's: often it has learned some of its tasks."""
    if set(known.names) < set(given.names) and given.only(known.names).digest() == known.digest():
        return f"its tasks alone are corpus.tasks=[{','.join(known.names)}]"
    return "evaluate it on a corpus with its own scheme"


def mean_and_deviation(spread: Summary) -> dict[str, dict[str, dict[str, float]]]:
    """Return a summary as nested metrics, ``{"stance": {"macro_f1": {"mean": …, "sd": …}}}``."""
    return {
        task: {
            figure: {"mean": value.mean} | ({"sd": value.deviation} if value.deviation is not None else {})
            for figure, value in values.items()
        }
        for task, values in spread.tasks.items()
    }


def tags_of(corpus: Prepared, kind: str, command: Sequence[str], share: float = 1.0) -> dict[str, str]:
    """Return the tags of a run of this kind: what it was trained on, by digests, and where it comes from."""
    manifest = corpus.manifest
    return {
        "haltung.kind": kind,
        "haltung.corpus": manifest.name,
        "haltung.corpus_digest": manifest.digest,
        "haltung.scheme": corpus.scheme.name,
        "haltung.scheme_digest": corpus.scheme.digest(),
        **{f"haltung.split_digest.{name}": digest for name, digest in manifest.digests.items()},
        **({"haltung.share": f"{share:g}"} if share < 1 else {}),
        **tracking.provenance(command),
    }


def _fit(
    plan: Plan,
    train_split: Sequence[Segment],
    dev_split: Sequence[Segment],
    run: Run,
    report: Callable[[Point], None] = lambda point: None,
) -> tuple[Any, tuple[dict[str, float], ...], dict[str, float]]:
    """Return the trained model, its learning curve, and what it cost: seconds, real tokens per second, peak memory in bytes."""
    began = time.perf_counter()
    cost: dict[str, float] = {}
    history: tuple[dict[str, float], ...] = ()
    if isinstance(plan.model, LinearSpec):
        from haltung.models import linear

        model: Any = linear.fit(train_split, plan.corpus.scheme, plan.model, plan.seed)
    else:
        from haltung.training.finetune import finetune

        def told(point: Point) -> None:
            run.history([point])
            report(point)

        trained = finetune(
            train_split, dev_split, plan.corpus.scheme, plan.encoder, plan.model, plan.training, plan.seed,
            plan.place / "checkpoints", plan.resume, report=told,
        )  # fmt: skip
        model, history = trained.model, trained.history
        cost = {"tokens_per_second": trained.tokens / max(trained.seconds, 1e-9), "best_epoch": trained.best_epoch}
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return model, history, {"seconds": time.perf_counter() - began, "peak_memory_bytes": float(peak), **cost}


def read_state(folder: Path) -> dict[str, Any]:
    """Return what a training or experiment has written down of itself in its folder; empty where there is nothing."""
    try:
        return dict(json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write down, atomically, which run the folder is of and whether it has ended, for ``resume``."""
    write_text(folder / STATE, json.dumps(dict(state)) + "\n")
