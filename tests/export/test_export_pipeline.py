"""``haltung export form=transformers``: one folder per task, which transformers loads and which
gives the trained model's answers; other models are refused.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from transformers import AutoTokenizer, pipeline

import bare_environment
import client_bundles
import tiny
from command_line import CORPUS, recipe, run_here, write_corpus
from haltung.errors import UserError
from haltung.export import pipeline as plain
from haltung.export.write import ExportResult, ReferenceSplit
from haltung.labels import Scheme, parse
from haltung.models import bundle
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.neural import NeuralModel, build
from haltung.models.predictor import Calibration, Model
from haltung.models.spec import NetworkSpec
from haltung.records import Segment

FILES = {
    "README.md",
    "config.json",
    "model.safetensors",
    "sbom.cdx.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
TEXTS = ["Chile warnt den Zoll in Peru .", "Malta lobt die Bank .", "Nepal kennt das Heer in Laos . " * 20]

# Runs where Haltung is not installed; prints each folder's scores for each text, by label.
PROGRAM = """
import json, sys
from importlib.util import find_spec
from transformers import pipeline
folders, texts = json.loads(sys.argv[1])
assert find_spec("haltung") is None
answers = {}
for folder in folders:
    classify = pipeline("text-classification", model=folder, top_k=None)
    answers[folder] = [{one["label"]: one["score"] for one in answer} for answer in classify(texts, truncation=True)]
