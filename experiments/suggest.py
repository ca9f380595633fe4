"""Simulate active learning, and models with few labels, on real news: `python experiments/suggest.py PREPARED OUT [text|context [STRATEGY;… [DRAWS]]]`.

PREPARED is the output folder of `haltung prepare corpus=real_news prepared=…`. Whole articles are drawn from its train split, about six thousand
segments; dev and test are not read. OUT holds the vectors of the frozen encoder and the figure. Each seed holds out 35 % of the articles. From the
others, labels of stances are bought in steps, for random segments or by a strategy of `haltung suggest`, and scored by macro-F1 on the held-out
articles. Scores are stored in 2026-12-01-suggest.json beside this file, and reused. Heads are also fitted to a fixed number of labels per class, and
to the descriptions of the labels alone. If strategies are given, only these are simulated.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.stats import t, ttest_1samp
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from haltung.corpus import store
from haltung.encoders.load import Encoder
from haltung.experiments.labelling.suggest import disagreement, diversity, ranked, rarity, uncertainty
from haltung.files import write_text
from haltung.models.neural import build
from haltung.models.spec import FewShotSpec
from haltung.records import Segment
from haltung.training import few_shot

RESULTS = Path(__file__).resolve().parent / "2026-12-01-suggest.json"
SEGMENTS, HELD_OUT, SEEDS, DRAWS = 6_000, 0.35, (1, 2, 3, 4, 5), 2
BOUGHT = (50, 100, 200, 400, 800)
LAST = {"diversity": 200}  # strategies that end early to save processor time: clustering TF-IDF is expensive
SHOTS = (0, 8, 16, 32, 64)
READS = {"text": ({"default": "text"}, {"default": "mean"}, 64), "context": ({"default": "context"}, {"default": "text"}, 128)}
TASK = "stance"


def drawn(prepared: store.Prepared) -> list[Segment]:
    """Return the segments of randomly drawn articles of train, in their original order."""
    segments = prepared.segments("train")
    sizes, chosen, total = Counter(one.article for one in segments), set[str](), 0
    order = sorted(sizes)
    random.Random(0).shuffle(order)
    for article in order:
        if total >= SEGMENTS:
            break
        chosen.add(article)
        total += sizes[article]
    return [one for one in segments if one.article in chosen]


def encoded(which: str, prepared: store.Prepared, segments: list[Segment], out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of segments and of the labels' descriptions, which are computed once."""
    path = out / f"vectors-{which}.npz"
    if not path.is_file():
        reads, pooling, longest = READS[which]
        spec = FewShotSpec(reads=reads, pooling=pooling, max_length=longest, tune="frozen")
        model = build(Encoder("e5_small_de", "embedded"), spec.network, prepared.scheme.only([TASK]))
        said = [Segment("", f"{label.de}: {label.definition}") for label in prepared.scheme[TASK].labels]
        np.savez(path, texts=model.vectors(segments, progress=True)[TASK], said=model.vectors(said)[TASK])
    found = np.load(path)
    return found["texts"].astype(np.float64), found["said"].astype(np.float64)


def macro_f1(gold: np.ndarray, said: np.ndarray, labels: int) -> float:
    """Return macro-F1 over all labels of the task."""
    return float(f1_score(gold, said, average="macro", labels=range(labels), zero_division=0))


class Heads:
    """Logistic heads on frozen vectors, as `model=few_shot` fits them."""

    def __init__(self, texts: np.ndarray, said: np.ndarray, spec: FewShotSpec) -> None:
        self.texts, self.said, self.spec = texts, said, spec

    def probabilities(self, pool: np.ndarray, rows: np.ndarray, gold: np.ndarray) -> np.ndarray:
        """Return the probabilities of all texts, fitted to the labels of some rows of the pool."""
        onehot = np.eye(len(self.said), dtype=int)[gold[rows]]
        places = np.searchsorted(pool, rows)
        weight, bias = few_shot.head(self.texts[pool], places, onehot, self.said, "single", self.spec)
        logits = self.texts @ weight.T + bias
        values = np.exp(logits - logits.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)


class Words:
    """TF-IDF of character n-grams with a logistic regression for one task: `model=linear` without word n-grams."""

    def __init__(self, texts: list[str], labels: int) -> None:
        self.table = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True, max_features=60_000).fit_transform(texts)
        self.labels = labels

    def probabilities(self, pool: np.ndarray, rows: np.ndarray, gold: np.ndarray) -> np.ndarray:
        """Return the probabilities of all texts, one label against the rest, as `model=linear` does."""
        out = np.zeros((self.table.shape[0], self.labels))
        for label in np.unique(gold[rows]):
            one = LogisticRegression(C=10, class_weight="balanced", solver="liblinear")
            out[:, label] = one.fit(self.table[rows], gold[rows] == label).predict_proba(self.table)[:, 1]
        return out / out.sum(axis=1, keepdims=True)


