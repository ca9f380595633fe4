"""One training as a tracked run: corpus and recipe in; bundle, metrics and plots out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung import resources, tracking
from haltung.corpus.store import Prepared
from haltung.corpus.stratify import subsample
from haltung.encoders.load import Encoder
from haltung.errors import UserError, first_line
from haltung.evaluation.metrics import classification, results
from haltung.evaluation.metrics.results import EvaluationResult, Summary
from haltung.evaluation.predictions import score, write_predictions
from haltung.evaluation.report import page
from haltung.evaluation.report.i18n import word
from haltung.experiments.compare import FOLDS
from haltung.experiments.dyads import tune_trained
from haltung.experiments.evaluate import PrimerResult, TrainedModel, primer_of
from haltung.models import bundle, predictor
from haltung.models.predictor import Model
from haltung.models.spec import FewShotSpec, LinearSpec, NetworkSpec
from haltung.records import Prediction, Segment
from haltung.tracking import Run, Store
from haltung.tracking.directory import BUSY, lock, read_state, tracked
from haltung.tracking.store import environment
from haltung.training.calibration import OutOfFold, calibrate, calibration_of
from haltung.training.recipe import Training, place

if TYPE_CHECKING:
    from haltung.training.finetune import Point


@dataclass(frozen=True)
class Plan:
    """What to train.

    ``config`` is the resolved config, as it is tracked. ``folder`` is the parent of all run
    directories. With a ``share`` below 1 the model learns from a part of the train split
    (``corpus.stratify.subsample``). ``suffix`` is appended to the run directory's name. A model of
    all rows has no dev split; ``held_out`` has the results of the folds instead.
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
    suffix: str = ""
    share: float = 1.0
    fsdp: Mapping[str, Any] | None = None
    teacher: TrainedModel | None = None
    held_out: OutOfFold | None = None

    @property
    def title(self) -> str:
        """The name of the run."""
        return f"{self.name}-{self.seed}"

    @property
    def run_directory(self) -> Path:
        """The directory of this training, unique to its recipe, corpus, seed and name."""
        corpus = self.corpus
        # Unset keys do not count, so that a new key leaves the directories of older trainings.
        encoder, training = ({key: value for key, value in asdict(of).items() if value is not None} for of in (self.encoder, self.training))
        weight = training.pop("teacher_weight")
        parts = [encoder, asdict(self.model), training, self.seed, corpus.manifest.digest, self.name]
        parts += [self.share] * (self.share < 1) + ([self.held_out.folds, self.held_out.digest] if self.held_out else [])
        parts += [self.teacher.id, weight] if self.teacher else []
        parts += [corpus.scheme.names] if corpus.scheme.digest() != corpus.manifest.scheme_digest else []
        key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()[:8]
        return self.folder / f"{self.title}-{key}{self.suffix}"


@dataclass(frozen=True)
class TrainingOutcome:
    """A finished training: its run, its bundle, and its result on dev.

    ``where`` says where to look at the run; ``primer`` is None for a model with other stances.
    ``resumed``: it had finished before, and nothing was trained.
    """

    run: str
    where: str
    bundle: Path
    evaluation: EvaluationResult
    primer: PrimerResult | None = None
    resumed: bool = False


@dataclass(frozen=True)
class SeedsOutcome:
    """One recipe trained with several seeds; ``run`` is the parent run, ``summary`` is on dev.

    For a single seed, ``run`` is that of the training itself.
    """

    run: str
    name: str
    summary: Summary
    outcomes: tuple[TrainingOutcome, ...]


def train(plan: Plan, store: Store, parent: Run | None = None) -> TrainingOutcome:
    """Train, evaluate on dev, and track. Raises ``UserError`` if corpus, recipe or encoder do not
    allow it, the store can't be reached, or a training to be resumed is still running.
    """
    from filelock import Timeout

    plan.folder.mkdir(parents=True, exist_ok=True)
    try:
        acquired = lock(plan.run_directory).acquire()
    except Timeout:
        if plan.resume or place()[1] > 1:
            raise UserError(BUSY.format(plan.run_directory)) from None
        # If the same training is running, this one gets a directory of its own.
        return _train(replace(plan, suffix=f"-{os.getpid()}"), store, parent)
    with acquired:
        return _train(plan, store, parent)


