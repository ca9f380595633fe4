"""Soft labels or the majority's, simulated: `python experiments/soft_labels.py PREPARED OUT.json confusion|run [key=value …]`.

PREPARED is what `haltung prepare corpus=real_news 'corpus.rounds=[1]' prepared=…` has written. Of no corpus here are both labellings of a row kept, so three coders are
drawn: each gives a row its gold label, or with the row's own chance of error another one, after what `news_de` takes for what on the test split (`confusion`
writes that table into OUT.json). Then `model=linear` (or another one: `model=network`) is trained on what they said, by annotators=soft, majority and first,
and scored against the gold labels of the test split. `articles=N` trains on so many articles of train, drawn anew with the coders, `conditions=N` does the
first N conditions alone, and `policies=A,B` these policies: a network takes minutes for each.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path

import numpy as np
from sklearn.metrics import cohen_kappa_score

from haltung.cli.build import make
from haltung.cli.config import compose, plain
from haltung.corpus import store
from haltung.corpus.parsing.rows import Skip
from haltung.corpus.parsing.votes import settle, shares
from haltung.evaluation.comparison import System, compare
from haltung.evaluation.metrics.classification import losses
from haltung.evaluation.predictions import ScoredSplit, gold, score
from haltung.evaluation.statistics.bootstrap import numbered, per_article, resampled
from haltung.evaluation.statistics.significance import Sampled, difference
from haltung.files import write_text
from haltung.labels import Scheme
from haltung.models import bundle, compact, linear
from haltung.records import Segment
from haltung.training.calibration import calibrate
from haltung.training.finetune import finetune

TASK, CODERS, DRAWS, POLICIES = "stance", 3, (1, 2, 3), ("soft", "majority", "first")
# The chance of an error, of each row: the same for all, or a third of the rows is hard and the others are nearly sure.
CONDITIONS = {
    "every row as hard": lambda rng, n: np.full(n, 0.2),
    "a third is hard": lambda rng, n: np.where(rng.random(n) < 1 / 3, 0.5, 0.05),
}


def confusion(prepared: store.Prepared, out: Path) -> None:
    """Write how often `news_de` takes one label for each other one, ``[gold, said]``."""
    scheme, test = prepared.scheme.only([TASK]), prepared.segments("test")
    said = bundle.load(compact.find("news_de")).probabilities(test)[TASK].argmax(axis=1)
    table = np.zeros((len(scheme[TASK]),) * 2, dtype=int)
    np.add.at(table, (gold(test, scheme[TASK]), said), 1)
    write_text(out, json.dumps({"labels": scheme[TASK].ids, "confusion": table.tolist()}, indent=1) + "\n")


def coded(segments: list[Segment], scheme: Scheme, table: np.ndarray, hard: np.ndarray, rng: np.random.Generator) -> list[list[str]]:
    """Return the labels of each coder, ``[coders][segments]``."""
    wrong = table + 0.5  # so that no mistake is impossible
    np.fill_diagonal(wrong, 0)
    shares_of = (wrong / wrong.sum(axis=1, keepdims=True)).cumsum(axis=1)
    gold = np.array([scheme[TASK].index(str(one.labels[TASK])) for one in segments])
    answers = []
    for _ in range(CODERS):
        other = (rng.random((len(gold), 1)) > shares_of[gold]).sum(axis=1).clip(max=len(table) - 1)
        answers.append([scheme[TASK].ids[one] for one in np.where(rng.random(len(gold)) < hard, other, gold)])
    return answers


def settled(segments: list[Segment], answers: list[list[str]], scheme: Scheme, policy: str) -> Iterator[Segment]:
    """Yield the segments as a sheet of these coders is read; rows that the policy leaves out are not there."""
    for one, said in zip(segments, zip(*answers, strict=True), strict=True):
        votes = [{TASK: label} for label in said]
        try:
            yield replace(one, labels=settle(votes, scheme, policy), soft=shares(votes, scheme, policy))
        except Skip:
            continue


def log_loss(runs: list[ScoredSplit], said: list[list[np.ndarray]] | None = None) -> Sampled:
    """Return the mean log loss of each run, and draws of their mean over articles.

    It is that of the gold labels, or of what coders would have ``said``, ``[runs][coders][segments]``, with probabilities as they are in the runs.
    """
    articles = numbered(runs[0].groups)
    true = said or [[run.gold[TASK]] for run in runs]
    lost = [np.mean([losses(one, run.probabilities[TASK]) for one in of], axis=0) for run, of in zip(runs, true, strict=True)]
    sums = np.stack([per_article(np.stack([one, np.ones(len(one))], axis=1), articles) for one in lost], axis=1)
    mean = lambda of: of[..., 0] / of[..., 1]  # noqa: E731
    return Sampled(mean(sums.sum(axis=0))[:, None], mean(resampled(sums)).mean(axis=1)[:, None], len(sums))


def run(prepared: store.Prepared, out: Path, *words: str) -> None:
    """Train on what the coders said, with these further keys of `haltung train`, and print what comes of it."""
    own = dict(word.split("=", 1) for word in words if word.startswith(("articles=", "conditions=", "policies=")))
    policies = own.get("policies", ",".join(POLICIES)).split(",")
    scheme = prepared.scheme.only([TASK])
    table = np.array(json.loads(out.read_text(encoding="utf-8"))["confusion"])
    train, dev, test = (list(prepared.segments(split)) for split in ("train", "dev", "test"))
    keys = [word for word in words if word.partition("=")[0] not in own]
    settings = plain(
        compose(
            "train",
            ["corpus=real_news", "corpus.reads.default=text", "~corpus.pooling", "+corpus.pooling.default=mean", "model=linear", *keys],
        )
    )
    parts = {part: make(settings[part], part) for part in ("encoder", "model", "training")}

    def fitted(learned: list[Segment], tuned_on: list[Segment], seed: int) -> object:
        """Return the model; a network's epoch is chosen by these coders' labels of dev, too."""
        if settings["model"]["_target_"] == compose("train", ["model=linear"]).model._target_:
            return linear.fit(learned, scheme, parts["model"], 1)
        with tempfile.TemporaryDirectory() as folder:
            return finetune(learned, tuned_on, scheme, parts["encoder"], parts["model"], parts["training"], seed, Path(folder)).model

    def scored(learned: list[Segment], tuned_on: list[Segment], seed: int = 1) -> tuple[ScoredSplit, ScoredSplit]:
        """Return the answers for test, calibrated and before that."""
        model = fitted(learned, tuned_on, seed)
        bare = score(test, model.predict(test), scheme, "real_news", "test")
        calibrate(model, score(tuned_on, model.predict(tuned_on), scheme, "real_news", "dev"))
        return score(test, model.predict(test), scheme, "real_news", "test"), bare

    def some(seed: int) -> list[bool]:
        """Return which rows of train are learned from."""
        articles = sorted({one.article for one in train})
        chosen = set(np.random.default_rng(1000 + seed).permutation(articles)[: int(own.get("articles", len(articles)))])
        return [one.article in chosen for one in train]

    certain = [
        scored([one for one, there in zip(train, some(seed), strict=True) if there], dev, seed)[0]
        for seed in (DRAWS if "articles" in own else DRAWS[:1])
    ]
    for name, drawn in islice(CONDITIONS.items(), int(own.get("conditions", len(CONDITIONS)))):
        runs: dict[str, list[ScoredSplit]] = {policy: [] for policy in policies}
        uncalibrated: dict[str, list[ScoredSplit]] = {policy: [] for policy in policies}
        agreed, kappas, kept, votes = [], [], [], []
        for seed in DRAWS:
            rng = np.random.default_rng(seed)
            every = [*train, *dev, *test]
            answers = coded(every, scheme, table, drawn(rng, len(every)), rng)
            pairs = list(combinations(answers, 2))
            kappas.append(np.mean([cohen_kappa_score(*pair) for pair in pairs]))
            agreed.append(np.mean([len(set(said)) == 1 for said in zip(*answers, strict=True)]))
            there = some(seed)
            for policy in policies:
                given = [[one for one, use in zip(of, there, strict=False) if use] for of in answers]
                learned = list(settled([one for one, use in zip(train, there, strict=True) if use], given, scheme, policy))
                tuned_on = list(settled(dev, [of[len(train) : len(train) + len(dev)] for of in answers], scheme, policy))
                if policy == "majority":
                    kept.append(len(learned) / sum(there))
                for of, one in zip((runs, uncalibrated), scored(learned, tuned_on, seed), strict=True):
                    of[policy].append(one)
                print(f"{name}, draw {seed}, {policy}: {len(learned)} rows", file=sys.stderr, flush=True)
            votes.append([np.array([scheme[TASK].index(one) for one in of[-len(test) :]]) for of in answers])
        print(
            f"\n{name}: kappa {np.mean(kappas):.2f}, all three agree in {np.mean(agreed):.2f}, a majority in {np.mean(kept):.2f} of the rows of train"
        )
        systems = [System(policy, tuple(of)) for policy, of in runs.items()] + [System("gold", tuple(certain), fixed=len(certain) == 1)]
        found = compare(systems).tasks[TASK]
        lost = {system.name: log_loss(list(system.runs)) for system in systems}
        of_coders = {policy: log_loss(of, votes) for policy, of in uncalibrated.items()}
        for one in found.standings:
            value = one.macro_f1
            print(
                f"{one.system} | {value.value:.3f} [{value.low:.3f}, {value.high:.3f}] | {one.accuracy.value:.3f} | {lost[one.system].values.mean():.3f}",
                flush=True,
            )
        for pair in found.pairs:
            value, other = pair.macro_f1, difference(lost[pair.first], lost[pair.second])
            print(
                f"{pair.first} − {pair.second} | {value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}], p {value.p:.3f}, Holm {pair.corrected:.3f}"
                f" | log loss {other.value:+.3f} [{other.low:+.3f}, {other.high:+.3f}], p {other.p:.3f}"
            )
        other = difference(of_coders["soft"], of_coders["majority"])
        print(f"log loss of coders' labels of test: {', '.join(f'{policy} {of.values.mean():.3f}' for policy, of in of_coders.items())}")
        print(f"soft − majority {other.value:+.3f} [{other.low:+.3f}, {other.high:+.3f}], p {other.p:.3f}", flush=True)


if __name__ == "__main__":
    {"confusion": confusion, "run": run}[sys.argv[3]](store.load(Path(sys.argv[1])), Path(sys.argv[2]), *sys.argv[4:])
