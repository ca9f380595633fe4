"""Serve transformers' pipeline behind FastAPI, with the bundle's encoder and one task.

BUNDLE=DIR .venv/bin/python -m uvicorn --app-dir benchmarks/serving pipeline_app:app

The head is not trained, since transformers' architecture has one task and another pooling; the
speed doesn't depend on its weights. Haltung predicts all tasks, which favours the pipeline.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, Pipeline, pipeline

_LABELS = 10


class Segment(BaseModel):
    """A text and its context."""

    text: str
    context: str = ""


def built(bundle: Path) -> Pipeline:
    """Return the pipeline with its defaults: fp32, batches of one."""
    config = AutoConfig.from_pretrained(bundle, num_labels=_LABELS)
    model = AutoModelForSequenceClassification.from_config(config)
    prefix = model.base_model_prefix
    weights = load_file(bundle / "model.safetensors")
    encoder = {name.replace("encoder.", f"{prefix}.", 1): value for name, value in weights.items() if name.startswith("encoder.")}
    model.load_state_dict(encoder, strict=False)
    return pipeline("text-classification", model=model.eval(), tokenizer=AutoTokenizer.from_pretrained(bundle), top_k=None)


def pair(segment: dict[str, str] | Segment) -> dict[str, str]:
    """Return the pipeline's input for a text and its context."""
    values = segment if isinstance(segment, dict) else segment.model_dump()
    return {"text": values["context"], "text_pair": values["text"]} if values["context"] else {"text": values["text"]}


app = FastAPI()
if "BUNDLE" in os.environ:
    _pipe = built(Path(os.environ["BUNDLE"]))

    @app.post("/classify")
    def classify(segment: Segment) -> Any:
        """Label one text, in a thread of FastAPI's."""
        return _pipe(pair(segment), truncation=True, max_length=128)