def _train(plan: Plan, store: Store, parent: Run | None) -> TrainingOutcome:
    directory, corpus = plan.run_directory, plan.corpus
    state = read_state(directory)
    if plan.resume and state.get("finished"):
        result = results.read(directory / (FOLDS if plan.held_out else "dev") / page.METRICS)
        return TrainingOutcome(state["run"], state["where"], directory / "bundle", result, resumed=True)
    tags, teacher = tags_of(corpus, "train", plan.command, plan.share), plan.teacher
    tags |= {"haltung.teacher": teacher.id} if teacher else {}
    tags |= {f"haltung.digest.{FOLDS}": plan.held_out.digest} if plan.held_out else {}
    with tracked(directory, plan.title, store, tags, {**plan.config, "seed": plan.seed}, parent, plan.resume) as run:
        run.artifact(corpus.folder / "manifest.json", "corpus")
        learned, dev_split = subsample(corpus.segments("train"), plan.share, plan.seed), corpus.segments("dev")
        held_out = set(plan.held_out.scored.ids if plan.held_out else ())  # used if there is no dev split
        tuned_on = dev_split or [segment for segment in learned if segment.id in held_out]
        model, history, cost, predictions = _fit(plan, learned, tuned_on, lambda point: run.history([point]))
        start = Path(plan.encoder.path) if isinstance(plan.model, NetworkSpec) and plan.encoder.origin == "folder" else None
        made_of = [one for one in (teacher.bundle if teacher else None, start) if one and (one / bundle.DESCRIPTION).is_file()]
        outcome = save(
            model, run, corpus, learned, dev_split, directory, title=plan.title, command=tags["haltung.command"],
            provenance={"seed": plan.seed, **({"teacher": teacher.id} if teacher else {})}, language=plan.language, history=history,
            cost=cost, predictions=predictions, made_of=made_of, held_out=plan.held_out,
        )  # fmt: skip
    shutil.rmtree(directory / "checkpoints", ignore_errors=True)
    return outcome


def save(
    model: Model, run: Run, corpus: Prepared, learned: Sequence[Segment], dev_split: Sequence[Segment], directory: Path, *,
    title: str, command: str, provenance: Mapping[str, Any], language: str = "en", history: Sequence[Point] = (),
    cost: Mapping[str, float] | None = None, predictions: Sequence[Prediction] | None = None, made_of: Sequence[Path] = (),
    held_out: OutOfFold | None = None,
) -> TrainingOutcome:  # fmt: skip
    """Calibrate a new model on dev, write its bundle and its report on dev, and track both.

    If the model finds dyads, their thresholds are tuned on dev too. ``learned`` is what the model
    was trained on, ``dev_split`` the whole dev split, ``predictions`` those for it if already
    known, and ``made_of`` the bundles of other models in it. ``directory`` gets ``bundle`` and
    ``dev``. The bundle's provenance has ``provenance`` in addition to run, corpus and command;
    ``cost`` is that of the training. With ``held_out``, metrics, temperatures and thresholds are
    those of the folds, in ``folds`` instead of ``dev``.
    """
    manifest = corpus.manifest
    # Calibrate before writing the bundle: the model evaluated here is the one loaded from it.
    if held_out:
        model.calibration, scored, predictions = held_out.calibration, held_out.scored, ()
    else:
        predictions = predictions or model.predict(dev_split, progress=True)
        scored = calibrate(model, score(dev_split, predictions, corpus.scheme, manifest.name, "dev"))
    source = {"run": run.id, "corpus": manifest.name, "corpus_digest": manifest.digest, **provenance, "command": command}
    folder = bundle.save(model, directory / "bundle", source, [*learned, *dev_split], made_of)
    result = classification.with_intervals(classification.evaluate(scored, required=False), scored)
    if model.finds_dyads and not held_out:
        # With calibrated stances, as the bundle answers.
        answers = predictor.predictions(scored.ids, scored.probabilities, scored.scheme, [one.actors for one in predictions])
        tuned_on = {"corpus": manifest.name, "split": "dev", "command": command}
        result = replace(result, dyads=tune_trained(folder, dev_split, answers, tuned_on))
    calibration, split = held_out.report if held_out else calibration_of(model, scored), scored.split
    note = {FOLDS: word("final_explained", language, folds=held_out.folds, n=len(scored))} if held_out else {}
    page.write(
        directory / split, result, scored, language=language, history=history, title=title, calibration=calibration,
        details={"run": run.id, "command": command, "corpus digest": manifest.digest[:16], **note},
    )  # fmt: skip
    primer = primer_of(model)
    run.history(history)
    found = {split: {**result.headline(), **calibration.metrics()}, "cost": dict(cost or {}), "primer": primer.metrics() if primer else {}}
    run.metrics({name: values for name, values in found.items() if values})
    run.artifact(directory / split, "dev" if split == "dev" else f"evaluation/{split}")
    # After the run's copy is made: the texts stay on this machine.
    texts = {one.id: one for one in (*learned, *dev_split)}
    write_predictions(directory / split / page.PREDICTIONS, scored, [texts[id] for id in scored.ids])
    run.bundle(folder, learned[:3])
    return TrainingOutcome(run.id, run.where, folder, result, primer)


