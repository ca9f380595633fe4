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

from haltung import tracking
from haltung.corpus.prepared import Prepared
from haltung.encoders.sources import Encoder
from haltung.errors import UserError
from haltung.evaluation import challenge, report
from haltung.evaluation import figures as stored
from haltung.evaluation.figures import Evaluation, Summary
from haltung.evaluation.metrics import evaluate, summary
from haltung.evaluation.scored import score
from haltung.model import bundle
from haltung.model.spec import LinearSpec, NetworkSpec
from haltung.records import Segment
from haltung.tracking import Run, RunRecord, Store
from haltung.training.spec import Training

# Beside a training's checkpoints: which run it is, and whether it has ended.
STATE = "run.json"


@dataclass(frozen=True)
class Plan:
    """What is to be trained. ``config`` is the resolved config as it is tracked; ``folder`` holds one folder for each training."""

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

    @property
    def place(self) -> Path:
        """The folder of this very training; another recipe, corpus or seed has another one."""
        parts = [asdict(self.encoder), asdict(self.model), asdict(self.training), self.seed, self.corpus.manifest.digest, self.name]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()[:8]
        return self.folder / f"{self.name}-{self.seed}-{key}{self.twin}"


@dataclass(frozen=True)
class Outcome:
    """A finished training: its run, its bundle, and its figures on dev. ``again`` is set where it had been finished before (``resume``)."""

    run: str
    where: str
    bundle: Path
    evaluation: Evaluation
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
    state = _state(plan.place)
    if plan.resume and state.get("finished"):
        return Outcome(state["run"], state["where"], plan.place / "bundle", stored.read(plan.place / "dev" / "evaluation.json"), again=True)
    manifest = plan.corpus.manifest
    tags = {
        "haltung.kind": "train",
        "haltung.corpus": manifest.name,
        "haltung.corpus_digest": manifest.digest,
        "haltung.scheme": plan.corpus.scheme.name,
        "haltung.scheme_digest": manifest.scheme_digest,
        **{f"haltung.split_digest.{name}": digest for name, digest in manifest.digests.items()},
        **tracking.provenance(plan.command),
    }
    resumed = state.get("run") if plan.resume else None
    with tracking.run(store, f"{plan.name}-{plan.seed}", parent, tags, resumed) as run:
        plan.place.mkdir(parents=True, exist_ok=True)
        _write_state(plan.place, {"run": run.id, "where": run.where, "finished": False})
        run.params({**plan.config, "seed": plan.seed})
        run.artifact(plan.corpus.folder / "manifest.json", "corpus")
        train_split, dev_split = plan.corpus.segments("train"), plan.corpus.segments("dev")
        model, history, cost = _fit(plan, train_split, dev_split, run)
        source = {
            "run": run.id,
            "corpus": manifest.name,
            "corpus_digest": manifest.digest,
            "seed": plan.seed,
            "command": tags["haltung.command"],
        }
        folder = bundle.save(model, plan.place / "bundle", source)
        scored = score(dev_split, model.predict(dev_split, progress=True), plan.corpus.scheme, manifest.name, "dev")
        figures = evaluate(scored)
        details = {"run": run.id, "command": tags["haltung.command"], "corpus digest": manifest.digest[:16]}
        report.write(
            plan.place / "dev", figures, scored, language=plan.language, history=history, title=f"{plan.name}-{plan.seed}", details=details
        )
        run.history(history)
        run.metrics({"dev": figures.headline(), "cost": cost})
        run.artifact(plan.place / "dev", "dev")
        run.bundle(folder, train_split[:3])
        _write_state(plan.place, {"run": run.id, "where": run.where, "finished": True})
    shutil.rmtree(plan.place / "checkpoints", ignore_errors=True)
    return Outcome(run.id, run.where, folder, figures)


