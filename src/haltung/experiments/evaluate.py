"""Evaluate trained models on a split: predictions, metrics, error analysis, tracked reports."""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from haltung import tracking
from haltung.corpus.store import Prepared
from haltung.errors import UserError, listed, one_of, short
from haltung.evaluation.comparison import with_intervals_of_means
from haltung.evaluation.error_analysis.analysis import ErrorAnalysis, Mistakes, find_mistakes
from haltung.evaluation.error_analysis.name_sensitivity import name_sensitivity
from haltung.evaluation.error_analysis.slices import slices
from haltung.evaluation.metrics import classification, minimal_pairs
from haltung.evaluation.metrics.results import EvaluationResult, Summary, TaskMetrics
from haltung.evaluation.predictions import ScoredSplit, score, write_predictions
from haltung.evaluation.report import page
from haltung.evaluation.report.i18n import brackets, number, word
from haltung.evaluation.statistics.bootstrap import wilson
from haltung.events import dyads as dyad_model
from haltung.experiments.dyads import end_to_end
from haltung.experiments.explain import explained
from haltung.files import sha256, shipped
from haltung.labels import STANCE, Scheme, Task, parse
from haltung.models import bundle, compact
from haltung.models.predictor import Predictor
from haltung.records import Segment
from haltung.tracking import RunRecord, Store
from haltung.training.calibration import calibration_of

_COINCIDENCES = 0.01  # of a split may be known by chance: short sentences occur in several articles
# Why more is refused, and what to do: for a model to evaluate, and for a teacher.
_SCORED = (
    "so its metrics would say too little about new texts; evaluate it on a corpus that it has not seen, or give seen=allow to score it "
    "anyway (the report and comparisons will say so)"
)
_TAUGHT = "so its student would know them too; name a teacher that has not seen them, or give seen=allow to learn from it anyway"
_LISTED = 300  # the maximum number of mistakes listed per task


@dataclass(frozen=True)
class PrimerResult:
    """The stance metrics on ``data/primer``, which has equally many sentences for each stance."""

    stance: TaskMetrics

    def metrics(self) -> dict[str, float]:
        """Return the tracked metrics: accuracy (equal to mean recall), and recall by stance."""
        return {"accuracy": self.stance.accuracy, **{f"recall_{one.label}": one.recall for one in self.stance.labels}}

    def sentence(self, task: Task, language: str = "en") -> str:
        """Return the result in words, with Wilson's interval and the stances of lowest recall."""
        accuracy, n, labels = self.stance.accuracy, self.stance.n, self.stance.labels
        names = {label.id: label.name(language) for label in task.labels}
        return word(
            "primer", language, right=sum(one.correct for one in labels), n=n,
            share=f"{number(accuracy, language)} {brackets(wilson(accuracy, n), language)}",
            least=", ".join(f"{names[one.label]} {one.correct}/{one.support}" for one in sorted(labels, key=lambda one: one.recall)[:3]),
        )  # fmt: skip


@dataclass(frozen=True)
class TrainedModel:
    """A model to evaluate: its name, its bundle, and its run (None for a bundle without a run)."""

    name: str
    bundle: Path
    record: RunRecord | None = None

    @property
    def id(self) -> str:
        """The id of its run, or the SHA-256 of the bundle's description if there is no run."""
        return self.record.id if self.record else sha256(self.bundle / bundle.DESCRIPTION)


@dataclass(frozen=True)
class ModelEvaluation:
    """The evaluation of one model on one split; ``report`` is the folder of its report."""

    name: str
    report: Path
    result: EvaluationResult
    scored: ScoredSplit
    primer: PrimerResult | None


def models_of(record: RunRecord) -> list[TrainedModel]:
    """Return the models of a run (``tracking.members``): its own, or those of its seeds."""
    return [TrainedModel(member.name, tracking.bundle_folder(member), member) for member in tracking.members(record)]


