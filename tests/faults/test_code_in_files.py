"""No file that is read can run code: Haltung unpickles no foreign data, trusts no remote code,
evaluates no text, and starts no shell.

The syntax trees of the whole package are searched.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from haltung.cli import main
from haltung.cli.build import make

SOURCES = Path(__file__).resolve().parents[2] / "src/haltung"

# Calls that run or unpickle what they read, and library calls that do so by default.
FORBIDDEN = {
    "eval", "exec", "compile", "os.system", "os.popen", "commands.getoutput", "subprocess.getoutput", "subprocess.getstatusoutput",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.loads", "dill.loads", "cloudpickle.loads", "marshal.loads", "shelve.open",
    "joblib.load", "torch.load", "torch.jit.load", "torch.hub.load", "pandas.read_pickle", "pd.read_pickle", "numpy.load", "np.load",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.UnsafeLoader", "yaml.FullLoader", "yaml.Loader",
    "runpy.run_path", "runpy.run_module", "imp.load_source", "importlib.util.spec_from_file_location",
    "hydra.utils.instantiate", "hydra.utils.call",
}  # fmt: skip

# Each exception with its reason; files not listed have none.
ALLOWED = {
    # Between workers of our own cluster, where Ray itself runs pickled code.
    ("experiments/ray_engine.py", "pickle.loads"),
    # Answers that this process has pickled itself, and that never leave its memory.
    ("serving/queue.py", "pickle.loads"),
    # The loader that labels.py derives from PyYAML's safe one.
    ("labels.py", "yaml.load"),
    # The client comes from MLflow's store with the model: our file, logged by our training.
    ("export/pyfunc.py", "importlib.util.spec_from_file_location"),
}


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` for a name or an attribute of one, "" for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def found(tree: ast.AST) -> set[str]:
    """Return the forbidden names in a syntax tree, under any alias, and the calls that their
    arguments make dangerous.
    """
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {one.asname or one.name: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = dotted(node).partition(".")
            name = aliases.get(first, first) + dot + rest
            if name in FORBIDDEN:
                out.add(name)
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else "computed"
                if keyword.arg in ("shell", "trust_remote_code", "allow_pickle") and value is not False:
                    out.add(f"{keyword.arg}={value}")
                if keyword.arg == "weights_only" and value is not True:
                    out.add(f"weights_only={value}")
    return out


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_no_file_that_is_read_can_bring_code_along(path: Path) -> None:
    """The exceptions are listed above with their reasons, and each of them is still needed."""
    name = path.relative_to(SOURCES).as_posix()
    assert found(ast.parse(path.read_text(encoding="utf-8"))) == {what for file, what in ALLOWED if file == name}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.load(f)", "from pickle import loads as harmless\nharmless(b)", "import torch as t\nt.load(p)",
        "import torch\ntorch.load(p, weights_only=False)", "eval(x)", "f = exec", "import os\nos.system(x)", "import yaml\nyaml.load(x, L)",
        "from subprocess import run\nrun(x, shell=True)", "run(x, shell=on)", "AutoModel.from_pretrained(p, trust_remote_code=True)",
        "from yaml import unsafe_load as y\ny(x)", "import numpy as np\nnp.load(x)", "np.lib.read(x, allow_pickle=True)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(code: str) -> None:
    """Also under an alias or as an argument."""
    assert found(ast.parse(code))


def test_transformers_is_told_each_time_to_trust_no_remote_code() -> None:
    """If the argument is missing, transformers asks the user at the terminal."""
    silent = []
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and dotted(node.func).endswith(".from_pretrained"):
                kind, told = dotted(node.func), {keyword.arg for keyword in node.keywords}
                # If the config is given, the class of the model is already known.
                if kind.split(".")[0].startswith("Auto") and not {"trust_remote_code", "config"} & told:
                    silent.append(f"{path.name}:{node.lineno}")
    assert silent == []


@pytest.mark.parametrize("target", ["theirs.Reader", "os.system", "subprocess.Popen", "haltungs.Reader", "Reader", ".Reader"])
def test_a_config_names_classes_of_haltung_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    """Other modules are not even imported, since importing would run them."""
    for name in ("theirs", "haltungs"):
        (tmp_path / f"{name}.py").write_text(f"from pathlib import Path\nPath({str(tmp_path)!r}, 'owned').touch()\n", encoding="utf-8")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/theirs.yaml").write_text(
        f"name: theirs\nlabels: diplomacy\nreader: {{_target_: {target}}}\nrules: {{}}\nsplit: {{}}\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "corpus=theirs", "--config-dir", str(tmp_path)]) == 2
    assert f"corpus.reader._target_ names {target}; allowed are haltung's own classes" in capsys.readouterr().err
    assert not (tmp_path / "owned").exists()


def test_a_package_that_the_user_names_may_have_classes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a user's own reader; whoever sets the variable trusts the package."""
    program = "from dataclasses import dataclass\n@dataclass\nclass Reader:\n    path: str\n"
    (tmp_path / "ours_of_a_test.py").write_text(program, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HALTUNG_CLASSES", "other, ours_of_a_test")
    assert make({"_target_": "ours_of_a_test.Reader", "path": "a"}, "corpus.reader").path == "a"
