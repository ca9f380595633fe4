"""bertuner: its default search space with the encoder fixed to the embedded one, its final training
with the values of the best trial, and its predictor.

TRIALS is half the default of ``optimize``, since each trial trains for up to 6 epochs. Trials and
epochs are chosen by macro-F1 on dev. For two labels, its "f1" is the F1 of one label, so balanced
accuracy is used there, and for the threshold. It trains in float32, since it refuses bfloat16
without CUDA.
"""

# Written as a script of a user of the tool.
# ruff: noqa: ANN001, ANN201, B905, D103, SIM115

import json
import sys
import time
from pathlib import Path

import pandas as pd
from bertuner import BERTuneClassifier, BERTunePredictor
from bertuner.constants import DEFAULT_SEARCH_SPACE_SINGLELABEL

TRIALS = 5

folder, out, task, seed, encoder = sys.argv[1:]
splits = {name: [json.loads(line) for line in Path(folder, f"{name}.jsonl").open()] for name in ("train", "dev", "test")}
labels = sorted({row[task] for rows in splits.values() for row in rows})


def frame(rows):
    texts = [f"{row['context'] or row['target']} </s> {row['text']}" for row in rows]
    return pd.DataFrame({"text": texts, "label": [labels.index(row[task]) for row in rows]})


train, dev, test = (frame(splits[name]) for name in ("train", "dev", "test"))
classifier = BERTuneClassifier(
    models_dir=f"{out}.checkpoints",
    text_feature="text",
    target_cols=["label"],
    data_splits={"train": train, "validation": dev, "test": test},
    seed=int(seed),
    mlflow_tracking_uri=f"{out}.checkpoints/mlruns",
    max_length=128,
    threshold_metric="balanced_accuracy",
)
classifier.initialize_model_choices({"encoder": encoder})
classifier.initialize_search_space({**DEFAULT_SEARCH_SPACE_SINGLELABEL, "model": ["encoder"]})
began = time.perf_counter()
best = classifier.optimize(n_trials=TRIALS, optimize_metric="f1" if len(labels) > 2 else "balanced_accuracy")
searched = time.perf_counter()
classifier.train_final_model()
seconds = {"search": searched - began, "final training": time.perf_counter() - searched}
print(json.dumps({"trials": TRIALS, "seconds": seconds, "best on dev": best, "values": classifier.best_params}))
found = BERTunePredictor(f"{out}.checkpoints/final_model/model").predict(list(test["text"]))
Path(out).write_text("".join(json.dumps({"id": row["id"], task: labels[place]}) + "\n" for row, place in zip(splits["test"], found)))
