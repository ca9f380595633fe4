"""A compact model: the difference to the embedded encoder, rebuilt to a bundle with the same
answers.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import tiny
from command_line import run_here, write_corpus
from haltung import files
from haltung.encoders import embedded
from haltung.encoders.load import Encoder
from haltung.errors import UserError
from haltung.events import dyads as dyad_model
from haltung.experiments import export as exporting
from haltung.export import verify as verification
from haltung.export.write import ExportResult
from haltung.models import bundle, compact
from haltung.models.article import build
from haltung.models.spec import ArticleSpec
from haltung.records import Segment

TEXTS = [Segment(str(number), text) for number, text in enumerate(("Chile warnt Peru .", "Malta lobt den Zoll .", "Nepal kennt Laos ."))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with three of the embedded encoder's layers, of which the upper two are changed as
    by training.
    """
    torch.manual_seed(3)
    encoder = Encoder("e5_small_de", "embedded", freeze_embeddings=True, freeze_layers=1, layers=3)
    model = build(encoder, ArticleSpec(max_length=32), tiny.scheme(), dyads=True)
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            if name.startswith("sequence.") or any(f"encoder.layer.{number}." in name for number in (1, 2)):
                parameter.add_(torch.randn_like(parameter) * 0.003)
        for head in model.network.heads.values():
            torch.nn.init.normal_(head.weight, std=0.1)  # type: ignore[arg-type]
        assert model.network.actors is not None
        for table in (model.network.actors.direct, model.network.actors.joined):
            torch.nn.init.normal_(table.weight, std=0.02)
    folder = bundle.save(model, tmp_path_factory.mktemp("trained") / "bundle", {"corpus": "tiny"}, TEXTS)
    dyad_model.write_thresholds(folder, dyad_model.Thresholds(pair=0.7), {})
    return folder


