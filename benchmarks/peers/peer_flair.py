"""Flair: its ``TextClassifier`` with a fine-tuned encoder, as in its tutorial on text
classification, with more epochs if there are few rows.

For stances towards a target (x-stance), learning rate, batch size and epochs are those of the
recipe of transformers, whose rate is also Flair's default: at 2e-4, the loss did not decrease.
"""

# Written as a script of a user of the tool.
# ruff: noqa: ANN001, ANN201, B905, D103

import json
import sys
from pathlib import Path

import flair
from flair.data import Corpus, Sentence
from flair.datasets import FlairDatapointDataset
from flair.embeddings import TransformerDocumentEmbeddings
from flair.models import TextClassifier
from flair.trainers import ModelTrainer

RATE, BATCH, EPOCHS = 2e-4, 16, 2
RATE_TOWARDS, BATCH_TOWARDS, EPOCHS_TOWARDS = 5e-5, 8, 3
FEW, EPOCHS_OF_FEW = 1000, 5
TOKENS = 128

folder, out, task, seed, encoder = sys.argv[1:]
flair.set_seed(int(seed))


def read(split):
    return [json.loads(line) for line in Path(folder, f"{split}.jsonl").open()]


def sentences(split):
    rows = read(split)
    made = [Sentence(f"{row['context'] or row['target']} </s> {row['text']}", use_tokenizer=False) for row in rows]
    return [row["id"] for row in rows], [sentence.add_label(task, row[task]) for sentence, row in zip(made, rows)]


train, dev = (FlairDatapointDataset(sentences(split)[1]) for split in ("train", "dev"))
towards = any(row["target"] for row in read("train"))
corpus = Corpus(train, dev, sample_missing_splits=False)
embeddings = TransformerDocumentEmbeddings(encoder, fine_tune=True, cls_pooling="mean")
embeddings.tokenizer.model_max_length = TOKENS
classifier = TextClassifier(embeddings, label_dictionary=corpus.make_label_dictionary(task), label_type=task)
ModelTrainer(classifier, corpus).fine_tune(
    f"{out}.checkpoints",
    learning_rate=RATE_TOWARDS if towards else RATE,
    mini_batch_size=BATCH_TOWARDS if towards else BATCH,
    max_epochs=EPOCHS_TOWARDS if towards else EPOCHS_OF_FEW if len(train) < FEW else EPOCHS,
    use_amp=True,
    save_final_model=False,
)
ids, tested = sentences("test")
classifier.predict(tested, label_name="found")
labels = [sentence.get_label("found").value for sentence in tested]
Path(out).write_text("".join(json.dumps({"id": id, task: label}) + "\n" for id, label in zip(ids, labels)))
