"""Documents of a bundle: model card, bill of materials, JSON Schemas of requests and responses."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from haltung.evaluation.metrics.results import EvaluationResult
from haltung.evaluation.report.tables import warnings
from haltung.export import golden
from haltung.files import rendered, sha256
from haltung.inference import schemas
from haltung.inference.sessions import version_of
from haltung.labels import Scheme, parse
from haltung.models.predictor import Calibration


def write_card(folder: Path, description: Mapping[str, Any], evaluation: EvaluationResult | None, library: str = "haltung") -> None:
    """Write a bundle's model card in the format of the Hugging Face hub; ``evaluation`` is that of
    the trained model, None if the reference split has no labels. ``library`` is the one that loads
    the folder, which has golden answers only if that is ``haltung``.
    """
    scheme = parse(description["scheme"])
    tasks = evaluation.tasks if evaluation else {}
    by_label = {name: {label.label: label for label in metrics.labels} for name, metrics in tasks.items()}
    provenance = description["provenance"]
    facts = {key: value for key, value in provenance.items() if key not in ("licences", "versions") and value not in (None, "")}
    facts |= {f"licence of the {what}": value for what, value in provenance.get("licences", {}).items()}
    text = rendered(
        "haltung.export", "card.md.j2",
        bundle=description, library=library, header=_header(description, evaluation, library), title=_title(description),
        tasks=list(scheme), provenance=facts, warnings=warnings(tasks.values()), metrics=list(tasks.values()),
        by_label=by_label, golden=len(golden.read(folder, scheme)) if library == "haltung" else 0,
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")


def _header(description: Mapping[str, Any], evaluation: EvaluationResult | None, library: str) -> str:
    """Return language, licence, tags, and metrics as a ``model-index``, in YAML."""
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
        # For several licences, or one that is not on its list, the hub uses "other" and a name.
        "license": "other",
        "license_name": "; ".join(f"{what}: {value}" for what, value in data.items()) or "unknown",
        "library_name": library,
        "pipeline_tag": "text-classification",
        "tags": ["German", "news", "politics", "stance", "topic", *(["onnx"] if library == "haltung" else [])],
        **({"base_model": encoder["path"]} if encoder.get("origin") == "hub" else {}),
        **({"model-index": [{"name": _title(description), "results": results}]} if results else {}),
    }
    return str(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _title(description: Mapping[str, Any]) -> str:
    name = description.get("encoder", {}).get("name") or description["kind"]
    return f"Haltung: {description['scheme']['name']} ({name})"


def write_sbom(folder: Path, description: Mapping[str, Any], needed: Iterable[str]) -> None:
    """Write a bill of materials (CycloneDX 1.6): weights, graphs, corpus and encoder, the installed
    libraries ``needed`` to run the bundle, and those of the training (of scope ``excluded``).
    """
    source, encoder, needs = description["provenance"], description.get("encoder"), sorted(needed)
    licences = {what: {"licenses": [{"license": {"name": name}}]} for what, name in source.get("licences", {}).items()}
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".onnx"))
    files = [{"type": "file", "name": path.relative_to(folder).as_posix(), **_hashes(sha256(path))} for path in paths]
    trained = next(file["hashes"] for file in files if file["name"].endswith(".safetensors"))
    model = {"type": "machine-learning-model", "bom-ref": "model", "name": _title(description), "hashes": trained, "components": files}
    data = {"type": "data", "name": source.get("corpus", "unknown"), **_hashes(source.get("corpus_digest")), **licences.get("data", {})}
    components: list[dict[str, Any]] = [{"bom-ref": "data", **data}]
    if encoder:
        which = {"name": encoder["path"], "version": encoder["revision"]} if encoder["origin"] == "hub" else {"name": encoder["name"]}
        components.append({"bom-ref": "encoder", "type": "machine-learning-model", **which, **licences.get("encoder", {})})
    used = [("run", "required", name, version_of(name)) for name in needs]
    for use, scope, name, version in used + [("training", "excluded", *one) for one in source.get("versions", {}).items()]:
        kind, purl = ("platform", "generic") if name == "python" else ("library", "pypi")
        found = {"type": kind, "bom-ref": f"{use}:{name}", "name": name, "version": version, "scope": scope}
        components.append({**found, "purl": f"pkg:{purl}/{name}@{quote(version)}"})
    content = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": model}, "components": components,
        "dependencies": [{"ref": "model", "dependsOn": [f"run:{name}" for name in needs]}],
    }  # fmt: skip
    (folder / "sbom.cdx.json").write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _hashes(digest: str | None) -> dict[str, Any]:
    return {"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}


def write_schemas(folder: Path, scheme: Scheme, calibration: Calibration) -> None:
    """Write JSON Schemas (draft 2020-12) for ``POST /classify``, with labels and precisions."""
    request, (answer, _, _) = schemas.ClassifyRequest.model_json_schema(), schemas.label_answers(scheme)
    # Only precisions that are reached on dev can be requested.
    precisions = sorted({one for values in calibration.thresholds.values() for one, threshold in values.items() if threshold is not None})
    for name in ("OneText", "ManyTexts"):
        request["$defs"][name]["properties"]["abstain"]["enum"] = [None, *precisions]
    for name, schema in (("request", request), ("response", TypeAdapter(answer).json_schema())):
        text = json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, ensure_ascii=False, indent=2)
        (folder / f"{name}.schema.json").write_text(text + "\n", encoding="utf-8")
