"""Continued pretraining of an encoder: it learns the texts, keeps similarities between texts, can
be killed and resumed, and reads no text of dev or test.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

import tiny
from command_line import find_run, run_here, write_corpus
from haltung.corpus.store import load
from haltung.encoders.load import load as load_encoder
from haltung.errors import UserError
from haltung.tracking import Store
from haltung.training import adapt as adapting
from haltung.training.adapt import Adaptation, adapt, without

TEXTS = [" ".join(one.text for one in tiny.segments(12, seed=seed)) for seed in range(60)]
HOW = Adaptation(steps=20, batch_size=4, length=16, rate=2e-3, head_rate=5e-3, warmup=5, keep=0.0, ema_decay=0.9)


@pytest.fixture(autouse=True, scope="module")
def short_parts() -> Iterator[None]:
    """Parts of ten steps instead of fifty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapting, "PART", 10)
        yield


def _adapt(bert: Path, folder: Path, how: Adaptation = HOW, seed: int = 1, resume: bool = False) -> dict[int, float]:
    return adapt(TEXTS, tiny.encoder(bert), how, seed, folder / "encoder", folder / "checkpoints", resume)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "encoder" / "model.safetensors")


@pytest.fixture(scope="module")
def adapted(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, float]]:
    """A tiny BERT adapted for twenty steps: its folder and the perplexities."""
    folder = tmp_path_factory.mktemp("adapted")
    return folder, _adapt(bert, folder)


def test_held_out_texts_become_less_surprising(adapted: tuple[Path, dict[int, float]]) -> None:
    """The perplexity falls from part to part, to less than that of random tokens."""
    found = adapted[1]
    assert list(found) == [10, 20]
    assert found[20] < found[10] < 200, found


def test_the_encoder_is_loaded_as_any_other(adapted: tuple[Path, dict[int, float]], bert: Path) -> None:
    """It has the same parameters as before, and most of them have changed."""
    old, new = load_encoder(tiny.encoder(bert))[0].state_dict(), load_encoder(tiny.encoder(adapted[0] / "encoder"))[0].state_dict()
    assert old.keys() == new.keys()
    assert not torch.equal(old["embeddings.word_embeddings.weight"], new["embeddings.word_embeddings.weight"])
    assert sum(torch.equal(old[name], new[name]) for name in old) < len(old) / 2


def test_frozen_embeddings_stay(bert: Path, tmp_path: Path) -> None:
    """As those of the embedded encoder do."""
    frozen = replace(tiny.encoder(bert), freeze_embeddings=True)
    adapt(TEXTS, frozen, replace(HOW, steps=10), 1, tmp_path / "encoder", tmp_path / "checkpoints")
    old, new = load_encoder(frozen)[0].state_dict(), _weights(tmp_path)
    same = {name for name in new if torch.equal(old[name], new[name])}
    assert "embeddings.word_embeddings.weight" in same
    assert len(same) < len(new) / 2


def test_a_longer_training_goes_on_from_a_shorter_one(adapted: tuple[Path, dict[int, float]], bert: Path, tmp_path: Path) -> None:
    """10 steps, resumed up to 20, give exactly the weights of 20 steps at once."""
    short = _adapt(bert, tmp_path, replace(HOW, steps=10))
    assert list(short) == [10]
    done = _adapt(bert, tmp_path, resume=True)
    assert done == adapted[1]
    one, other = _weights(tmp_path), _weights(adapted[0])
    assert all(torch.equal(one[name], other[name]) for name in one)
    # With fewer steps than are already done, nothing changes.
    assert _adapt(bert, tmp_path, replace(HOW, steps=10), resume=True) == done
    assert all(torch.equal(value, other[name]) for name, value in _weights(tmp_path).items())


def test_another_seed_masks_otherwise(adapted: tuple[Path, dict[int, float]], bert: Path, tmp_path: Path) -> None:
    """The seed determines head, order and masks."""
    assert _adapt(bert, tmp_path, replace(HOW, steps=10), seed=2)[10] != adapted[1][10]