def models_named(given: str, store: Store) -> list[TrainedModel]:
    """Return the models of a bundle's folder, an installed model's name, or a run."""
    if "/" in given or any(Path(given).expanduser().glob("haltung.json")) or given.startswith(compact.HUB) or given in compact.installed():
        return [TrainedModel(given, compact.find(given))]
    return models_of(tracking.find(store, given))


def teacher_of(given: str, store: Store, corpus: Prepared, allow_seen: bool = False) -> TrainedModel:
    """Return the teacher named by a run, a bundle's folder or an installed model's name.

    Raises ``UserError`` if there is none, or several; it has another scheme; or it has learned from
    over one in a hundred segments of dev. A teacher of the same corpus and splits may know dev,
    which chose its epoch as it will choose its student's; others may if ``allow_seen``.
    """
    models = models_named(given, store)
    if len(models) > 1:
        found = f"teacher={given} names {len(models)} models ({listed(model.name for model in models)})"
        raise UserError(f"{found}; name one of them, or combine them all with haltung ensemble")
    description = bundle.describe(models[0].bundle)
    check_scheme(parse(description["scheme"]), corpus)
    if description.get("provenance", {}).get("corpus_digest") != corpus.manifest.digest:
        _count_seen(models[0], corpus.segments("dev"), "dev", corpus.name, False, allow_seen, _TAUGHT)
    return models[0]


def evaluate(
    models: Sequence[TrainedModel], corpus: Prepared, split: str = "test", *, own_corpus: bool, group: RunRecord | None = None,
    folder: Path = Path("experiments/reports"), command: Sequence[str] = ("evaluate",), language: str = "en", errors: bool = True,
    allow_seen: bool = False, callback: Callable[[ModelEvaluation], None] = lambda model: None,
) -> tuple[list[ModelEvaluation], Summary | None]:  # fmt: skip
    """Score models on a split, write a report for each, and track results in the models' runs.

    ``models`` are those of one run (``models_of``), or bundles; ``own_corpus`` says whether they
    were trained on this corpus, with the same splits. ``group``, the run of their seeds
    (``tracking.group``), gets mean, deviation and interval. Each report is written to
    ``folder/MODEL-CORPUS-SPLIT``; with ``errors``, it has an error analysis, which about doubles
    the time. ``allow_seen`` scores a model even on segments of another corpus that it has learned
    from. Return the evaluation of each model, and the summary over seeds (None without ``group``).
    Raises ``UserError`` if the split is unknown, empty, of another scheme or not that of the
    training, or if a model has learned from more than one in a hundred of its segments.
    """
    one_of("split", split, ("dev", "test"))
    for model in models if own_corpus else ():
        if model.record and model.record.of_all_rows:
            raise UserError(model.record.of_all_rows)
        digest = corpus.manifest.digests[split]
        trained = model.record.tags.get(f"haltung.split_digest.{split}", digest) if model.record else digest
        if trained != digest:
            raise UserError(
                f"the {split} split of the corpus '{corpus.name}' (digest {digest[:12]}) is not that of the run {model.name} "
                f"({trained[:12]}): its source or its config has changed since; train again,"
                f" or give corpus={corpus.name} to score the run on the new one anyway"
            )
    segments = corpus.segments(split)
    # All models are checked before the first is scored; dev is exempt, since every model knows it.
    seen = [0 if split == "dev" else _count_seen(model, segments, split, corpus.name, own_corpus, allow_seen) for model in models]
    done = []
    for model, known in zip(models, seen, strict=True):
        report = folder / f"{model.name}-{corpus.name}-{split}"
        done.append(evaluate_model(model, segments, corpus, split, report, command, language, errors, known))
        callback(done[-1])
    if group is None:
        return done, None
    summary = with_intervals_of_means(classification.summary([model.result for model in done]), [model.scored for model in done])
    run, key = tracking.attach(group), f"{corpus.name}.{split}"
    run.metrics({key: summary.metrics()})
    run.text(summary.to_json(), f"evaluation/{key}/summary.json")
    return done, summary