def train_trial(plan: Plan, store: Store, parent: Run, number: int, callback: Callable[[Point], None]) -> tuple[str, EvaluationResult]:
    """Train as a trial of ``parent``; metrics and dev predictions are tracked, the model is not.

    The run is always new; the plan's directory is removed. ``number`` is the trial's. ``callback``
    gets each new point of the learning curve; if it raises ``tracking.Pruned``, the trial ends and
    the exception is passed on. Return run id and result on dev. ``UserError`` as ``train``.
    """

    def report(point: Point) -> None:
        run.history([point])
        callback(point)

    try:
        found_by = {"haltung.trial": number, tracking.MARK: f"{parent.id}-{number}"}
        with tracking.run(store, plan.title, parent, {**tags_of(plan.corpus, "trial", plan.command, plan.share), **found_by}) as run:
            run.params({**plan.config, "seed": plan.seed})
            train_split, dev_split = subsample(plan.corpus.segments("train"), plan.share, plan.seed), plan.corpus.segments("dev")
            model, history, cost, predictions = _fit(plan, train_split, dev_split, report)
            scored = score(dev_split, predictions or model.predict(dev_split), plan.corpus.scheme, plan.corpus.name, "dev")
            result = classification.evaluate(scored)
            run.history(history)
            run.metrics({"dev": result.headline(), "cost": cost})
            run.artifact(write_predictions(plan.run_directory / page.PREDICTIONS, scored), "dev")
    finally:
        shutil.rmtree(plan.run_directory, ignore_errors=True)
    return run.id, result


def train_seeds(
    plans: Sequence[Plan], store: Store, callback: Callable[[TrainingOutcome], None] = lambda outcome: None, parent: Run | None = None
) -> SeedsOutcome:
    """Train one recipe with several seeds, below a run that holds mean and standard deviation.

    That run is a child of ``parent``, if given; a single seed has none. ``callback`` gets the
    outcome of each seed. Raises ``UserError`` as ``train``.
    """
    first = plans[0]
    if len(plans) == 1:
        only = train(first, store, parent)
        callback(only)
        return SeedsOutcome(only.run, first.title, classification.summary([only.evaluation]), (only,))
    tags = {"haltung.kind": "seeds", "haltung.corpus": first.corpus.name, **tracking.provenance(first.command)}
    config = {**first.config, "seed": ",".join(str(plan.seed) for plan in plans)}
    with tracked(directory_of(f"{first.name}-seeds", plans), first.name, store, tags, config, parent, first.resume) as run:
        outcomes: list[TrainingOutcome] = []
        for plan in plans:
            outcomes.append(train(plan, store, run))
            if outcomes[-1].resumed:
                tracking.adopt(run, outcomes[-1].run)
            run.tags({tracking.MEMBERS: " ".join(outcome.run for outcome in outcomes)})
            callback(outcomes[-1])
        summary = classification.summary([outcome.evaluation for outcome in outcomes])
        run.metrics({"dev": summary.metrics()})
        run.text(summary.to_json(), "dev/summary.json")
    return SeedsOutcome(run.id, first.name, summary, tuple(outcomes))


def tags_of(corpus: Prepared, kind: str, command: Sequence[str], share: float = 1.0) -> dict[str, str]:
    """Return the tags of a run of this kind: the digests of its corpus, and its provenance."""
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


def directory_of(stem: str, plans: Sequence[Plan]) -> Path:
    """Return the run directory of an experiment that consists of these trainings."""
    key = hashlib.sha256("/".join(plan.run_directory.name for plan in plans).encode()).hexdigest()[:8]
    return plans[0].folder / f"{stem}-{key}"