print(json.dumps(answers))
"""


def network(encoder: Path, scheme: Scheme | None = None, prefix: str = "", **changes: object) -> NeuralModel:
    """Return an untrained, calibrated network that pools the first token, with head weights large
    enough for clear answers.
    """
    torch.manual_seed(1)
    spec = NetworkSpec(**{"pooling": {"default": "cls"}, "max_length": 32, **changes})  # type: ignore[arg-type]
    model = build(tiny.encoder(encoder), spec, scheme or client_bundles.scheme())
    for head in model.network.heads.values():
        torch.nn.init.normal_(head.weight, std=1.0)  # type: ignore[arg-type]
        torch.nn.init.normal_(head.bias, std=1.0)  # type: ignore[arg-type]
    model.calibration = Calibration({"stance": 1.6, "topic": 0.7})
    return model


def exported(model: NeuralModel, folder: Path, left_out: Mapping[str, str] | None = None) -> ExportResult:
    split = ReferenceSplit("tiny", "dev", client_bundles.segments(40, 5))
    return plain.export(model, folder, split, {"corpus": "tiny"}, left_out or {})


def write_encoder(folder: Path, family: str, bert: Path, **changes: object) -> Path:
    """Write an encoder of another family, two layers of 32, with the tokenizer of the tiny BERT."""
    from transformers import AutoConfig, AutoModel

    AutoTokenizer.from_pretrained(bert).save_pretrained(folder)
    size = {"dim": 32, "n_heads": 2, "n_layers": 2, "hidden_dim": 64} if family == "distilbert" else {
        "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64, "type_vocab_size": 2,
    }  # fmt: skip
    vocabulary = json.loads((bert / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    torch.manual_seed(2)
    config = AutoConfig.for_model(family, vocab_size=vocabulary, max_position_embeddings=64, pad_token_id=0, **size, **changes)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def home(bert: Path, tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], object]) -> Path:
    """A folder with a trained network that pools the first token, exported to ``plain``."""
    folder = tmp_path_factory.mktemp("pipeline")
    write_corpus(folder)
    new_store(folder)
    for words in (
        recipe(bert, "model.pooling={default: cls}", "seed=1"),
        ("export", "run=tiny-1", "to=plain", "form=transformers", "licence=CC BY 4.0"),
    ):
        done = run_here(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert "written to plain" in done.stdout
    return folder


@pytest.mark.slow
def test_a_pipeline_without_haltung_says_what_the_trained_model_does(home: Path, tmp_path: Path) -> None:
    """In a process with transformers and without Haltung, also for long texts."""
    python = bare_environment.make(tmp_path / "venv", ["torch", "transformers"])
    folders = [str(home / "plain" / task) for task in ("topic", "stance")]
    command = [python, "-c", PROGRAM, json.dumps([folders, TEXTS])]
    done = subprocess.run(command, cwd=tmp_path, env={"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = bundle.load_trained(next(home.glob("experiments/runs/tiny-1-*/bundle")))
    predicted = model.predict([Segment(str(number), text) for number, text in enumerate(TEXTS)], precision="fp32")
    for folder, answers in json.loads(done.stdout.splitlines()[-1]).items():
        for one, answer in zip(predicted, answers, strict=True):
            expected = one.probabilities[Path(folder).name]
            assert set(answer) == set(expected)
            assert all(abs(answer[label] - value) < 1e-4 for label, value in expected.items())
            assert max(answer, key=answer.__getitem__) == one.labels[Path(folder).name]


@pytest.mark.slow
def test_the_folder_is_all_that_is_needed_and_names_no_machine(home: Path, bert: Path) -> None:
    """One per task, with its labels in the config and German and English names in the card."""
    assert {path.relative_to(home / "plain").as_posix() for path in (home / "plain").rglob("*") if path.is_file()} == {
        f"{task}/{name}" for task in ("topic", "stance") for name in FILES
    }
    config = json.loads((home / "plain/topic/config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "security", "1": "economy"}
    assert config["label2id"] == {"security": 0, "economy": 1}
    assert config["problem_type"] == "single_label_classification"
    card = (home / "plain/topic/README.md").read_text(encoding="utf-8")
    assert all(word in card for word in ("Sicherheit", "Economy", "library_name: transformers", "CC BY 4.0", 'pipeline("text-'))
    assert "haltung.inference" not in card
    materials = (home / "plain/topic/sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(materials) is None
    assert '"bom-ref": "run:transformers"' in materials
    for path in (home / "plain").rglob("*.json"):
        assert not any(str(folder).encode() in path.read_bytes() for folder in (home, bert.parent))


@pytest.mark.slow
def test_the_tokenizer_cuts_where_the_model_does(home: Path) -> None:
    """In the settings of transformers and those of text-embeddings-inference."""
    tokenizer = AutoTokenizer.from_pretrained(home / "plain/stance")
    assert len(tokenizer(TEXTS[2], truncation=True)["input_ids"]) == tokenizer.model_max_length == 32
    assert json.loads((home / "plain/stance/sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"] == 32


@pytest.mark.parametrize("family", sorted(plain._FAMILIES))
def test_every_family_says_what_the_model_does(family: str, bert: Path, tmp_path: Path) -> None:
    """With temperatures; a multi-label task has a sigmoid for each label."""
    model = network(bert if family == "bert" else write_encoder(tmp_path / "encoder", family, bert))
    result = exported(model, tmp_path / "plain")
    assert result.formats == ("topic", "stance"), result.refused
    segments = [Segment(str(number), text) for number, text in enumerate(TEXTS)]
    for task, expected in model.probabilities(segments, precision="fp32").items():
        answers = pipeline("text-classification", str(tmp_path / "plain" / task), top_k=None)(TEXTS, truncation=True)
        found = [{one["label"]: one["score"] for one in answer} for answer in answers]
        values = np.array([[one[label] for label in model.scheme[task].ids] for one in found])
        assert np.abs(values - expected).max() < 1e-5
        assert (np.abs(values.sum(axis=1) - 1) < 1e-5).all() == (task == "stance")
    assert all(set(comparison.flips) == {task} for task, comparison in result.comparisons.items())


def test_large_states_are_hardly_bent_by_tanh() -> None:
    """Even 20; in float16 they are as exact as with a plain head."""
    torch.manual_seed(0)
    states, weight = torch.randn(500, 768), torch.randn(10, 768) * 0.08
    states[:, 5] = 20
    first, second = plain._layers(weight, "tanh")
    for kind, bound in ((torch.float32, 5e-6), (torch.float16, 2e-3)):
        logits = torch.tanh(states.to(kind) @ first.to(kind).T) @ second.to(kind).T
        assert (logits.double().softmax(-1) - (states.double() @ weight.double().T).softmax(-1)).abs().max() < bound


def test_exporting_leaves_the_model_as_it_was(bert: Path, tmp_path: Path) -> None:
    """A second export of the same model is the same, and so are its predictions."""
    model, segments = network(bert), client_bundles.segments(5)
    before, length = model.probabilities(segments, precision="fp32"), model.tokenizer.model_max_length
    for name in ("one", "two"):
        exported(model, tmp_path / name)
    after = model.probabilities(segments, precision="fp32")
    assert all(np.array_equal(before[task], after[task]) for task in before)
    assert model.tokenizer.model_max_length == length
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_lora_is_added_to_the_weights(bert: Path, tmp_path: Path) -> None:
    """The exported encoder is a plain one."""
    model = network(bert, tune="lora")
    for name, parameter in model.network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    assert exported(model, tmp_path / "plain").formats == ("topic", "stance")


def test_an_older_export_is_replaced_and_nothing_else(bert: Path, tmp_path: Path) -> None:
    """A task that is no longer exported is removed; a file or another model is not."""
    model, folder = network(bert), tmp_path / "plain"
    exported(model, folder)
    assert exported(model, folder, {"stance": "why"}).refused == {"stance": "why"}
    assert [path.name for path in folder.iterdir()] == ["topic"]
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"plain contains something that is not an export for transformers"):
        exported(model, folder)
    other = write_encoder(tmp_path / "models/mine", "electra", bert)
    with pytest.raises(UserError, match=r"models contains something"):
        exported(model, other.parent)
    with pytest.raises(UserError, match=r"notes.txt is a file"):
        exported(model, folder / "notes.txt")
    assert (folder / "notes.txt").is_file()


def test_what_does_not_agree_is_not_written(bert: Path, tmp_path: Path) -> None:
    """An activation that is unusual for this kind of encoder distorts the logits."""
    model = network(write_encoder(tmp_path / "encoder", "deberta-v2", bert, pooler_hidden_act="tanh"))
    result = exported(model, tmp_path / "plain")
    assert result.folder is None
    assert not (tmp_path / "plain").exists()
    assert set(result.refused) == set(result.comparisons) == {"topic", "stance"}
    assert f"differs by {result.comparisons['topic'].difference:.1e}, but at most 1e-04 is allowed" in result.refused["topic"]


def _other(kind: str, bert: Path) -> Model:
    if kind == "article":
        return tiny.article_model(bert)
    linear = client_bundles.linear()
    return linear if kind == "linear" else EnsembleModel([Member("a", linear)], {"topic": [1], "stance": [1]}, linear.scheme)


@pytest.mark.parametrize(("kind", "lost"), [("article", "other sentences and dyads"), ("linear", "words"), ("ensemble", "members")])
def test_other_models_are_refused(kind: str, lost: str, bert: Path, tmp_path: Path) -> None:
    """The message says what would be lost, and how to train a model that can be exported."""
    folder = bundle.save(_other(kind, bert), tmp_path / "bundle")
    with pytest.raises(UserError, match=rf"of kind '{kind}'.* without .*{lost} .* model=network 'model.reads=.*' 'model.pooling="):
        plain.obstacles(folder)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"pooling": {"default": "mean"}}, "topic: it reads 'text' and pools by 'mean'.* stance: it .* 'model.pooling={default: cls}'"),
        ({"pooling": {"default": "text"}}, "pools by 'text'"),
        ({"reads": {"default": "target+context"}}, "it reads 'target[+]context' and pools by 'cls'"),
    ],
)
def test_what_no_class_of_transformers_reads_is_refused(changes: dict[str, object], what: str, bert: Path, tmp_path: Path) -> None:
    """All tasks are named, each with its reason."""
    folder = bundle.save(network(bert, **changes), tmp_path / "bundle")
    with pytest.raises(UserError, match=what):
        plain.obstacles(folder)


def test_a_task_that_can_be_expressed_is_none_of_the_obstacles(bert: Path, tmp_path: Path) -> None:
    """Each task has its own views and pooling."""
    folder = bundle.save(network(bert, pooling={"topic": "cls", "default": "mean"}), tmp_path / "bundle")
    assert set(plain.obstacles(folder)) == {"stance"}


@pytest.mark.parametrize(
    ("file", "path", "value", "what"),
    [
        ("haltung.json", ("encoder", "prefix"), "query: ", "'query: ' before each text.* encoder.prefix=''"),
        ("config.json", ("model_type",), "modernbert", "'modernbert'; train from one of bert, "),
        ("config.json", ("hidden_size",), None, "bundle is broken or incomplete"),
    ],
)
def test_a_bundle_that_no_pipeline_can_stand_for_is_refused(
    file: str, path: tuple[str, ...], value: str | None, what: str, bert: Path, tmp_path: Path
) -> None:
    """A prefix, an unknown kind of encoder, a broken config."""
    described = bundle.save(network(bert), tmp_path / "bundle") / file
    content = inner = json.loads(described.read_text(encoding="utf-8"))
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    described.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=what):
        plain.obstacles(tmp_path / "bundle")


def test_two_units_for_each_label_have_to_fit(bert: Path, tmp_path: Path) -> None:
    """They must fit into the width of an encoder whose activation is not tanh."""
    tasks = {"topic": {"labels": [f"t{n}" for n in range(17)]}, "stance": {"labels": [f"s{n}" for n in range(16)]}}
    model = network(write_encoder(tmp_path / "encoder", "electra", bert), parse({"name": "wide", "tasks": tasks}))
    folder = bundle.save(model, tmp_path / "bundle")
    assert set(plain.obstacles(folder)) == {"topic"}
    assert "17 labels" in plain.obstacles(folder)["topic"]


@pytest.mark.slow
def test_the_command_writes_what_it_can_and_says_what_it_cannot(home: Path, bert: Path, tmp_path: Path) -> None:
    """Exit code 1 if a task is omitted; 2, without a corpus, if all are."""
    saved = bundle.save(network(bert, tiny.scheme(), pooling={"topic": "cls", "default": "mean"}), tmp_path / "some")
    words = ("export", *CORPUS, f"to={tmp_path / 'out'}", "form=transformers")
    done = run_here(*words, f"bundle={saved}", cwd=home)
    assert (done.returncode, [path.name for path in (tmp_path / "out").iterdir()]) == (1, ["topic"])
    assert "stance was refused: it reads 'text' and pools by 'mean'" in done.stderr
    none = bundle.save(network(bert, tiny.scheme(), pooling={"default": "mean"}), tmp_path / "none")
    done = run_here("export", f"bundle={none}", f"to={tmp_path / 'new'}", "form=transformers", cwd=home)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_command_writes_nothing_where_nothing_agrees(home: Path, bert: Path, tmp_path: Path) -> None:
    """Exit code 1; the message has the difference, and an older export stays."""
    encoder = write_encoder(tmp_path / "encoder", "deberta-v2", bert, pooler_hidden_act="tanh")
    saved = bundle.save(network(encoder, tiny.scheme()), tmp_path / "bundle")
    before = (home / "plain/topic/model.safetensors").read_bytes()
    done = run_here("export", *CORPUS, "to=plain", "form=transformers", f"bundle={saved}", cwd=home)
    assert done.returncode == 1
    assert "stance was refused: a probability differs by" in done.stderr
    assert "nothing was written" in done.stderr
    assert (home / "plain/topic/model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_the_repository_of_each_task_is_checked_before_the_export(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is the given one with the task appended, which may be too long."""
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    name = f"ours/{'n' * 90}"
    done = run_here("export", "run=tiny-1", "to=other", "form=transformers", f"hub={name}", cwd=home)
    assert done.returncode == 2, done.stderr
    assert f"'{name}-stance'; expected ORGANISATION/NAME" in done.stderr
    assert not (home / "other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("word", ["register=true", "int8=true"])
def test_the_registry_and_8_bits_take_the_bundle(word: str, home: Path) -> None:
    """Refused before anything is read."""
    done = run_here("export", "run=tiny-1", "to=other", "form=transformers", word, cwd=home)
    assert done.returncode == 2
    assert "form=transformers" in done.stderr
    assert "form=onnx" in done.stderr
    assert not (home / "other").exists()
