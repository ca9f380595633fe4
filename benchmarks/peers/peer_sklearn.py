"""scikit-learn: TF-IDF of words and characters and a linear classifier.

The context or target is either joined with the text or has separate features; the variant that is
better on dev is kept.
"""

# Written as a script of a user of the tool.
# ruff: noqa: ANN001, ANN201, B905, D103, SIM115

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

folder, out, task, seed, _ = sys.argv[1:]
train, dev, test = ([json.loads(line) for line in Path(folder, f"{split}.jsonl").open()] for split in ("train", "dev", "test"))


def texts(rows):
    before = [row["context"] or row["target"] for row in rows]
    return np.array([[first, row["text"], f"{first} | {row['text']}"] for first, row in zip(before, rows)], dtype=object)


def tfidf():
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    return make_union(words, TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True))


best = -1.0
for columns in ([2], [0, 1]):
    features = ColumnTransformer([(f"tfidf{column}", tfidf(), column) for column in columns])
    classifier = make_pipeline(features, LinearSVC(class_weight="balanced", random_state=int(seed)))
    classifier.fit(texts(train), [row[task] for row in train])
    score = f1_score([row[task] for row in dev], classifier.predict(texts(dev)), average="macro")
    print(columns, score)
    if score > best:
        best, labels = score, classifier.predict(texts(test))
Path(out).write_text("".join(json.dumps({"id": row["id"], task: label}) + "\n" for row, label in zip(test, labels)))
