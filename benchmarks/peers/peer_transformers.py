"""transformers: the recipe of its example ``run_classification``, text pairs of at most 128 tokens,
the Trainer's defaults.

Two settings differ, which a user without a GPU would find: bfloat16, and batches of similar length
padded to their longest row instead of to 128. The learning rate is the Trainer's 5e-5: at 2e-4,
used by other recipes for this encoder, it did not learn stances (without a warm-up).
"""

# Written as a script of a user of the tool.
# ruff: noqa: ANN001, ANN201, B905, D103, SIM115

import json
import sys
from pathlib import Path

from sklearn.metrics import f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, set_seed

folder, out, task, seed, encoder, *epochs = sys.argv[1:]
set_seed(int(seed))
train, dev, test = ([json.loads(line) for line in Path(folder, f"{split}.jsonl").open()] for split in ("train", "dev", "test"))
labels = sorted({row[task] for row in train})
tokenizer = AutoTokenizer.from_pretrained(encoder)
model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(labels))


def encoded(rows):
    pairs = [(row["context"] or row["target"], row["text"]) for row in rows]
    inputs = [tokenizer(*pair, truncation=True, max_length=128) for pair in pairs]
    # A label that occurs only in test can't be learned; its index is ignored in prediction.
    return [{**one, "labels": labels.index(row[task]) if row[task] in labels else 0} for one, row in zip(inputs, rows)]


def macro_f1(found):
    return {"macro_f1": f1_score(found.label_ids, found.predictions.argmax(axis=1), average="macro")}


# With more epochs than the default, use a warm-up and keep the best epoch on dev.
best = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "macro_f1"}
arguments = TrainingArguments(
    f"{out}.checkpoints",
    num_train_epochs=int(*epochs or [3]),
    warmup_steps=0.1 if epochs else 0,
    bf16=True,
    train_sampling_strategy="group_by_length",
    use_cpu=True,
    seed=int(seed),
    report_to="none",
    **(best if epochs else {"save_strategy": "no"}),
)
data = {"train_dataset": encoded(train), "eval_dataset": encoded(dev)}
trainer = Trainer(model, arguments, **data, processing_class=tokenizer, compute_metrics=macro_f1)
trainer.train()
# Otherwise predictions are in the order of the groups, not of the rows.
trainer.args.train_sampling_strategy = "random"
found = trainer.predict(encoded(test)).predictions.argmax(axis=1)
Path(out).write_text("".join(json.dumps({"id": row["id"], task: labels[place]}) + "\n" for row, place in zip(test, found)))