@pytest.fixture(scope="module")
def small(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its compact form, written by ``haltung export form=compact``."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_corpus(folder)
        words = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=scheme.yaml", "corpus.rules.near=0")
        done = run_here("export", f"bundle={trained}", "to=mine", "form=compact", *words, "licence=ours", cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder / "mine"


def _new_cache(folder: Path) -> Path:
    base = embedded.ensure(files.cache())
    folder.mkdir()
    (folder / base.name).symlink_to(base)
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that contains only the embedded encoder, which is not built again."""
    monkeypatch.setenv("HALTUNG_CACHE", str(cache := _new_cache(tmp_path / "cache")))
    return cache


@pytest.fixture(scope="module")
def filled(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that also contains the rebuilt bundle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTUNG_CACHE", str(cache := _new_cache(tmp_path_factory.mktemp("filled") / "cache")))
        compact.find(small)
    return cache


@pytest.fixture
def shared_cache(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That cache, shared by tests that only read the rebuilt bundle: rebuilding takes seconds."""
    monkeypatch.setenv("HALTUNG_CACHE", str(filled))
    return filled


def test_a_rebuilt_bundle_is_the_exported_one(trained: Path, small: Path, shared_cache: Path) -> None:
    """Byte for byte, with matching golden answers; the compact form has a tenth of its size."""
    rebuilt = compact.find(small)
    assert rebuilt.parent == shared_cache
    sizes = [sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in (small, rebuilt)]
    assert sizes[0] < 20e6
    assert sizes[0] < sizes[1] / 10
    done = verification.verify(rebuilt)
    assert done.agrees, done
    assert {check.format for check in done.checks} >= {"fp32", "weights"}
    assert dyad_model.load(rebuilt).thresholds.pair == 0.7
    assert bundle.known_segments(rebuilt, TEXTS) == ["0", "1", "2"]
    assert bundle.describe(rebuilt)["provenance"]["licences"]["data"] == "ours"


def test_rounding_changes_little(trained: Path, small: Path, shared_cache: Path) -> None:
    """Untrained weights are equal, trained ones close, and so are the probabilities."""
    rebuilt = compact.find(small)
    before, after = bundle.load_trained(trained), bundle.load_trained(rebuilt)
    for task, values in before.probabilities(TEXTS, precision="fp32").items():
        assert np.abs(values - after.probabilities(TEXTS, precision="fp32")[task]).max() < 0.02
    ours, theirs = load_file(trained / compact.WEIGHTS), load_file(rebuilt / compact.WEIGHTS)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours if ".layer.0." in name and name.startswith("encoder."))
    name = "encoder.encoder.layer.2.output.dense.weight"
    assert 0 < np.abs(ours[name] - theirs[name]).max() < 0.001


def test_it_is_rebuilt_once(small: Path, own_cache: Path) -> None:
    """The second time, the folder in the cache is used as it is."""
    first = compact.find(small)
    (first / "mark").touch()
    assert (compact.find(small) / "mark").is_file()


def test_numbers_keep_within_half_a_step() -> None:
    """Also rows of zeros, and rows as different as 1e-3 and 1e3."""
    rows = np.random.default_rng(0).normal(size=(8, 700)).astype(np.float32) * np.logspace(-3, 3, 8, dtype=np.float32)[:, None]
    rows[3] = 0
    packed = compact._packed("w", rows)
    assert sum(value.nbytes for value in packed.values()) < rows.nbytes / 5
    back = compact._unpacked("w", packed)
    assert (np.abs(back - rows) <= 0.52 * packed["w#scale"].astype(np.float32)).all()
    assert not back[3].any()


def test_each_model_has_a_rebuild_of_its_own(small: Path, shared_cache: Path, tmp_path: Path) -> None:
    """Also two of the same name that differ only in a file not listed in the description."""
    other = shutil.copytree(small, tmp_path / "mine")
    (other / "bundle/dyads.json").write_text('{"thresholds": {"pair": 0.9}}')
    plan = json.loads((other / "compact.json").read_text(encoding="utf-8"))
    plan["files"]["dyads.json"] = files.sha256(other / "bundle/dyads.json")
    (other / "compact.json").write_text(json.dumps(plan), encoding="utf-8")
    assert [dyad_model.load(compact.find(folder)).thresholds.pair for folder in (small, other)] == [0.7, 0.9]


def test_a_card_stays_where_a_model_is_exported_again(
    small: Path, trained: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a file that makes the folder a Python package."""
    monkeypatch.setattr(verification, "is_installed", lambda runtime: False)  # comparing digests is enough
    package = shutil.copytree(small, tmp_path / "package")
    (package / "__init__.py").write_text("# mine\n")
    compact.write(compact.find(small), compact.difference(trained), package)
    assert (package / "__init__.py").read_text() == "# mine\n"
    assert verification.verify(compact.find(package)).agrees


def test_an_exported_model_can_be_made_compact(small: Path, shared_cache: Path, tmp_path: Path) -> None:
    """Although its rounded weights no longer match the digest that it states."""

    def loaded(source: Path, to: Path) -> ExportResult:
        bundle.load_trained(source)
        raise EOFError(source.name)

    with pytest.raises(EOFError, match="rounded"):
        exporting._compact(compact.find(small), tmp_path / "again", loaded)


def test_the_layers_of_a_cut_encoder_are_differences_to_those_that_were_kept(tmp_path: Path) -> None:
    """An untrained layer takes no bytes, a trained one is restored closely, and the compact model
    lists the layers that were kept.
    """
    torch.manual_seed(3)
    model = build(Encoder("e5_small_de", "embedded", layers=6), ArticleSpec(max_length=32), tiny.scheme())
    changed = "encoder.encoder.layer.4.output.dense.weight"
    with torch.no_grad():
        weights = dict(model.network.named_parameters())[changed]
        weights.add_(torch.randn_like(weights) * 0.003)
    folder = bundle.save(model, tmp_path / "bundle")
    packed, own = compact.difference(folder), load_file(folder / compact.WEIGHTS)
    assert packed["#layers"].tolist() == [0, 2, 4, 7, 9, 11]
    assert {name.partition("#")[0] for name in packed if name.startswith("encoder.")} == {changed}
    back = compact.applied(packed)
    assert back.keys() == own.keys()
    assert all(np.array_equal(back[name], own[name]) for name in own if name.startswith("encoder.") and name != changed)
    assert 0 < np.abs(back[changed] - own[changed]).max() < 0.001


def test_a_whole_encoder_that_was_not_trained_needs_no_bytes(tmp_path: Path) -> None:
    """Nor a list of its layers."""
    model = build(Encoder("e5_small_de", "embedded"), ArticleSpec(max_length=32), tiny.scheme())
    folder = bundle.save(model, tmp_path / "bundle")
    packed, own = compact.difference(folder), load_file(folder / compact.WEIGHTS)
    assert not any(name.startswith(("encoder.", "#")) for name in packed)
    back = compact.applied(packed)
    assert back.keys() == own.keys()
    assert all(np.array_equal(back[name], own[name]) for name in own if name.startswith("encoder."))


def test_the_layers_of_an_encoder_that_was_cut_twice_are_known(tmp_path: Path) -> None:
    """3 of the 6 remaining layers are not the same as 3 of 12."""
    first = build(Encoder("e5_small_de", "embedded", layers=6), ArticleSpec(max_length=32), tiny.scheme())
    start = bundle.save(first, tmp_path / "first")
    again = build(Encoder("bundle", "folder", str(start), layers=3), ArticleSpec(max_length=32), tiny.scheme())
    packed = compact.difference(bundle.save(again, tmp_path / "again"))
    assert packed["#layers"].tolist() == [0, 4, 11]
    assert not any(name.startswith("encoder.") for name in packed)


def test_tensors_with_equal_numbers_are_cut_once() -> None:
    """A file with a single block of zeros, but two tensors of zeros, is restored completely."""
    weights = {name: np.zeros((64, 64), np.float32) for name in ("a", "b")} | {"c": np.arange(4160, dtype=np.float32).reshape(64, 65)}
    data = b"head" + weights["a"].tobytes() + b"between" + weights["c"].T.copy().tobytes() + b"tail"
    kept, holes = compact._cut(data, weights)
    assert kept == b"headbetweentail"
    assert holes[1][1:] == ("c", True)
    assert b"".join(compact._whole(kept, holes, weights)) == data


def test_a_changed_model_is_refused(small: Path, own_cache: Path, tmp_path: Path) -> None:
    """The digests of the rebuilt files are compared before the model is used; no file is left."""
    broken = shutil.copytree(small, tmp_path / "broken")
    path = broken / "difference.safetensors"
    packed = load_file(path)
    name = next(name for name in packed if name.endswith("#scale"))
    packed[name] = packed[name] * np.float16(2)
    save_file(packed, path)
    with pytest.raises(UserError, match="is not what was shipped"):
        compact.find(broken)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(UserError, match="is broken"):
        compact.find(broken)
    plan = json.loads((broken / "compact.json").read_text(encoding="utf-8"))
    (broken / "compact.json").write_text(json.dumps({**plan, "holes": []}), encoding="utf-8")
    with pytest.raises(UserError, match="is broken"):
        compact.find(broken)
    path.unlink()
    with pytest.raises(UserError, match=r"difference\.safetensors.*install the model 'broken' again"):
        compact.find(broken)
    assert [path.name for path in own_cache.iterdir()] == [next(own_cache.glob("e5*")).name]


def test_a_file_outside_the_bundle_is_refused(small: Path, own_cache: Path, tmp_path: Path) -> None:
    """A foreign model can't write anywhere else."""
    hostile = shutil.copytree(small, tmp_path / "hostile")
    plan = json.loads((hostile / "compact.json").read_text(encoding="utf-8"))
    for name in ("../../escaped.txt", str(tmp_path / "escaped.txt")):
        plan["files"] = {name: "0" * 64, "haltung.json": plan["files"]["haltung.json"]}
        (hostile / "compact.json").write_text(json.dumps(plan), encoding="utf-8")
        with pytest.raises(UserError, match="lies outside a bundle"):
            compact.find(hostile)
    assert not list(tmp_path.rglob("escaped.txt"))


def test_another_version_of_the_encoder_is_refused(small: Path, own_cache: Path, tmp_path: Path) -> None:
    """The difference to another encoder would be noise."""
    other = shutil.copytree(small, tmp_path / "other")
    path = other / "compact.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**plan, "encoder": "0" * 64}), encoding="utf-8")
    with pytest.raises(UserError, match="another version of the embedded encoder"):
        compact.find(other)


def test_only_models_of_the_embedded_encoder_are_made_compact(bert: Path, trained: Path, tmp_path: Path) -> None:
    """Other models are not written, nor is a folder overwritten that contains other files."""
    folder = bundle.save(tiny.article_model(bert), tmp_path / "bundle")
    with pytest.raises(UserError, match="not trained from the embedded encoder"):
        compact.difference(folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(UserError, match="would be lost"):
        compact.write(folder, {}, tmp_path / "mine")


def test_a_model_of_another_package_is_found_by_name(small: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package registers it as an entry point; commands accept the name as a bundle."""
    package = shutil.copytree(small, tmp_path / "site" / "model_of_mine")
    (package / "__init__.py").touch()
    info = tmp_path / "site" / "model_of_mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: model-of-mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[haltung.models]\nmine_de = model_of_mine\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert compact.installed()["mine_de"] == package
    done = run_here("predict", "bundle=mine_de", "text=Chile warnt Peru .", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stance" in done.stdout.lower()
    missed = run_here("predict", "bundle=mine_dee", "text=Chile warnt.", cwd=tmp_path)
    assert (missed.returncode, missed.stderr.count("\n")) == (2, 1)
    assert "did you mean 'mine_de'" in missed.stderr
    assert "model_of_mine" not in sys.modules


def test_compact_goes_without_the_registry_and_other_formats(trained: Path, tmp_path: Path) -> None:
    """Only Haltung can read it."""
    for word in ("register=true", "int8=true"):
        done = run_here("export", f"bundle={trained}", "to=small", "form=compact", "corpus=diplomacy", word, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "form=compact has only fp32" in done.stderr


def test_a_training_goes_on_from_a_compact_model(small: Path, shared_cache: Path, tmp_path: Path) -> None:
    """Its encoder can be used like that of any other bundle."""
    from haltung.cli.build import recipe_of
    from haltung.cli.config import compose, plain

    settings = plain(compose("train", ["encoder=bundle", f"encoder.path={small}"]))
    encoder = recipe_of(settings).encoder
    assert Path(encoder.path).parent == shared_cache
    assert (encoder.origin, encoder.freeze_layers) == ("folder", 4)
