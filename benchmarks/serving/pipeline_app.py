"""What one would write in an afternoon: transformers' pipeline behind FastAPI, with the bundle's
own encoder and one task.

BUNDLE=DIR .venv/bin/python -m uvicorn --app-dir benchmarks/serving pipeline_app:app

The head is a fresh one, since the architecture knows one task and another pooling; the speed does
not depend on its weights. One task where Haltung answers all of them is in the pipeline's favour.
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
    """A text behind its context."""

    text: str
    context: str = ""


def built(bundle: Path) -> Pipeline:
    """Return the pipeline, with the defaults that it has by itself: fp32, batches of one."""
    config = AutoConfig.from_pretrained(bundle, num_labels=_LABELS)
    model = AutoModelForSequenceClassification.from_config(config)
    prefix = model.base_model_prefix
    weights = load_file(bundle / "model.safetensors")
    own = {name.replace("encoder.", f"{prefix}.", 1): value for name, value in weights.items() if name.startswith("encoder.")}
    model.load_state_dict(own, strict=False)
    return pipeline("text-classification", model=model.eval(), tokenizer=AutoTokenizer.from_pretrained(bundle), top_k=None)


def pair(segment: dict[str, str] | Segment) -> dict[str, str]:
    """Return what the pipeline takes for a text behind its context."""
    given = segment if isinstance(segment, dict) else segment.model_dump()
    return {"text": given["context"], "text_pair": given["text"]} if given["context"] else {"text": given["text"]}


app = FastAPI()
if "BUNDLE" in os.environ:
    _pipe = built(Path(os.environ["BUNDLE"]))

    @app.post("/classify")
    def classify(segment: Segment) -> Any:
        """Label one text; FastAPI runs it in a thread."""
        return _pipe(pair(segment), truncation=True, max_length=128)