def follow(plans: Sequence[Plan]) -> None:
    """Take part in trainings that another process tracks with ``train``."""
    for plan in plans:
        if not (plan.resume and read_state(plan.run_directory).get("finished")):
            _fit(plan, subsample(plan.corpus.segments("train"), plan.share, plan.seed), plan.corpus.segments("dev"))


def launch(plans: Sequence[Plan], processes: int, words: Sequence[str], store: Store) -> None:
    """Run ``haltung`` in torchrun processes; if one dies, all end, and their runs are FAILED."""
    from filelock import Timeout
    from torch.distributed.elastic.multiprocessing import SignalException, errors
    from torch.distributed.run import parse_args, run

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # errors are reported here instead
    try:
        count = str(resources.threads(processes))
        with environment({"OMP_NUM_THREADS": count}, override=True), environment({"TORCH_CPP_LOG_LEVEL": "ERROR"}):
            run(parse_args(["--standalone", f"--nproc-per-node={processes}", "--module", "haltung", *words]))
    except SignalException:
        raise KeyboardInterrupt from None
    except errors.ChildFailedError as error:
        # Others end by SIGTERM, or report a missing answer, which looks like a user error.
        rank, first = min(error.failures.items(), key=lambda one: one[1].exitcode in (2, 143, -signal.SIGTERM))
        why = f"process {rank} of {processes} has ended ({first.signal_name() if first.exitcode < 0 else f'exit code {first.exitcode}'})"
        for directory in (*(plan.run_directory for plan in plans), directory_of(f"{plans[0].name}-seeds", plans)):
            with suppress(Timeout, UserError), lock(directory):  # another process may be training it; the store may be what failed
                tracking.mark_killed(store, read_state(directory).get("mark"), why)
        sys.exit(2 if first.exitcode == 2 else f"haltung: {why}, and so has the training; resume=true continues from its last checkpoint")


def _fit(
    plan: Plan, train_split: Sequence[Segment], dev_split: Sequence[Segment], report: Callable[[Point], None] = lambda point: None
) -> tuple[Model, tuple[Point, ...], dict[str, float], Sequence[Prediction] | None]:
    """Return model, learning curve, cost, and the model's predictions for dev if they are known.

    Cost: seconds, peak memory in bytes; if tuned, tokens per second, best epoch, shares undone.
    """
    began = time.perf_counter()
    cost: dict[str, float] = {}
    predictions: Sequence[Prediction] | None = None
    history: tuple[Point, ...] = ()
    if isinstance(plan.model, LinearSpec):
        from haltung.models import linear

        model: Model = linear.fit(train_split, plan.corpus.scheme, plan.model, plan.seed)
    elif isinstance(plan.model, FewShotSpec):
        from haltung.training import few_shot

        model = few_shot.fit(train_split, plan.corpus.scheme, plan.encoder, plan.model, plan.seed)
    else:
        from haltung.training.adjustment import adjust
        from haltung.training.finetune import finetune

        if place()[1] > 1:  # torchrun sends this signal if another process has died
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
        try:
            tuned = finetune(
                train_split, dev_split, plan.corpus.scheme, plan.encoder, plan.model, plan.training, plan.seed,
                plan.run_directory / "checkpoints", plan.resume, report, plan.fsdp,
                bundle.load(plan.teacher.bundle).probabilities(train_split, progress=True) if plan.teacher else None,
            )  # fmt: skip
        except RuntimeError as error:
            if "gloo" not in str(error) and not type(error).__name__.startswith("Dist"):
                raise
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so that the run is marked first
            raise UserError(f"another process of this training has ended or is lost ({first_line(error)}); resume=true continues") from None
        model, history, predictions = tuned.model, tuned.history, tuned.predictions
        cost = {"tokens_per_second": tuned.tokens / max(tuned.seconds, 1e-9), "best_epoch": tuned.best_epoch}
        if plan.training.logit_adjustment:
            known = plan.held_out.shares if plan.held_out else None
            shares = adjust(tuned.model, train_split, dev_split, plan.training.class_weight, predictions, known)
            predictions = None if any(shares.values()) else predictions
            cost |= {f"logit_adjustment_{task}": share for task, share in shares.items()}
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return model, history, {"seconds": time.perf_counter() - began, "peak_memory_bytes": float(peak), **cost}, predictions
