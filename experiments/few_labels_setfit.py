"""SetFit on the rows of few_labels.py: `python few_labels_setfit.py GIVEN.json OUT.json ENCODER STEPS SEED`, in an environment with setfit.

As benchmarks/peers/peer_setfit.py: contrastive pairs, then its logistic regression on all rows, in bfloat16 without autocast's cache.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

given, out, encoder, steps, seed = sys.argv[1:]
rows = json.loads(Path(given).read_text(encoding="utf-8"))
model = SetFitModel.from_pretrained(encoder, head_params={"class_weight": "balanced", "max_iter": 1000})
model.model_body.max_seq_length = 128
texts, labels = ([row[name] for row in rows["train"]] for name in ("text", "label"))
arguments = TrainingArguments(f"{out}.checkpoints", max_steps=int(steps), seed=int(seed), save_strategy="no", report_to="none")
trainer = Trainer(model, arguments, Dataset.from_dict({"text": texts, "label": labels}))
with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
    trainer.train_embeddings(texts, labels, args=arguments)
    trainer.train_classifier(texts, labels, args=arguments)
    said = model.predict(rows["test"])
Path(out).write_text(json.dumps([str(label) for label in said]), encoding="utf-8")
