"""transformers' pipeline with a bundle's encoder, and its input for a sentence.

The head is untrained, since transformers' architecture has one task and different pooling; speed
does not depend on its weights. Haltung predicts all tasks, which favours the pipeline.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, Pipeline, pipeline

# Maximum number of tokens of a sentence and its context.
MAX_LENGTH = 128
_LABELS = 10


def built(bundle: Path) -> Pipeline:
    """Return the pipeline with its defaults: fp32, batches of one, a GPU if there is one."""
    config = AutoConfig.from_pretrained(bundle, num_labels=_LABELS)
    model = AutoModelForSequenceClassification.from_config(config)
    weights = load_file(bundle / "model.safetensors")
    encoder = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    lacking = model.base_model.load_state_dict(encoder, strict=False).missing_keys
    if any(not name.startswith("pooler.") for name in lacking):
        raise SystemExit(f"{bundle / 'model.safetensors'} lacks weights of its encoder, such as {lacking[0]}")
    return pipeline("text-classification", model=model.eval(), tokenizer=AutoTokenizer.from_pretrained(bundle), top_k=None)


def pair(text: str, context: str) -> dict[str, str]:
    """Return the pipeline's input: the context, if any, followed by the sentence."""
    return {"text": context, "text_pair": text} if context else {"text": text}
