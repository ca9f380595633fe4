"""Suggest what to label next: segments without labels, the most useful first."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from haltung.corpus.store import Prepared
from haltung.errors import UserError, writing
from haltung.evaluation.predictions import Floats, Ints
from haltung.files import rendered, write_text
from haltung.labels import Scheme
from haltung.models.predictor import Predictor
from haltung.records import Segment, by_key

Strategy = Literal["random", "diversity", "uncertainty", "rare", "disagreement"]
Format = Literal["jsonl", "labelstudio", "doccano"]
MODELLESS = ("random", "diversity")


def suggest(
    corpus: Prepared, strategy: Strategy, n: int, seed: int, model: Predictor | None = None, articles: bool | None = None
) -> list[Segment]:
    """Choose ``n`` segments of the train split that lack a label for a task. ``articles`` chooses
    whole articles by their mean score, about ``n`` segments; None: if the model reads articles.

    Dev and test are not used, so that their metrics stay unbiased. Raises ``UserError`` if all
    segments have labels, or the strategy is ``disagreement`` and the model is not an ensemble.
    """
    segments = corpus.segments("train")
    rows = [row for row, one in enumerate(segments) if any(one.labels.get(task) is None for task in corpus.scheme.names)]
    if not rows:
        raise UserError(f"all {len(segments):,} segments of the train split of {corpus.name} have labels; add texts without labels to it")
    pool, tasks = [segments[row] for row in rows], tuple(corpus.scheme)
    members = [one.model for one in getattr(model, "members", ())] if strategy == "disagreement" else [model] if model else []
    if strategy == "disagreement" and not members:
        raise UserError("strategy=disagreement needs a model of several members; make one: haltung ensemble members=[A,B]")
    # One random number per article: the mean of many would seldom be high.
    units = np.unique([one.group if articles else one.id for one in pool], return_inverse=True)[1]
    scores = np.random.default_rng(seed).random(len(pool))[units]
    if strategy == "diversity":
        scores = diversity([one.text for one in pool], n, seed)
    elif model is not None:
        # All segments: a model of articles also reads labelled neighbours.
        read = [member.probabilities(segments, progress=True) for member in members]
        found = [[of_member[task.name][rows] for task in tasks] for of_member in read]
        if strategy == "rare":
            seen = [corpus.manifest.labels[task.name]["train"] for task in tasks]
            scores = rarity(found[0], [np.array([count[label] for label in task.ids]) for count, task in zip(seen, tasks, strict=True)])
        else:
            scores = disagreement(found) if strategy == "disagreement" else uncertainty(found[0], [task.kind for task in tasks])
        articles = model.reads_articles if articles is None else articles
    return [pool[row] for row in ranked(scores, n, [segment.group for segment in pool] if articles else None)]


def ranked(scores: Floats, n: int, groups: Sequence[str] | None = None) -> list[int]:
    """Return the ``n`` best-scored rows, or at least ``n`` of whole ``groups``, by mean score."""
    if groups is None:
        return [int(row) for row in np.argsort(-scores, kind="stable")[:n]]
    members = by_key((group, row) for row, group in enumerate(groups))
    best = sorted(members.values(), key=lambda rows: -float(scores[rows].mean()))
    before = np.cumsum([0, *map(len, best)])
    return [row for rows, have in zip(best, before, strict=False) if have < n for row in rows]


def uncertainty(probabilities: Sequence[Floats], kinds: Sequence[str]) -> Floats:
    """Return 1 minus the margin between the two likeliest labels, the mean over tasks, ``[rows]``.
    Each label of a multi-label task is a binary choice, and the task's smallest margin counts.
    Source: Scheffer, Decomain and Wrobel (2001), "Active Hidden Markov Models".
    """
    margins = []
    for values, kind in zip(probabilities, kinds, strict=True):
        order = np.sort(values if kind == "single" else np.abs(2 * values - 1), axis=1)
        margins.append(order[:, -1] - order[:, -2] if kind == "single" else order[:, 0])
    return np.asarray(1 - np.mean(margins, axis=0))


def rarity(probabilities: Sequence[Floats], seen: Sequence[Ints]) -> Floats:
    """Return the expected rarity of labels, ``[rows]``; ``seen`` counts each label so far."""
    return np.asarray(np.mean([values @ (1 / (1 + count)) for values, count in zip(probabilities, seen, strict=True)], axis=0))


def disagreement(members: Sequence[Sequence[Floats]]) -> Floats:
    """Return the mean standard deviation over members of probabilities ``[rows, labels]``."""
    return np.asarray(np.mean([np.stack(task).std(axis=0).mean(axis=1) for task in zip(*members, strict=True)], axis=0))


def diversity(texts: Sequence[str], n: int, seed: int) -> Floats:
    """Return scores: highest for texts at the centres of ``n`` clusters, large clusters first."""
    from sklearn.cluster import MiniBatchKMeans

    vectors = text_vectors(texts)
    found = MiniBatchKMeans(min(n, len(texts)), random_state=seed, n_init=1).fit(vectors)
    distances, large = found.transform(vectors), np.bincount(found.labels_, minlength=found.n_clusters).argsort()[::-1]
    order = list(dict.fromkeys([*distances.argmin(axis=0)[large].tolist(), *distances.min(axis=1).argsort().tolist()]))
    return 1 - np.argsort(order) / len(order)


def text_vectors(texts: Sequence[str]) -> Any:
    """Return TF-IDF vectors of character n-grams, sparse rows of length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, max_features=50_000).fit_transform(texts)


def write(to: Path, found: Sequence[Segment], scheme: Scheme, tool: Format, language: str = "en") -> list[Path]:
    """Write segments for a tool, and Label Studio's config, which has label ids as answers."""
    known = ({**segment.to_row(scheme), "split": segment.split, "soft": None} for segment in found)
    rows = [{name: one for name, one in row.items() if one not in (None, "") and (one != [] or name in scheme.names)} for row in known]
    if tool == "doccano":  # it assigns its own ids to texts
        rows = [{**{"segment_id" if name == "id" else name: value for name, value in row.items()}, "label": []} for row in rows]
    texts = {to: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)}
    if tool == "labelstudio":  # each task needs all that the interface shows
        tasks = [{"data": {"headline": "", "context": "", **row}} for row in rows]
        config = rendered("haltung.experiments.labelling", "label_studio.xml.j2", scheme=scheme, language=language)
        texts = {to: json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", to.with_suffix(".config.xml"): config}
    for path, text in texts.items():
        with writing(path):
            write_text(path, text)
    return list(texts)