def train_seeds(
    plans: Sequence[Plan], store: Store, told: Callable[[Outcome], None] = lambda outcome: None
) -> tuple[str, Summary, list[Outcome]]:
    """Train the same recipe with several seeds, as parts of a parent run that holds mean and spread; ``told`` is called after each seed.

    Returns:
        the parent run's id, mean and standard deviation of the dev figures, and the outcomes.

    Raises:
        UserError: as ``train``.
    """
    first = plans[0]
    place = first.folder / f"{first.name}-seeds-{hashlib.sha256('/'.join(plan.place.name for plan in plans).encode()).hexdigest()[:8]}"
    resumed = _state(place).get("run") if first.resume else None
    tags = {"haltung.kind": "seeds", "haltung.corpus": first.corpus.name, **tracking.provenance(first.command)}
    with tracking.run(store, first.name, tags=tags, resume=resumed) as parent:
        place.mkdir(parents=True, exist_ok=True)
        _write_state(place, {"run": parent.id, "where": parent.where, "finished": False})
        parent.params({**first.config, "seed": ",".join(str(plan.seed) for plan in plans)})
        outcomes = []
        for plan in plans:
            outcomes.append(train(plan, store, parent))
            told(outcomes[-1])
        spread = summary([outcome.evaluation for outcome in outcomes])
        parent.metrics({"dev": mean_and_deviation(spread)})
        parent.text(json.dumps(spread.to_dict(), indent=2, ensure_ascii=False) + "\n", "dev/summary.json")
        _write_state(place, {"run": parent.id, "where": parent.where, "finished": True})
    return parent.id, spread, outcomes


def test(model: bundle.Model, segments: Sequence[Segment], corpus: Prepared, split: str, folder: Path, record: RunRecord | None,
         command: Sequence[str], language: str = "en") -> Evaluation:  # fmt: skip
    """Score a model on a split, write the report into ``folder``, and, where there is a run, into that run.

    Raises:
        UserError: the model was trained with another label scheme, or the split is empty.
    """
    if model.scheme.digest() != corpus.scheme.digest():
        raise UserError(
            f"the model knows the scheme '{model.scheme.name}' (digest {model.scheme.digest()}), but the corpus '{corpus.name}' "
            f"is labelled by '{corpus.scheme.name}' (digest {corpus.scheme.digest()}); evaluate it on a corpus with its own scheme"
        )
    if not segments:
        raise UserError(f"the {split} split of the corpus '{corpus.name}' is empty, so there is nothing to evaluate on")
    scored = score(segments, model.predict(segments, progress=True), corpus.scheme, corpus.name, split)
    figures = evaluate(scored)
    if challenge.is_challenge(segments):
        figures = replace(figures, phenomena=challenge.phenomena(scored, segments))
    provenance = tracking.provenance(command)
    details = {"command": provenance["haltung.command"], f"{split} digest": corpus.manifest.digests[split][:16]} | (
        {"run": record.id} if record else {}
    )
    report.write(folder, figures, scored, language=language, title=record.name if record else "", details=details)
    if record is not None:
        run = tracking.attach(record)
        key = split if corpus.name == record.tags.get("haltung.corpus") else f"{corpus.name}.{split}"
        run.metrics({key: {**figures.headline(), **challenge.flat(figures.phenomena)}})
        run.tags({f"haltung.digest.{key}": corpus.manifest.digests[split]})
        run.artifact(folder, f"evaluation/{key}")
    return figures


def mean_and_deviation(spread: Summary) -> dict[str, dict[str, dict[str, float]]]:
    """Return a summary as nested metrics, ``{"stance": {"macro_f1": {"mean": …, "sd": …}}}``."""
    return {
        task: {
            figure: {"mean": value.mean} | ({"sd": value.deviation} if value.deviation is not None else {})
            for figure, value in values.items()
        }
        for task, values in spread.tasks.items()
    }


def _fit(
    plan: Plan, train_split: Sequence[Segment], dev_split: Sequence[Segment], run: Run
) -> tuple[Any, tuple[dict[str, float], ...], dict[str, float]]:
    """Return the trained model, its learning curve, and what it cost: seconds, real tokens per second, peak memory in bytes."""
    began = time.perf_counter()
    cost: dict[str, float] = {}
    history: tuple[dict[str, float], ...] = ()
    if isinstance(plan.model, LinearSpec):
        from haltung.model import linear

        model: Any = linear.fit(train_split, plan.corpus.scheme, plan.model, plan.seed)
    else:
        from haltung.training.finetune import finetune

        trained = finetune(
            train_split, dev_split, plan.corpus.scheme, plan.encoder, plan.model, plan.training, plan.seed,
            plan.place / "checkpoints", plan.resume, report=lambda point: run.history([point]),
        )  # fmt: skip
        model, history = trained.model, trained.history
        cost = {"tokens_per_second": trained.tokens / max(trained.seconds, 1e-9), "best_epoch": trained.best_epoch}
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return model, history, {"seconds": time.perf_counter() - began, "peak_memory_bytes": float(peak), **cost}


def _state(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write_state(folder: Path, state: Mapping[str, Any]) -> None:
    scratch = folder / f".{STATE}-{os.getpid()}"
    scratch.write_text(json.dumps(dict(state)) + "\n", encoding="utf-8")
    scratch.replace(folder / STATE)