def _likeness(encoder: Path) -> np.ndarray:
    model, tokenizer = load_encoder(tiny.encoder(encoder), dropout=0.0)
    read = tokenizer(TEXTS[:20], return_tensors="pt", padding=True, truncation=True, max_length=16)
    with torch.no_grad():
        vectors = functional.normalize(model(read["input_ids"], attention_mask=read["attention_mask"]).last_hidden_state.mean(dim=1), dim=1)
    return (vectors @ vectors.T).numpy()


def test_texts_stay_as_near_to_one_another(bert: Path, tmp_path: Path) -> None:
    """With the second objective, similarities change less than without it."""
    moved = []
    for keep in (0.0, 20.0):
        _adapt(bert, tmp_path / str(keep), replace(HOW, steps=10, keep=keep))
        moved.append(float(np.abs(_likeness(tmp_path / str(keep) / "encoder") - _likeness(bert)).mean()))
    assert moved[1] < moved[0] / 2, moved


def test_pieces_without_a_masked_token_judge_nothing(bert: Path, tmp_path: Path) -> None:
    """They have no perplexity; if this is so for all, the error says that texts are too few."""
    with pytest.raises(UserError, match="too few"):
        _adapt(bert, tmp_path, replace(HOW, masked=1e-9))


def test_a_batch_without_a_masked_token_changes_no_weight_to_nan(bert: Path) -> None:
    """Small batches of short pieces sometimes have none."""
    model, _ = load_encoder(tiny.encoder(bert))
    network = adapting._MaskedPieces(model, 1.0, False)
    ids = torch.full((2, 16), 5)
    loss = network(ids, torch.ones_like(ids), torch.full_like(ids, -100))["loss"]
    loss.backward()
    assert all(weights.grad is None or weights.grad.isfinite().all() for weights in network.parameters())


