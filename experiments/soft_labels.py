"""Compare soft and majority labels by simulation: `python experiments/soft_labels.py PREPARED OUT.json confusion|run [key=value …]`.

PREPARED is the output of `haltung prepare corpus=real_news 'corpus.rounds=[1]' prepared=…`. No corpus here stores both labellings of a row, so three coders are
simulated: each assigns the gold label or, with the error probability of the row, another one, drawn by the confusions of `news_de` on the test split
(`confusion` writes that table to OUT.json). Then `model=linear` (or `model=network`) is trained on their labels with annotators=soft, majority and first,
and scored against the gold labels of the test split. `articles=N` trains on N articles of train, drawn with each draw of coders; `conditions=N` runs only
the first N conditions, and `policies=A,B` only these policies, since a network takes minutes for each.
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
# Error probability per row: the same for all, or high for a third of the rows and low for the others.
CONDITIONS = {
    "every row as hard": lambda rng, n: np.full(n, 0.2),
    "a third is hard": lambda rng, n: np.where(rng.random(n) < 1 / 3, 0.5, 0.05),
}


def confusion(prepared: store.Prepared, out: Path) -> None:
    """Write the confusion matrix of `news_de`, ``[gold, predicted]``."""
    scheme, test = prepared.scheme.only([TASK]), prepared.segments("test")
    said = bundle.load(compact.find("news_de")).probabilities(test)[TASK].argmax(axis=1)
    table = np.zeros((len(scheme[TASK]),) * 2, dtype=int)
    np.add.at(table, (gold(test, scheme[TASK]), said), 1)
    write_text(out, json.dumps({"labels": scheme[TASK].ids, "confusion": table.tolist()}, indent=1) + "\n")


def coded(segments: list[Segment], scheme: Scheme, table: np.ndarray, hard: np.ndarray, rng: np.random.Generator) -> list[list[str]]:
    """Return simulated labels, ``[coders][segments]``."""
    wrong = table + 0.5  # so that every error is possible
    np.fill_diagonal(wrong, 0)
    shares_of = (wrong / wrong.sum(axis=1, keepdims=True)).cumsum(axis=1)
    gold = np.array([scheme[TASK].index(str(one.labels[TASK])) for one in segments])
    answers = []
    for _ in range(CODERS):
        other = (rng.random((len(gold), 1)) > shares_of[gold]).sum(axis=1).clip(max=len(table) - 1)
        answers.append([scheme[TASK].ids[one] for one in np.where(rng.random(len(gold)) < hard, other, gold)])
    return answers


def settled(segments: list[Segment], answers: list[list[str]], scheme: Scheme, policy: str) -> Iterator[Segment]:
    """Yield the segments as read from a sheet of these coders, without the rows that the policy skips."""
    for one, said in zip(segments, zip(*answers, strict=True), strict=True):
        votes = [{TASK: label} for label in said]
        try:
            yield replace(one, labels=settle(votes, scheme, policy), soft=shares(votes, scheme, policy))
        except Skip:
            continue


def log_loss(runs: list[ScoredSplit], said: list[list[np.ndarray]] | None = None) -> Sampled:
    """Return the mean log loss of each run, and bootstrap draws of their mean over articles.

    The loss is that of the gold labels or, if given, of the coders' labels ``said``, ``[runs][coders][segments]``, with the probabilities of the runs.
    """
    articles = numbered(runs[0].groups)
    true = said or [[run.gold[TASK]] for run in runs]
    lost = [np.mean([losses(one, run.probabilities[TASK]) for one in of], axis=0) for run, of in zip(runs, true, strict=True)]
    sums = np.stack([per_article(np.stack([one, np.ones(len(one))], axis=1), articles) for one in lost], axis=1)
    mean = lambda of: of[..., 0] / of[..., 1]  # noqa: E731
    return Sampled(mean(sums.sum(axis=0))[:, None], mean(resampled(sums)).mean(axis=1)[:, None], len(sums))


def run(prepared: store.Prepared, out: Path, *words: str) -> None:
    """Train on the labels of the coders, with further keys of `haltung train`, and print the results."""
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
        """Return the trained model; a network's epoch is chosen by the coders' labels of dev as well."""
        if settings["model"]["_target_"] == compose("train", ["model=linear"]).model._target_:
            return linear.fit(learned, scheme, parts["model"], 1)
        with tempfile.TemporaryDirectory() as folder:
            return finetune(learned, tuned_on, scheme, parts["encoder"], parts["model"], parts["training"], seed, Path(folder)).model

    def scored(learned: list[Segment], tuned_on: list[Segment], seed: int = 1) -> tuple[ScoredSplit, ScoredSplit]:
        """Return the predictions for test, calibrated and uncalibrated."""
        model = fitted(learned, tuned_on, seed)
        bare = score(test, model.predict(test), scheme, "real_news", "test")
        calibrate(model, score(tuned_on, model.predict(tuned_on), scheme, "real_news", "dev"))
        return score(test, model.predict(test), scheme, "real_news", "test"), bare

    def some(seed: int) -> list[bool]:
        """Return a mask of the rows of train that are used."""
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
