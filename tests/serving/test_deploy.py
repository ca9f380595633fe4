"""The deployment files, as far as they can be checked without an engine that runs them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import yaml

from haltung.cli.config import compose, plain


@pytest.fixture(scope="module")
def deploy(root: Path) -> Path:
    """The folder with the files."""
    return root / "deploy"


def _instructions(dockerfile: Path) -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n\s*", "", dockerfile.read_text(encoding="utf-8")).splitlines()
    return [(word, rest) for line in lines if line and not line.startswith("#") for word, _, rest in [line.partition(" ")]]


def _keys(words: list[str]) -> dict[str, Any]:
    """Return the settings of ``haltung serve`` for the words; ``UserError`` if a key is unknown."""
    return plain(compose("serve", words))


def test_the_image_runs_as_nobody_and_tells_its_health(deploy: Path) -> None:
    """Not as root, with a health check for readiness, and with valid arguments."""
    instructions = _instructions(deploy / "Dockerfile")
    last = dict(instructions)
    assert last["USER"].split(":")[0] not in ("", "0", "root")
    assert "/health/ready" in last["HEALTHCHECK"]
    names = [word for word, _ in instructions]
    assert names.index("USER") < names.index("ENTRYPOINT")
    program, command, *words = yaml.safe_load(last["ENTRYPOINT"])
    assert (program, command, _keys(words)["host"]) == ("haltung", "serve", "0.0.0.0")
    assert last["STOPSIGNAL"] == "SIGTERM"


def test_the_image_has_what_the_extra_serve_has(deploy: Path, root: Path) -> None:
    """The image installs every library of the extra, in the same version."""
    import tomllib

    extra = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]["serve"]
    text = (deploy / "Dockerfile").read_text(encoding="utf-8")
    assert [library for library in extra if f'"{library}"' not in text] == []


def test_the_image_starts_with_its_own_libraries_alone(deploy: Path) -> None:
    """The command and the server import nothing that the image lacks."""
    named = re.findall(r'"([A-Za-z0-9_-]+)>=', (deploy / "Dockerfile").read_text(encoding="utf-8"))
    allowed = {"haltung"}
    while named:
        name = re.sub(r"[-_.]+", "-", named.pop()).lower()
        with suppress(PackageNotFoundError):
            needed = [re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in requires(name) or () if "extra ==" not in line]
            named += needed if name not in allowed else []
        allowed.add(name)
    here = {top: {re.sub(r"[-_.]+", "-", one).lower() for one in ones} for top, ones in packages_distributions().items()}
    absent = sorted(top for top, ones in here.items() if not ones & allowed)
    assert {"rich", "torch", "pandas", "mlflow"} <= set(absent)
    program = f"import sys; sys.modules.update(dict.fromkeys({absent})); import haltung.cli.serve, haltung.serving.app"
    program += "; sys.exit(haltung.cli.main(['--help']) or haltung.cli.main(['serve', '--help']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_kserve_gets_an_inference_service_that_may_do_little(deploy: Path) -> None:
    """Its kind, probes of existing paths, a read-only file system, no root, and valid arguments."""
    service = yaml.safe_load((deploy / "kserve.yaml").read_text(encoding="utf-8"))
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = service["spec"]["predictor"]
    assert "model" not in predictor  # a predictor has either a model or a container of its own
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container"
    assert predictor["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    keys = _keys(container["args"])
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "/health/ready",
        "/health/live",
    }
    assert {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe")} == {keys["port"]}
    assert predictor["terminationGracePeriodSeconds"] > keys["timeout"] + keys["drain"] + 5


def test_systemd_keeps_the_service_in_a_cage(deploy: Path) -> None:
    """Its own user, a read-only file system, no privileges, and enough time to answer accepted
    requests.
    """
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their capitals
    parser.read(deploy / "haltung.service", encoding="utf-8")
    service = dict(parser["Service"])
    wanted = {"DynamicUser": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "NoNewPrivileges": "yes", "CapabilityBoundingSet": ""}
    assert {name: service[name] for name in wanted} == wanted
    _, command, *words = service["ExecStart"].split()
    keys = _keys([word for word in words if not word.startswith("key_file=")])
    assert (command, int(service["TimeoutStopSec"]) > keys["timeout"] + keys["drain"] + 5) == ("serve", True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is a part of systemd, which is not here")
def test_systemd_itself_finds_no_fault(deploy: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` accepts the unit, with an existing program in it."""
    unit = tmp_path / "haltung.service"
    unit.write_text(
        re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", (deploy / "haltung.service").read_text(encoding="utf-8")), encoding="utf-8"
    )
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