def bought(
    strategy: str, model: Heads | Words, vectors: np.ndarray, texts: np.ndarray, articles: np.ndarray, gold: np.ndarray, pool: np.ndarray, test: np.ndarray,
    labels: int, seed: int,
) -> list[float]:
    """Return macro-F1 on held-out articles after each step."""
    rng, scores, have = np.random.default_rng(seed), [], np.array([], dtype=int)
    probabilities = np.zeros((0, 0))
    for step, n in enumerate(BOUGHT):
        if n > LAST.get(strategy, n):
            break
        left = np.setdiff1d(pool, have)
        more, score, groups = n - len(have), rng.random(len(left)), None
        if strategy == "articles":
            # One random score per article.
            groups = [str(one) for one in articles[left]]
            score = np.array([rng.random() for _ in range(10_000)])[np.unique(groups, return_inverse=True)[1]]
        elif strategy == "diversity":  # as the command has it
            score = diversity(texts[left].tolist(), more, seed)
        elif strategy == "diversity of vectors":
            score = spread(vectors[left], more, seed)
        elif step and strategy in ("uncertainty", "mixed"):
            score = uncertainty([probabilities[left]], ["single"])
        elif step and strategy == "rare":
            score = rarity([probabilities[left]], [np.bincount(gold[have], minlength=labels)])
        elif step and strategy == "disagreement":
            draws = [rng.choice(have, len(have)) for _ in range(4)]
            score = disagreement([[model.probabilities(pool, np.sort(draw), gold)[left]] for draw in draws])
        if strategy == "mixed" and step:  # cluster centres of the most uncertain rows
            short = np.argsort(-score)[: 5 * more]
            score = np.zeros(len(left))
            score[short] = spread(vectors[left[short]], more, seed)
        rows = ranked(score, more, groups)[:more]
        have = np.sort(np.append(have, left[rows]))
        probabilities = model.probabilities(pool, have, gold)
        scores.append(macro_f1(gold[test], probabilities[test].argmax(axis=1), labels))
    return scores