def test_minutes_are_made_steps_by_what_one_takes(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded to whole parts, at least one."""
    for seconds, steps in ((0.5, 20), (60.0, 10)):
        monkeypatch.setattr(adapting, "_seconds", lambda network, batch, seconds=seconds: seconds)
        assert max(_adapt(bert, tmp_path, replace(HOW, steps=None, minutes=0.15))) == steps


def test_texts_that_hold_a_segment_are_left_out() -> None:
    """Regardless of punctuation and case; segments of few words are ignored."""
    segment = "Die USA warnen Russland vor einem Angriff."
    texts = [
        "Berlin. „Die USA warnen Russland vor einem Angriff“, hieß es.",
        "Die USA warnen Russland vor Gas aus Katar.",
        "Ja, das stimmt.",
    ]
    assert without(texts, [segment, "Ja, das stimmt."]) == texts[1:]
    assert without(texts, []) == texts


def _command(bert: Path, *words: str) -> list[str]:
    how = ["batch_size=4", "length=16", "rate=2e-3", "warmup=5", "encoder=local", f"encoder.path={bert}", "seed=1"]
    return ["adapt", *how, *words]


def test_the_command_tracks_a_run_and_names_the_next(bert: Path, tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """It reads files and a corpus's train split, without texts that contain its dev or test."""
    new_store(tmp_path)
    write_corpus(tmp_path, 80)
    corpus = ["corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=scheme.yaml", "corpus.name=own"]
    assert run_here("prepare", *corpus, cwd=tmp_path).returncode == 0
    (tmp_path / "news").mkdir()
    (judged,) = [one.text for one in load(tmp_path / "data/prepared/own").segments("test")][:1]
    for number, text in enumerate([*TEXTS, f"Vorher. {judged} Nachher."]):
        (tmp_path / "news" / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "news" / "broken.jsonl").write_text("{\n", encoding="utf-8")
    done = run_here(*_command(bert, "texts=news", "corpora=data/prepared/own", "steps=10"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "65 of 75 texts have no segment of dev or test" in done.stdout, done.stdout  # others begin with the same words
    assert "1 can't be read" in done.stderr
    assert "broken.jsonl" in done.stderr
    run = find_run(tmp_path, "adapted-1")
    history = run.connection.client.get_metric_history(run.id, "perplexity")
    assert [point.step for point in history] == [10]
    assert f"{history[0].value:.1f}" in done.stdout
    (following,) = re.findall(r"haltung train .*", done.stdout)
    assert "encoder=local" in following  # encoder=adapted would have other learning rates
    epoch = ["training.epochs=1", "model=network", "corpus.max_length=64", "encoder.freeze_layers=0"]
    trained = run_here(*shlex.split(following)[1:], *corpus, *epoch, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr


def test_texts_of_several_inputs_may_share_names_and_ids(bert: Path, tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """In folders without a common parent, or if a file is named twice."""
    new_store(tmp_path)
    for folder, part in (("a", TEXTS[:30]), ("b", TEXTS[30:])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "texts.jsonl").write_text("".join(json.dumps({"id": n, "text": one}) + "\n" for n, one in enumerate(part)))
    inputs = f"texts=[{tmp_path}/a/*.jsonl,b/texts.jsonl,b/texts.jsonl]"
    done = run_here(*_command(bert, inputs, "steps=10"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "90 of 90 texts" in done.stdout


def test_nothing_to_resume_is_said(bert: Path, tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """Checkpoints belong to their texts; after a further text there are none."""
    new_store(tmp_path)
    lines = [json.dumps({"text": text}) + "\n" for text in TEXTS]
    for number, said in ((len(lines) - 1, False), (len(lines), True)):
        (tmp_path / "texts.jsonl").write_text("".join(lines[:number]), encoding="utf-8")
        words = _command(bert, "texts=texts.jsonl", "steps=10", *(["resume=true"] if said else []))
        done = run_here(*words, cwd=tmp_path)
        assert (done.returncode, "has no checkpoint of these texts" in done.stderr) == (0, said), done.stderr


def test_two_at_once_do_not_share_a_folder(bert: Path, tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """The second is refused; the first one's checkpoints are kept."""
    new_store(tmp_path)
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    words = _command(bert, "texts=texts.jsonl", "steps=10")
    assert run_here(*words, cwd=tmp_path).returncode == 0
    (folder,) = (tmp_path / "experiments/runs").glob("adapted-1-*")
    held = str(folder.parent / f".{folder.name}.lock")
    program = (
        f"import time; from filelock import FileLock; lock = FileLock({held!r}); lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        done = run_here(*words, cwd=tmp_path)
        other.kill()
    assert (done.returncode, "being trained by another process" in done.stderr) == (2, True), done.stderr
    assert list(folder.glob("checkpoints/*"))


@pytest.mark.slow
def test_a_killed_one_goes_on(bert: Path, tmp_path: Path, new_store: Callable[[Path], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL after the first checkpoint; the same run finishes, and no step is done twice."""
    monkeypatch.setattr(adapting, "PART", 50)  # as in the other process
    new_store(tmp_path)
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    words = _command(bert, "texts=texts.jsonl", "steps=5000")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    killed = subprocess.Popen(
        [sys.executable, "-m", "haltung", *words], cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env
    )
    while not list(tmp_path.glob("experiments/runs/*/checkpoints/*/trainer_state.json")):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = find_run(tmp_path, "adapted-1")
    done = run_here(*words[:-1], "steps=150", "resume=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = find_run(tmp_path, "adapted-1")
    assert (run.id, run.status) == (before.id, "FINISHED")
    assert "has no checkpoint" not in done.stderr
    steps = [point.step for point in run.connection.client.get_metric_history(run.id, "perplexity")]
    assert steps == list(range(50, max(150, steps[-1]) + 1, 50))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name more with texts="),
        (["texts=nowhere/*.txt"], "nowhere"),
        (["texts=one.txt"], "too few"),
        (["corpora=data/prepared/none"], "no prepared corpus"),
        (["texts=one.txt", "masked=1"], "masked"),
        (["texts=one.txt", "minutes=0"], "minutes"),
        (["texts=one.txt", "encoder.path=bundle"], "is a bundle"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    bert: Path, tmp_path: Path, new_store: Callable[[Path], Store], words: list[str], said: str
) -> None:
    """Each with exit code 2."""
    new_store(tmp_path)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "haltung.json").write_text("{}", encoding="utf-8")
    (tmp_path / "one.txt").write_text("Ein Satz.", encoding="utf-8")
    done = run_here(*_command(bert, *words), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.splitlines()[-1], done.stderr
