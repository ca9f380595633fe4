"""spaCy: the default ``textcat`` (an ensemble of bag of words and a small CNN), with the best epoch
chosen on dev.
"""

# Written as a script of a user of the tool.
# ruff: noqa: ANN001, ANN201, B905, D103, SIM115

import json
import random
import sys
from pathlib import Path

import spacy
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch

EPOCHS = 10

folder, out, task, seed, _ = sys.argv[1:]
fix_random_seed(int(seed))
splits = {name: [json.loads(line) for line in Path(folder, f"{name}.jsonl").open()] for name in ("train", "dev", "test")}
labels = sorted({row[task] for row in splits["train"]})
nlp = spacy.blank("de")
textcat = nlp.add_pipe("textcat")
for label in labels:
    textcat.add_label(label)


def examples(rows):
    texts = [f"{row['context'] or row['target']} | {row['text']}" for row in rows]
    cats = [{label: float(label == row[task]) for label in labels} for row in rows]
    return [Example.from_dict(doc, {"cats": one}) for doc, one in zip(nlp.tokenizer.pipe(texts), cats)]


train, dev, test = (examples(splits[name]) for name in ("train", "dev", "test"))
optimizer = nlp.initialize(lambda: train)
best = -1.0
for _ in range(EPOCHS):
    random.shuffle(train)
    for batch in minibatch(train, 32):
        nlp.update(batch, sgd=optimizer, drop=0.2)
    with nlp.use_params(optimizer.averages):
        score = nlp.evaluate(dev)["cats_macro_f"]
        if score > best:
            best = score
            found = [max(doc.cats, key=doc.cats.get) for doc in nlp.pipe(example.predicted.copy() for example in test)]
Path(out).write_text("".join(json.dumps({"id": row["id"], task: label}) + "\n" for row, label in zip(splits["test"], found)))