def spread(vectors: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return the scores of `diversity`, computed from the encoder's vectors instead of TF-IDF."""
    found = MiniBatchKMeans(n, random_state=seed, n_init=1).fit(vectors)
    distances, large = found.transform(vectors), np.bincount(found.labels_, minlength=n).argsort()[::-1]
    order = list(dict.fromkeys([*distances.argmin(axis=0)[large].tolist(), *distances.min(axis=1).argsort().tolist()]))
    return 1 - np.argsort(order) / len(order)


def parted(articles: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the pool, and those of the held-out articles."""
    names = sorted(set(articles))
    random.Random(seed).shuffle(names)
    held = set(names[: round(len(names) * HELD_OUT)])
    is_held = np.array([one in held for one in articles])
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return mean and 95 % t-interval over seeds."""
    mean, half = values.mean(), t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(mean), float(mean - half), float(mean + half)


def simulate(
    name: str, model: Heads | Words, vectors: np.ndarray, texts: np.ndarray, strategies: Sequence[str], articles: np.ndarray, gold: np.ndarray, labels: int,
    draws: int = DRAWS,
) -> dict[str, np.ndarray]:
    """Return the scores of each strategy `[seeds, steps]`, as means over draws; each draw is completed for all seeds before the next one."""
    done = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for draw in range(draws):
        for seed in SEEDS:
            pool, test = parted(articles, seed)
            for strategy in strategies:
                key = f"{name}/{strategy}/{seed}/{draw}"
                if key not in done:
                    # Strategies that use a model start from the same labels.
                    scores = bought(strategy, model, vectors, texts, articles, gold, pool, test, labels, 100 * seed + draw)
                    done[key] = [round(score, 6) for score in scores]
                    write_text(RESULTS, json.dumps(dict(sorted(done.items())), indent=0) + "\n")
                    print(key, *(f"{score:.3f}" for score in scores), flush=True)
    return {strategy: np.mean([[done[f"{name}/{strategy}/{seed}/{draw}"] for seed in SEEDS] for draw in range(draws)], axis=0) for strategy in strategies}


def show(title: str, found: dict[str, np.ndarray], console: Console) -> None:
    """Print means with intervals, and the gain of each strategy over random, by step and as a mean from the second step on, with p of a paired t-test."""
    grid = Table("strategy", *map(str, BOUGHT), "mean from 100 on", "p", title=f"{title}: macro-F1 of {TASK} [95 %]")
    for strategy, scores in found.items():
        over = scores - found["random"][:, : scores.shape[1]]
        for what, of, sign in ((strategy, scores, ""), ("less random", over, "+")) if strategy != "random" else ((strategy, scores, ""),):
            mean, empty = of[:, 1:].mean(axis=1), [""] * (len(BOUGHT) - of.shape[1])
            grid.add_row(what, *(written(column, sign) for column in of.T), *empty, written(mean, sign), f"{ttest_1samp(mean, 0).pvalue:.3f}" if sign else "")
    console.print(grid)


def written(values: np.ndarray, sign: str = "") -> str:
    """Format the mean over seeds with its interval."""
    mean, low, high = interval(values)
    return f"{mean:{sign}.3f} [{low:.3f}, {high:.3f}]"


def figure(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Plot macro-F1 against the number of labels bought, one panel per model."""
    drawing = Figure(figsize=(5 * len(found), 3.8), layout="constrained")
    panels = drawing.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (title, of) in zip(panels, found.items(), strict=True):
        for (strategy, scores), colour in zip(of.items(), ("#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999"), strict=False):
            mean, low, high = (np.array(one) for one in zip(*(interval(column) for column in scores.T), strict=True))
            axes.plot(BOUGHT[: len(mean)], mean, marker="o", color=colour, label=strategy, linewidth=2 if strategy == "random" else 1.2)
            if strategy == "random":
                axes.fill_between(BOUGHT, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.set_xscale("log")
        axes.set_xticks(BOUGHT, list(map(str, BOUGHT)))
        axes.minorticks_off()
        axes.set_title(title, loc="left")
        axes.set_xlabel("labels bought")
        axes.grid(axis="y", color="#DDDDDD")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("macro-F1 of stance, held-out articles")
    panels[0].set_ylim(bottom=0)
    panels[-1].legend(frameon=False, loc="lower right", fontsize="small")
    drawing.savefig(path, dpi=150)


def few(models: dict[str, Heads | Words], articles: np.ndarray, gold: np.ndarray, labels: int, console: Console) -> None:
    """Print macro-F1 of models by number of labels per class (SHOTS)."""
    grid = Table("model", *(f"{shots} a label" for shots in SHOTS), title=f"few labels: macro-F1 of {TASK}, mean of three seeds [95 %]")
    for name, model in models.items():
        cells = []
        for shots in SHOTS:
            scores = []
            for seed in SEEDS[:3]:
                (pool, test), rng = parted(articles, seed), np.random.default_rng(seed)
                of_label = [pool[gold[pool] == label] for label in range(labels)]
                rows = np.sort(np.concatenate([rng.permutation(one)[:shots] for one in of_label])).astype(int)
                if len(rows) or isinstance(model, Heads) and model.spec.description:
                    said = model.probabilities(pool, rows, gold)[test].argmax(axis=1)
                    scores.append(macro_f1(gold[test], said, labels))
            mean, low, high = interval(np.array(scores)) if scores else (0, 0, 0)
            cells.append(f"{mean:.3f} [{low:.3f}, {high:.3f}]" if scores else "–")
        grid.add_row(name, *cells)
    console.print(grid)


def main(folder: Path, out: Path, which: str = "text", only: str = "", draws: str = "2") -> None:
    """Print the tables and write the figure, or only print the table of the given strategies."""
    out.mkdir(parents=True, exist_ok=True)
    prepared, console = store.load(folder), Console(width=150)
    segments, task = drawn(prepared), prepared.scheme[TASK]
    articles, gold = np.array([one.article for one in segments]), np.array([task.index(one.labels[TASK]) for one in segments])
    console.print(f"{len(segments):,} segments of {len(set(articles))} articles; {dict(Counter(task.ids[one] for one in gold))}")
    vectors, said = encoded(which, prepared, segments, out)
    head, texts = Heads(vectors, said, FewShotSpec(tune="frozen")), np.array([one.text for one in segments])
    scaled = head.texts - head.texts.mean(axis=0)
    if only:
        show("frozen encoder, logistic head", simulate("heads", head, scaled, texts, only.split(";"), articles, gold, len(task), int(draws)), console)
        return
    heads = {f"C={value:g}": Heads(vectors, said, FewShotSpec(tune="frozen", C=value)) for value in (0.1, 1, 10)}
    plain = {"no descriptions": Heads(vectors, said, FewShotSpec(tune="frozen", description=0))}
    words = Words(texts.tolist(), len(task))
    few({**heads, **plain, "TF-IDF": words}, articles, gold, len(task), console)
    every = ("random", "uncertainty", "diversity", "diversity of vectors", "mixed", "rare", "disagreement", "articles")
    found = {"frozen encoder, logistic head": simulate("heads", head, scaled, texts, every, articles, gold, len(task))}
    show("frozen encoder, logistic head", found["frozen encoder, logistic head"], console)
    some = ("random", "uncertainty", "rare", "articles")
    found["TF-IDF, logistic regression"] = simulate("words", words, scaled, texts, some, articles, gold, len(task))
    for title, of in found.items():
        show(title, of, console)
    figure(found, out / "suggest.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:6])
