"""Describe a run as a paper's methods section; each number in it is stored with the run."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from jinja2 import UndefinedError
from safetensors import safe_open

from haltung import files, labels, tracking
from haltung.corpus.store import Manifest
from haltung.errors import UserError
from haltung.evaluation.comparison import Comparison, SystemPair
from haltung.evaluation.metrics import classification, results
from haltung.evaluation.metrics.dyads import WHOLE
from haltung.evaluation.metrics.results import EvaluationResult, Spread, Summary
from haltung.evaluation.report import comparison as comparison_report
from haltung.evaluation.report import i18n, page, tables
from haltung.experiments.compare import FOLDS
from haltung.models import bundle
from haltung.records import read_record
from haltung.tracking import RunRecord
from haltung.tracking.read import list_runs

_REMEDY = "evaluate or compare the run again"


@dataclass(frozen=True)
class SplitScores:
    """The result on a split; for several seeds the first one's, with mean and deviation by task and
    metric (``spreads``), and of the F1 of ``dyads``. ``own``: the split belongs to the corpus that
    the run was trained on. ``seen`` segments are known from training.
    """

    result: EvaluationResult
    spreads: Mapping[str, Mapping[str, Spread]] | None
    dyads: Spread | None
    own: bool
    seen: int = 0


def methods(record: RunRecord, language: str = "en") -> str:
    """Return the section as Markdown, rendered from ``methods.LANGUAGE.md.j2``.

    A parent run stands for its seeds or folds, a sweep for its best recipe, and a model of all rows
    for its folds. Raises ``UserError`` if the run holds no model, is not finished, or lacks one of
    its files.
    """
    record = tracking.find(record.connection.store, record.parent) if record.of_all_rows else record
    language, parts = i18n.checked(language), _trained(record)
    first, whole = parts[0], tracking.group(record) or (record if record.kind == FOLDS else parts[0])
    manifests = [read_record(tracking.artifact(part, "corpus/manifest.json"), Manifest, "manifest", _REMEDY) for part in parts]
    description, folder = bundle.describe(tracking.bundle_folder(first)), tracking.bundle_folder(first)
    known = {key: row[1:] for row in files.table("haltung.experiments", "references.tsv") for key in row[0].split()}
    scores = _scores(whole, parts)
    spoken = (i18n.word, i18n.count, i18n.number, i18n.signed, i18n.brackets, i18n.estimate, i18n.p_value)
    values = dict[str, Any](
        language=language,
        **{one.__name__: partial(one, language=language) for one in spoken}, plain=_plain, references=known, cited=[],
        run=whole, runs=parts, config=first.config, manifest=manifests[0], model=description, scheme=labels.parse(description["scheme"]),
        exclusions=list({str(sorted(one.dropped.items())): one.dropped for one in manifests if one.dropped}.values()),
        millions=_parameters(folder) / 1e6, scores=scores, pairs=_pairs(whole, parts),
        resampling=next((one.result.resampling for one in scores if any(task.intervals for task in one.result.tasks.values())), None),
        decimal=lambda value: i18n.localised(format(Decimal(str(value)), "f"), language),
        reasons={row[0]: row[2 if language == "de" else 1] for row in files.table("haltung.corpus", "reasons.tsv")},
        warnings=partial(tables.warnings, language=language),
    )  # fmt: skip
    try:
        text = files.rendered("haltung.experiments", f"methods.{language}.md.j2", **values)
    except UndefinedError as error:
        found = f"the run {record.name} ({record.id[:8]}) does not record everything that the section reports ({error})"
        raise UserError(f"{found}; train it again with this version") from None
    return re.sub(r"\n{3,}", "\n\n", text)


def _trained(record: RunRecord) -> list[RunRecord]:
    """Return the trainings that a run stands for, including those of folds."""
    if record.status in tracking.UNFINISHED:
        raise UserError(f"the run {record.name} ({record.id[:8]}) is still running; wait for it, or resume it if its process was killed")
    if record.kind == "trial":
        raise UserError(f"{record.name} ({record.id[:8]}) is a trial, which keeps no model; name its sweep (run={record.parent[:8]})")
    found = tracking.children(record) if record.kind == FOLDS else tracking.members(record)
    if not (parts := [part for part in found if part.kind in ("train", "ensemble") and not part.of_all_rows]):
        raise UserError(f"the cross-validation {record.name} ({record.id[:8]}) has lost its folds, which were deleted; train it again")
    return parts


def _scores(whole: RunRecord, parts: list[RunRecord]) -> list[SplitScores]:
    """Return the results that all runs have, those on their own dev and test splits first."""
    if whole.kind == FOLDS:
        by_fold = [_result(part, "evaluation/test") for part in parts]
        return [SplitScores(_result(whole, f"evaluation/{FOLDS}"), classification.spreads(by_fold), _dyads(by_fold), True)]
    digest = "haltung.digest."
    evaluated = [tag.removeprefix(digest) for tag in parts[0].tags if tag.startswith(digest)]
    keys = dict.fromkeys(["dev", *sorted(evaluated, key=lambda key: ("." in key, key))])
    return [_score(whole, parts, key) for key in keys if all(key == "dev" or digest + key in part.tags for part in parts)]


def _score(whole: RunRecord, parts: list[RunRecord], key: str) -> SplitScores:
    folder = "dev" if key == "dev" else f"evaluation/{key}"
    found = [_result(part, folder) for part in parts]
    first, spreads = found[0], classification.summary(found).tasks if len(found) > 1 else None
    with suppress(UserError):  # if `evaluate` was given the seeds one by one, the mean has no interval
        if spreads:
            path = tracking.artifact(whole, f"evaluation/{first.corpus}.{first.split}/summary.json")
            spreads = read_record(path, Summary, "summary", _REMEDY).tasks
    seen = max(int(part.tags.get(f"{tracking.SEEN}.{key}", 0)) for part in parts)
    return SplitScores(first, spreads, _dyads(found), "." not in key, seen)


def _dyads(found: list[EvaluationResult]) -> Spread | None:
    """Return F1 of whole dyads over runs (a single one with its interval); None if one lacks it."""
    matches = [one.dyads.parts[WHOLE] for one in found if one.dyads]
    if len(matches) < len(found):
        return None
    values, several = tuple(match.f1 for match in matches), len(found) > 1
    return Spread(fmean(values), stdev(values) if several else None, values, None if several else matches[0].interval)


def _result(run: RunRecord, folder: str) -> EvaluationResult:
    return results.read(tracking.artifact(run, f"{folder}/{page.METRICS}"))


def _pairs(whole: RunRecord, parts: list[RunRecord]) -> list[tuple[Comparison, str, SystemPair]]:
    """Return this run's pairs in its newest comparison on each split, with their tasks."""
    of_all_rows = set(whole.tags.get(tracking.MEMBERS, "").split())
    ids = [{whole.id}, of_all_rows or {whole.id}] if whole.kind == FOLDS else [{part.id for part in parts}]
    newest = dict[tuple[str, str], tuple[Comparison, str]]()
    for run in list_runs(whole.connection.store, kind="compare"):
        if any(map(set(compared := run.tags.get("haltung.compared", "").split()).issuperset, ids)):
            path = tracking.artifact(run, f"comparison/{comparison_report.DATA}")
            found, rest = read_record(path, Comparison, "comparison", _REMEDY), iter(compared)
            sizes = {row.system: row.runs for task in found.tasks.values() for row in task.standings}
            for name in found.systems:
                if set(islice(rest, sizes[name])) in ids:
                    newest.setdefault((found.corpus, found.split), (found, name))
    every = [(one, task, pair, name) for one, name in newest.values() for task in one.tasks for pair in one.tasks[task].pairs]
    return [(one, task, pair) for one, task, pair, name in every if name in (pair.first, pair.second)]


def _parameters(folder: Path) -> int:
    """Return the number of weights of a bundle, 0 for a linear model."""
    if not (path := folder / "model.safetensors").is_file():
        return 0
    with safe_open(path, "numpy") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118 -- it has no other iterator


def _plain(text: str) -> str:
    """Escape a name for Markdown, so that it does not affect the text around it."""
    letters = "".join(letter for letter in " ".join(str(text).split()) if letter.isprintable())
    return re.sub(r"^\d*(?=[#~+.)-])|(?=[\\`*\[\]<>|&])|(?<!\w)(?=_)|(?=_(?!\w))", r"\g<0>\\", letters)
