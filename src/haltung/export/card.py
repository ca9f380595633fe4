"""The model card of a bundle, in the form that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from haltung.evaluation.metrics.results import EvaluationResult
from haltung.evaluation.report.tables import warning_sentences
from haltung.export import golden
from haltung.labels import parse

FILE = "README.md"


def write(folder: Path, description: Mapping[str, Any], evaluation: EvaluationResult | None) -> None:
    """Write the card into the folder.

    Args:
        folder: of the bundle, which has its golden answers already.
        description: the content of ``haltung.json``.
        evaluation: of the trained model on the reference split; None if that has no labels.
    """
    import jinja2

    # Markdown needs no escapes.
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["cell"] = lambda text: " ".join(str(text).replace("|", "\\|").split())
    template = environment.from_string(files("haltung.export").joinpath("card.md.j2").read_text(encoding="utf-8"))
    scheme = parse(description["scheme"])
    tasks = evaluation.tasks if evaluation else {}
    by_label = {task.name: {label.label: label for label in tasks[task.name].labels} if task.name in tasks else None for task in scheme}
    provenance, reference = description["provenance"], description["reference"]
    licences = provenance.get("licences", {})
    facts = {key: value for key, value in provenance.items() if key != "licences" and value not in (None, "")}
    facts |= {f"licence of the {what}": value for what, value in licences.items()}
    text = template.render(
        header=header(description, evaluation), title=_title(description), version=description["haltung"], kind=description["kind"],
        tasks=list(scheme), scheme=scheme.name, scheme_digest=description["scheme_digest"], views=description["views"],
        max_length=description["input"].get("max_length"),
        corpus=provenance.get("corpus", "unknown"), split=reference["split"], reference_corpus=reference["corpus"],
        segments=reference["segments"], warnings=[sentence for task in tasks.values() for sentence in warning_sentences(task)],
        metrics=list(tasks.values()), formats=description["formats"], refused=description["refused"], by_label=by_label,
        golden=len(golden.read(folder, scheme)), provenance=facts,
    )  # fmt: skip
    (folder / FILE).write_text(text, encoding="utf-8")


def header(description: Mapping[str, Any], evaluation: EvaluationResult | None) -> str:
    """Return the card's YAML header: language, licence, tags, and metrics as a ``model-index``."""
    import yaml

    encoder, reference = description.get("encoder", {}), description["reference"]
    data = description["provenance"].get("licences", {})
    results = [
        {
            "task": {"type": "text-classification", "name": name},
            "dataset": {"name": reference["corpus"], "type": reference["corpus"], "split": reference["split"]},
            "metrics": [
                {"type": "f1", "name": "macro-F1", "value": round(metrics.macro_f1, 4)},
                {"type": "accuracy", "name": "accuracy", "value": round(metrics.accuracy, 4)},
            ],
        }
        for name, metrics in (evaluation.tasks if evaluation else {}).items()
    ]
    content: dict[str, Any] = {
        "language": ["de"],
        # On the hub a licence beyond its list, or several, is "other" with a name.
        "license": "other",
        "license_name": "; ".join(f"{what}: {value}" for what, value in data.items()) or "unknown",
        "library_name": "haltung",
        "pipeline_tag": "text-classification",
        "tags": ["German", "news", "politics", "stance", "topic", "onnx"],
    }
    if encoder.get("origin") == "hub":
        content["base_model"] = encoder["path"]
    if results:
        content["model-index"] = [{"name": _title(description), "results": results}]
    return str(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _title(description: Mapping[str, Any]) -> str:
    name = description.get("encoder", {}).get("name") or description["kind"]
    return f"Haltung: {description['scheme']['name']} ({name})"
