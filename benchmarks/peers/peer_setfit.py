"""SetFit: contrastive pairs from the same number of rows per label, then its logistic regression on
all train rows.

MAX_STEPS is that of its published few-shot recipe (20 iterations over 8 rows for each of ten
labels, 3,200 pairs in batches of 16). The pairs are drawn from ROWS rows per label, since more than
8 are available. bfloat16 is a setting that a user without a GPU would find; autocast's cache is
disabled, since otherwise each step would use the initial weights.
"""

# Written as a script of a user of the tool.
# ruff: noqa: ANN001, ANN201, B905, D103, SIM115

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments, sample_dataset

MAX_STEPS, ROWS = 200, 32

folder, out, task, seed, encoder = sys.argv[1:]
train, test = ([json.loads(line) for line in Path(folder, f"{split}.jsonl").open()] for split in ("train", "test"))


def texts(rows):
    return [f"{row['context'] or row['target']} </s> {row['text']}" for row in rows]


model = SetFitModel.from_pretrained(encoder, head_params={"class_weight": "balanced", "max_iter": 1000})
model.model_body.max_seq_length = 128
every = Dataset.from_dict({"text": texts(train), "label": [row[task] for row in train]})
sample = sample_dataset(every, num_samples=ROWS, seed=int(seed))
arguments = TrainingArguments(f"{out}.checkpoints", max_steps=MAX_STEPS, seed=int(seed), save_strategy="no", report_to="none")
trainer = Trainer(model, arguments, every)
with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
    trainer.train_embeddings(list(sample["text"]), list(sample["label"]), args=arguments)
    trainer.train_classifier(list(every["text"]), list(every["label"]), args=arguments)
    labels = model.predict(texts(test))
Path(out).write_text("".join(json.dumps({"id": row["id"], task: str(label)}) + "\n" for row, label in zip(test, labels)))