def evaluate_model(
    trained: TrainedModel, segments: Sequence[Segment], corpus: Prepared, split: str, folder: Path, command: Sequence[str],
    language: str = "en", errors: bool = True, seen: int = 0,
) -> ModelEvaluation:  # fmt: skip
    """Score one model on a split, and write its report into ``folder`` and into its run.

    ``seen`` segments are known to the model from its training; report and run state it. Raises
    ``UserError`` if the model has another label scheme, or the split is empty.
    """
    model, record = bundle.load(trained.bundle), trained.record
    check_scheme(model.scheme, corpus)
    if not segments:
        raise UserError(f"the {split} split of the corpus '{corpus.name}' is empty, so there is nothing to evaluate on")
    predictions = model.predict(segments, progress=True)
    scored = score(segments, predictions, corpus.scheme, corpus.name, split)
    result = classification.with_intervals(classification.evaluate(scored), scored)
    if are_pairs := minimal_pairs.are_minimal_pairs(segments):
        result = replace(result, phenomena=minimal_pairs.phenomena(scored, segments))
    if model.finds_dyads and any(segment.dyads for segment in segments):
        found = list(map(dyad_model.load(trained.bundle).dyads, predictions))
        by_phenomenon = minimal_pairs.dyad_phenomena(segments, found) if are_pairs else {}
        result = replace(result, dyads=end_to_end(segments, predictions, found), dyad_phenomena=by_phenomenon)
    primer = primer_of(model)
    details = (
        {"command": tracking.provenance(command)["haltung.command"], f"{split} digest": corpus.manifest.digests[split][:16]}
        | ({"run": record.id} if record else {}) | ({"known from training": f"{seen} of {len(segments)} segments"} if seen else {})
        | ({"primer": primer.sentence(corpus.scheme[STANCE], language)} if primer else {})
    )  # fmt: skip
    calibration = calibration_of(model, scored)
    analysis = None
    if errors:
        with Console(stderr=True, force_jupyter=False).status(f"analysing {len(segments)} segments: slices, names, errors"):
            analysis = analyse_errors(model, segments, scored)
    run = tracking.attach(record) if record else None
    with tempfile.TemporaryDirectory() as scratch:
        public = Path(scratch) / "report" if run and analysis and not run.connection.store.log_texts else None
        page.write(
            folder, result, scored, language=language, title=record.name if record else "", details=details, calibration=calibration,
            analysis=analysis, without_texts=public,
        )  # fmt: skip
        if record and run:
            key = split if corpus.name == record.tags.get("haltung.corpus") else f"{corpus.name}.{split}"
            more = analysis.metrics() if analysis else {}
            dyads = {f"dyads_{part.replace(', ', '_')}": rows for part, rows in result.dyad_phenomena.items()}
            run.metrics({key: {**result.headline(), **calibration.metrics(), **more, **minimal_pairs.flat({**result.phenomena, **dyads})}})
            run.metrics({"primer": primer.metrics()} if primer else {})
            run.tags({f"haltung.digest.{key}": corpus.manifest.digests[split], f"{tracking.SEEN}.{key}": seen})
            run.artifact(public or folder, f"evaluation/{key}")
    # After the run's copy is made, so that the texts stay on this machine.
    write_predictions(folder / page.PREDICTIONS, scored, segments)
    return ModelEvaluation(trained.name, folder, result, scored, primer)


