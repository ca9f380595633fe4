"""``haltung export``: from a run to a bundle, exit codes, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from command_line import CORPUS, run_here, write_corpus
from haltung import tracking
from haltung.cli import main
from haltung.events import dyads as dyad_model
from haltung.events.dyads import Thresholds
from haltung.export import formats
from haltung.files import sha256
from keys import new_key

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], object]) -> Path:
    """A folder in which a linear model has been trained."""
    folder = tmp_path_factory.mktemp("export")
    write_corpus(folder)
    new_store(folder)
    done = run_here("train", *CORPUS, "model=linear", "model.min_count=1", "name=tiny", "seed=1", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, as the working directory."""
    monkeypatch.chdir(home)
    return home


def test_a_run_becomes_a_bundle_that_verifies(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compared on the run's own dev split, with the run and the licence in its provenance."""
    assert main(["export", "run=tiny-1", f"to={tmp_path / 'b'}", "licence=CC BY 4.0"]) == 0
    assert f"written to {tmp_path / 'b'}" in capsys.readouterr().out.replace("\n", "")
    description = json.loads((tmp_path / "b" / "haltung.json").read_text(encoding="utf-8"))
    assert description["provenance"]["licences"] == {"data": "CC BY 4.0"}
    assert len(description["provenance"]["run"]) == 32
    assert set(description["formats"]) == {"fp32", "fp16"}
    assert main(["verify", f"bundle={tmp_path / 'b'}"]) == 0


def test_a_bill_of_materials_names_what_trained_a_model_and_what_runs_it(here: Path, tmp_path: Path) -> None:
    """It is valid CycloneDX, has the run's versions, and is byte for byte the same each time."""
    for name in ("b", "again"):
        assert main(["export", "run=tiny-1", f"to={tmp_path / name}", "licence=CC BY 4.0"]) == 0
    text = (tmp_path / "b/sbom.cdx.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "again/sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    content, description = json.loads(text), json.loads((tmp_path / "b/haltung.json").read_text(encoding="utf-8"))
    model, parts = content["metadata"]["component"], {part["bom-ref"]: part for part in content["components"]}
    digests = {part["name"]: part["hashes"][0]["content"] for part in model["components"]}
    assert model["type"] == "machine-learning-model"
    assert model["hashes"][0]["content"] == digests["linear.safetensors"] == sha256(tmp_path / "b/linear.safetensors")
    assert digests["onnx/model.fp32.onnx"] == description["formats"]["fp32"]["sha256"]
    assert {name for name, part in parts.items() if part.get("scope") == "required"} == {"run:numpy", "run:onnxruntime"}
    assert content["dependencies"] == [{"ref": "model", "dependsOn": ["run:numpy", "run:onnxruntime"]}]
    tags = tracking.find(tracking.Store(), "tiny-1").tags
    trained = {name.partition(":")[2]: part["version"] for name, part in parts.items() if part.get("scope") == "excluded"}
    assert trained == {name.removeprefix("haltung.version."): version for name, version in tags.items() if "haltung.version" in name}
    assert parts["run:onnxruntime"]["purl"] == f"pkg:pypi/onnxruntime@{version('onnxruntime')}"
    assert parts["data"]["hashes"][0]["content"] == description["provenance"]["corpus_digest"]
    assert parts["data"]["licenses"] == [{"license": {"name": "CC BY 4.0"}}]


def test_a_signed_export_is_verified_by_its_public_key(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The thresholds of dyads are signed too."""
    private, public = new_key(tmp_path / "ours")
    copy = shutil.copytree(next((here / "experiments" / "runs").glob("tiny-1-*/bundle")), tmp_path / "copy")
    dyad_model.write_thresholds(copy, Thresholds(pair=0.7), {"corpus": "mine"})
    assert main(["export", f"bundle={copy}", *CORPUS, f"to={tmp_path / 'b'}", f"sign={private}"]) == 0
    capsys.readouterr()
    assert main(["verify", f"bundle={tmp_path / 'b'}", f"key={public}"]) == 0
    assert "is as it was exported and signed by this key, " in capsys.readouterr().out.replace("\n", " ")
    assert main(["verify", f"bundle={tmp_path / 'b'}"]) == 0
    capsys.readouterr()
    dyad_model.write_thresholds(tmp_path / "b", Thresholds(pair=0.1), {"corpus": "mine"})
    assert main(["verify", f"bundle={tmp_path / 'b'}", f"key={public}"]) == 1
    printed = capsys.readouterr()
    assert ("dyads.json is not the file that was written" in printed.err, printed.out) == (True, "")


@pytest.mark.parametrize("words", [("sign={public}",), ("sign={folder}/none.pem",), ("sign={private}", "form=transformers")])
def test_a_key_that_cannot_sign_is_refused_before_the_export(
    here: Path, tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """If the key is invalid, the message has the command that makes one; nothing is written."""
    private, public = new_key(tmp_path / "ours")
    named = [word.format(private=private, public=public, folder=tmp_path) for word in words]
    assert main(["export", "run=tiny-1", f"to={tmp_path / 'b'}", *named]) == 2
    said = capsys.readouterr().err
    assert ("openssl genpkey -algorithm ed25519" in said) == (len(words) == 1)
    assert said.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_an_exported_bundle_is_predicted_with_and_evaluated_like_a_trained_one(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its graph gives the same labels."""
    trained = next((here / "experiments" / "runs").glob("tiny-1-*/bundle"))
    assert main(["export", "run=tiny-1", f"to={tmp_path / 'b'}"]) == 0
    (tmp_path / "in.jsonl").write_text('{"text": "Chile warnt die Marine ."}\n{"text": "Peru lobt den Zoll ."}\n', encoding="utf-8")
    labels = []
    for folder in (trained, tmp_path / "b"):
        capsys.readouterr()
        assert main(["predict", f"bundle={folder}", f"input={tmp_path / 'in.jsonl'}"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        labels.append([(row["id"], row["topic"], row["stance"]) for row in rows])
    assert labels[0] == labels[1]
    assert main(["evaluate", f"bundle={tmp_path / 'b'}", *CORPUS, f"output={tmp_path / 'reports'}"]) == 0
    assert next((tmp_path / "reports").glob("b-*/report.html")).stat().st_size > 10_000


def test_the_thresholds_of_dyads_go_along(here: Path, tmp_path: Path) -> None:
    """If the bundle has any; they are loaded from the exported bundle as from the trained one."""
    copy = shutil.copytree(next((here / "experiments" / "runs").glob("tiny-1-*/bundle")), tmp_path / "copy")
    assert main(["export", f"bundle={copy}", *CORPUS, f"to={tmp_path / 'without'}"]) == 0
    assert not (tmp_path / "without/dyads.json").exists()
    dyad_model.write_thresholds(copy, Thresholds(pair=0.7), {"corpus": "mine"})
    assert main(["export", f"bundle={copy}", *CORPUS, f"to={tmp_path / 'b'}"]) == 0
    assert dyad_model.load(tmp_path / "b").thresholds == Thresholds(pair=0.7)
    assert main(["verify", f"bundle={tmp_path / 'b'}"]) == 0


def test_a_registered_export_becomes_champion_and_answers(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a run to the model with the alias, by the commands of docs/export.md."""
    import mlflow

    assert main(["export", "run=tiny-1", f"to={tmp_path / 'b'}", "register=true"]) == 0
    assert "registered as haltung version" in capsys.readouterr().out
    assert main(["evaluate", "run=tiny-1", "split=test", "error_analysis=false"]) == 0
    assert main(["promote", "run=tiny-1", "alias=champion"]) == 0
    mlflow.set_tracking_uri(f"sqlite:///{here / 'experiments' / 'mlflow.db'}")
    try:
        answers = mlflow.pyfunc.load_model("models:/haltung@champion").predict([{"text": "Chile warnt die Marine."}])
    finally:
        mlflow.set_tracking_uri(None)
    assert set(answers.columns) == {"id", "topic", "stance", "probabilities"}


def test_of_several_seeds_the_first_is_exported(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A parent run means its first seed, and a message says so."""
    done = run_here("train", *CORPUS, "model=linear", "model.min_count=1", "name=both", "seed=1,2", cwd=here)
    assert done.returncode == 0, done.stderr
    assert main(["export", "run=both", f"to={tmp_path / 'b'}"]) == 0
    assert "both has 2 seeds; this is the first, both-1" in capsys.readouterr().err


def test_a_bundle_without_a_run_cannot_be_registered(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The version would belong to no run."""
    assert main(["export", f"bundle={tmp_path}", f"to={tmp_path / 'b'}", "register=true"]) == 2
    assert "name the run, as in run=ID" in capsys.readouterr().err.replace("\n", " ")


def test_a_format_that_was_asked_for_and_is_refused_ends_with_1(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle is written without it, and the reason is printed."""
    monkeypatch.setattr(formats, "MAX_FLIPS", -1.0)
    assert main(["export", "run=tiny-1", f"to={tmp_path / 'b'}", "int8=true"]) == 1
    printed = capsys.readouterr()
    assert "int8 was refused: topic: 0.00% of the labels flip" in printed.err
    description = json.loads((tmp_path / "b" / "haltung.json").read_text(encoding="utf-8"))
    assert set(description["formats"]) == {"fp32"}
    assert set(description["refused"]) == {"fp16", "int8"}
    assert "int8: topic:" in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")


def test_a_format_that_nobody_asked_for_may_be_refused(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 is made by default, so its refusal is no failure."""
    monkeypatch.setattr(formats, "MAX_FLIPS", -1.0)
    assert main(["export", "run=tiny-1", f"to={tmp_path / 'b'}"]) == 0


def test_nothing_is_written_where_fp32_is_refused(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, and a sentence that says so."""
    monkeypatch.setattr(formats, "MAX_DIFFERENCE", -1.0)
    assert main(["export", "run=tiny-1", f"to={tmp_path / 'b'}"]) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name what to export: run=ID"),
        (["run=tiny-1", "bundle=x"], "one of the two"),
        (["run=tiny-1"], "name the folder to write the bundle into: to=DIR"),
        (["run=tinny-1", "to=b"], "there is no run 'tinny-1'"),
        (["bundle=nowhere", "to=b"], "nowhere is not a folder"),
        (["run=tiny-1", "to=."], "the current folder"),
        (["run=tiny-1", "to=texts.jsonl"], "texts.jsonl is a file"),
        (["run=tiny-1", "to=b", "int8=perhaps"], "int8 is 'perhaps', expected true or false"),
        (["run=tiny-1", "to=b", "fp8=true"], "there is no key 'fp8'"),
    ],
)
def test_a_mistake_is_reported_in_one_sentence(here: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    """Exit code 2, and nothing is written."""
    assert main(["export", *words]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert "Traceback" not in message
    assert not (here / "b").exists()


def test_a_bundle_alone_needs_a_corpus_to_be_compared_on(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It can't be inferred whose dev split to use; with the corpus named, the export works."""
    trained = next((here / "experiments" / "runs").glob("tiny-1-*/bundle"))
    assert main(["export", f"bundle={trained}", f"to={tmp_path / 'b'}"]) == 2
    assert "needs a corpus, on whose dev split" in capsys.readouterr().err
    assert main(["export", f"bundle={trained}", f"to={tmp_path / 'b'}", *CORPUS]) == 0


def test_a_corpus_with_other_labels_is_refused(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The digests of both schemes are named."""
    trained = next((here / "experiments" / "runs").glob("tiny-1-*/bundle"))
    assert main(["export", f"bundle={trained}", f"to={tmp_path / 'b'}", "corpus=diplomacy"]) == 2
    assert "the model has the scheme" in capsys.readouterr().err