def analyse_errors(
    model: Predictor, segments: Sequence[Segment], scored: ScoredSplit, explain: int = 30, draws: int = 2000
) -> ErrorAnalysis:
    """Return slices, name sensitivity, and mistakes with the words that led to them.

    ``scored`` holds the segments' predictions and gold labels, in the same order. ``explain``
    mistakes, over all tasks, get weights of words (about 170 sentences are read for each);
    ``draws`` is the number of bootstrap resamples. Raises ``UserError`` if no segment is labelled.
    """
    mistakes = _explained(model, segments, find_mistakes(scored, segments, _LISTED), explain)
    by_slice = slices(scored, segments, draws=draws)
    names = name_sensitivity(scored, segments, model.predict, draws, in_articles=model.reads_articles)
    return ErrorAnalysis(scored.corpus, scored.split, by_slice, names, mistakes, sum(bool(mistake.words) for mistake in mistakes.mistakes))


def primer_of(model: Predictor) -> PrimerResult | None:
    """Return a model's result on ``data/primer``; None unless its stances are exactly the same."""
    rows = list(map(json.loads, (shipped("data") / "primer" / "sentences.jsonl").read_text(encoding="utf-8").splitlines()))
    task = next((task for task in model.scheme if task.name == STANCE), None)
    if task is None or task.kind != "single" or set(task.ids) != {row["stance"] for row in rows}:
        return None
    segments = [Segment(row["id"], row["text"], {STANCE: row["stance"]}) for row in rows]
    scored = score(segments, model.predict(segments), model.scheme.only([STANCE]))
    return PrimerResult(classification.evaluate(scored).tasks[STANCE])


def check_scheme(model: Scheme, corpus: Prepared) -> None:
    """Raise ``UserError`` if a model's scheme is not that of the corpus."""
    scheme = corpus.scheme
    if model.digest() != scheme.digest():
        # Often the model knows only some of the tasks.
        part = set(model.names) < set(scheme.names) and scheme.only(model.names).digest() == model.digest()
        raise UserError(
            f"the model has the scheme '{model.name}' (digest {model.digest()}), but the corpus '{corpus.name}' is labelled with "
            f"'{scheme.name}' (digest {scheme.digest()}); "
            + (f"for only its tasks, give corpus.tasks=[{','.join(model.names)}]" if part else "name a corpus with the model's own scheme")
        )


def _count_seen(
    model: TrainedModel, segments: Sequence[Segment], split: str, corpus: str, own_corpus: bool, allowed: bool, harm: str = _SCORED
) -> int:
    """Return how many segments a model has learned from or was chosen on, and print it to stderr.

    In the model's own corpus, these have passed the checks of its preparation. In another corpus,
    more than one in a hundred are refused unless ``allowed``; the message ends with ``harm``.
    """
    known = bundle.known_segments(model.bundle, segments)
    # Also in its own corpus: a teacher, or the bundle of the encoder, may know another corpus.
    if known is None:
        old = f"{model.bundle}, or a bundle it was made from, is from an older version and does not list what the model has learned from"
        print(f"{old}; make sure that none of the {split} split of {corpus} is included", file=sys.stderr)
    if not known:
        return 0
    share = f"{len(known)} of the {len(segments)} segments of the {split} split of '{corpus}' (the first: '{short(known[0])}')"
    if not own_corpus and not allowed and len(known) > _COINCIDENCES * len(segments):
        raise UserError(f"{share} are among those that {model.name} has learned from or was selected on, {harm}")
    print(f"note: {share} are among those that {model.name} has learned from or was selected on", file=sys.stderr)
    return len(known)


def _explained(model: Predictor, segments: Sequence[Segment], mistakes: Mistakes, explain: int) -> Mistakes:
    """Add weights of words to the most confident mistakes of each task."""
    tasks, out, chosen = [task for task, wrong in mistakes.wrong.items() if wrong], list(mistakes.mistakes), list[int]()
    for turn, task in enumerate(tasks):
        # What earlier tasks do not use goes to later ones.
        share = -(-(explain - len(chosen)) // (len(tasks) - turn))
        chosen += [row for row, mistake in enumerate(out) if mistake.task == task][:share]
    for row, mistake in zip(chosen, explained(model, segments, [out[row] for row in chosen]), strict=True):
        out[row] = mistake
    return replace(mistakes, mistakes=tuple(out))
