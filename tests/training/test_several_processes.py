"""Several processes that train one model: their curve equals that of one process, and a killed
process ends the run so that it can be resumed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import Trainer, TrainingArguments
from transformers.training_args import ParallelMode

import tiny
from command_line import LINEAR, find_run, recipe, run_here, write_corpus
from haltung.cli import main
from haltung.models import bundle
from haltung.tracking import Store
from haltung.training.finetune import _arguments, _Rows, _Trainer
from haltung.training.losses import loss
from haltung.training.recipe import Training

# Nothing is random except what is drawn in each epoch: the order, and which articles are split
# into sentences. Labels are missing, weighted and smoothed.
_CURVES = """
import json, os, random, signal, socket, sys
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [{tests!r}]
import numpy as np
import tiny
from haltung.models import article
from haltung.models.spec import ArticleSpec, NetworkSpec
from haltung.training import finetune
from haltung.training.recipe import Training

article._ACTOR_DROPOUT = article._CUE_DROPOUT = 0.0
recipe = Training(
    epochs=5, batch_size=16, encoder_rate=2e-3, head_rate=1e-2, patience=5, precision="fp32", class_weight="root", label_smoothing=0.1
)
off = dict(max_length=32, dropout=0.0, encoder_dropout=0.0)
texts = tiny.segments(160), tiny.segments(48, seed=1)
articles = tiny.with_dyads(tiny.articles(40)), tiny.with_dyads(tiny.articles(12, seed=1))
kinds = {{
    "network": (*texts, NetworkSpec(**off), recipe),
    "dyads": (*articles, ArticleSpec(**off, window=8, alone=0.3), recipe),
    "taught": (*texts, NetworkSpec(**off), replace(recipe, epochs=3, ema_decay=0.8, teacher_weight=0.4)),
}}
soft = {{task.name: np.random.default_rng(1).dirichlet(np.ones(len(task)), 160) for task in tiny.scheme()}}
averages, wrote = [], []


class Average(finetune.Average):
    def on_epoch_end(self, *args, **kwargs):
        super().on_epoch_end(*args, **kwargs)
        averages.append([float(weights.double().sum()) for weights in self.average])

    def save(self, folder):
        super().save(folder)
        wrote.append(rank)


finetune.Average = Average


def train(folder):
    for kind in {kinds!r}:
        train, dev, spec, recipe = kinds[kind]
        chance = random.Random(3)
        train = [replace(row, labels={{**row.labels, "topic": None}}) if chance.random() < 0.4 else row for row in train]
        words = (train, dev, tiny.scheme(), tiny.encoder(Path({bert!r})), spec, recipe, 1, folder / kind)
        done = finetune.finetune(*words, soft=soft if kind == "taught" else None)
        if rank == 0:
            answers = [one.probabilities["stance"] for one in done.model.predict(dev)]
            (folder / f"{{kind}}.json").write_text(json.dumps([done.history, done.tokens, answers]))
    (folder / f"averages-{{rank}}.json").write_text(json.dumps([averages, wrote]))


for processes in (1, 3):
    folder = Path({folder!r}, str(processes))
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {{"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1]}}
    children = set()
    for rank in range(processes):
        if (child := os.fork()) == 0:
            if processes > 1:
                os.environ |= {{name: str(value) for name, value in {{**place, "RANK": rank, "LOCAL_RANK": rank}}.items()}}
            train(folder)
            # What is compared is written. On a busy machine torch's threads may abort an interpreter
            # that ends; how the processes of the command end is tested below.
            os._exit(0)
        children.add(child)
    while children:
        child, status = os.wait()
        children.remove(child)
        if status:
            for other in children:
                os.kill(other, signal.SIGKILL)
            sys.exit(f"one of {{processes}} processes has ended with {{os.waitstatus_to_exitcode(status)}}")
"""
KINDS = {"network": 50, "dyads": 50, "taught": 30}  # and the minimum number of steps compared


@pytest.fixture(scope="module")
def curves(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each number of processes, with one training of each kind of model. All are
    forked from one program with torchrun's variables, so that libraries are imported once.
    """
    folder, tests = tmp_path_factory.mktemp("curves"), str(Path(__file__).parents[1])
    code = _CURVES.format(tests=tests, bert=str(bert), folder=str(folder), kinds=list(KINDS))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def _read(folder: Path) -> dict[str, Any]:
    """Return history, tokens and answers on dev by kind of model."""
    return {kind: json.loads((folder / f"{kind}.json").read_text()) for kind in KINDS}


def _assert_alike(one: Any, other: Any, steps: int) -> None:
    """Assert that curves agree within 1e-3, answers within 1e-2, and token counts exactly."""
    assert [point.keys() for point in one[0]] == [point.keys() for point in other[0]]
    for before, after in zip(one[0], other[0], strict=True):
        for key in ("epoch", "step", "loss", "dev_score"):
            assert after.get(key, 0) == pytest.approx(before.get(key, 0), abs=1e-3)
    assert one[0][-1]["step"] >= steps
    assert one[1] == other[1]
    for before, after in zip(one[2], other[2], strict=True):
        assert after == pytest.approx(before, abs=1e-2)


@pytest.mark.slow
def test_several_processes_have_the_curve_of_one(curves: Path) -> None:
    """For models of texts, of articles with dyads, and with a teacher and averaged weights; three
    processes can't share the batches evenly, and some batches have too few articles for all. The
    average is the same in all processes, and one of them writes it.
    """
    alone = _read(curves / "1")
    for kind, found in _read(curves / "3").items():
        _assert_alike(alone[kind], found, KINDS[kind])
    (first, wrote), *others = (json.loads((curves / f"3/averages-{rank}.json").read_text()) for rank in range(3))
    assert wrote == [0] * 3 == [0] * len(first)
    assert others == [[first, []]] * 2


def test_the_parts_of_a_batch_have_the_mean_of_the_whole() -> None:
    """Weighted by labelled rows, however unevenly they are shared; a part without any counts
    nothing.
    """
    chance, scheme = random.Random(1), tiny.scheme()
    torch.manual_seed(0)
    logits = {"topic": torch.randn(12, 2), "stance": torch.randn(12, 3)}
    gold = {task.name: torch.tensor([chance.randrange(-1, len(task)) for _ in range(12)]) for task in scheme}
    gold["topic"][8:] = -1
    weights = {"topic": torch.tensor([0.5, 2.0]), "stance": None}
    parts, counts = [slice(0, 3), slice(3, 8), slice(8, 12)], list[list[torch.Tensor]]()

    def of(rows: slice, share: Callable[[torch.Tensor], Any]) -> torch.Tensor:
        named = [{name: table[rows] for name, table in tables.items()} for tables in (logits, gold)]
        return loss(*named, scheme, weights, 0.1, share)  # type: ignore[arg-type]

    for rows in parts:
        counts.append([])
        of(rows, lambda count: counts[-1].append(count) or 1.0)
    totals = [sum(column) for column in zip(*counts, strict=True)]
    for own in counts:
        shares = iter([count * len(parts) / total for count, total in zip(own, totals, strict=True)])
        own.append(of(parts[counts.index(own)], lambda count, shares=shares: next(shares)))
    mean = sum(own[-1] for own in counts) / len(parts)
    torch.testing.assert_close(mean, loss(logits, gold, scheme, weights, 0.1))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("launcher=dpd",), ("launcher", "'dpd'", "ddp")),
        (("launcher=ddp", "processes=0"), ("processes", "0")),
        (("launcher=ddp", "processes=two"), ("processes", "'two'", "whole number")),
        (("launcher=ddp",), ("0 processes", "0 GPUs", "give processes=2")),
        (("launcher=ddp", "processes=1"), ("1 processes", "give processes=2")),
        # Without GPUs these libraries would silently train as launcher=ddp does.
        pytest.param(
            ("launcher=fsdp", "processes=2", "training.ema_decay=null"),
            ("launcher=fsdp", "GPUs", "launcher=ddp"),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs"),
        ),
        (("processes=64",), ("64 processes", "16 sentences", "to 16")),
        (("launcher=ddp", "processes=2", "folds=2"), ("folds", "launcher=")),
        (("launcher=fsdp", "processes=2", "training.ema_decay=0.9"), ("training.ema_decay", "launcher=ddp")),
        (("launcher=fsdp", "processes=2", "training.ema_decay=null", "fsdp=null"), ("launcher=fsdp", "fsdp=", "launcher=ddp")),
    ],
)
def test_processes_that_can_not_train_together_are_refused(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], named: tuple[str, ...]
) -> None:
    """In one sentence, before anything is prepared or started."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    write_corpus(tmp_path, 8)
    done = run_here(*recipe(bert, *words), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert all(part in done.stderr for part in named), done.stderr
    assert not (tmp_path / "experiments").exists()


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE"])
def test_a_place_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A shell variable of the same name may have such a value."""
    monkeypatch.setenv(name, "abc")
    write_corpus(tmp_path, 8)
    done = run_here("train", *LINEAR, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [word for word in (name, "abc", "unset") if word not in done.stderr] == []


@pytest.mark.slow
def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    """Only the first of torchrun's processes reports it."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launcher, "-m", "haltung", "train", "corpus=neews"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("did you mean")) == (1, 1), done.stderr


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_mistake_of_a_later_process_waits_for_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str
) -> None:
    """It is still reported if the first process has not ended it by then."""
    waited: list[str] = []
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr("haltung.cli.time.sleep", lambda _: waited.append(capsys.readouterr().err))
    assert main(["trian"]) == 2
    assert (waited, "did you mean 'train'" in capsys.readouterr().err) == ([""] * int(rank), True)


def test_the_linear_model_is_trained_in_one_process(tmp_path: Path) -> None:
    """It has no batches to share."""
    write_corpus(tmp_path, 8)
    done = run_here("train", *LINEAR, "launcher=ddp", "processes=2", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "model=linear" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_and_it_goes_on(
    bert: Path, tmp_path: Path, new_store: Callable[[Path], Store], monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """SIGKILL after the first checkpoint, of the process that tracks the run or of the other: one
    sentence, a failed run, no process left; when resumed, the same run ends with one bundle.
    """
    write_corpus(tmp_path, 80)
    new_store(tmp_path)
    words = recipe(bert, "launcher=ddp", "processes=2", "seed=1", "training.ema_decay=0.5")
    for name, value in {"CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "4"}.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "said").open("w") as said:
        launched = subprocess.Popen([sys.executable, "-m", "haltung", *words], cwd=tmp_path, stdout=said, stderr=said)
    while not list(tmp_path.glob("experiments/runs/tiny-1-*/checkpoints/checkpoint-*/trainer_state.json")):
        assert launched.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.05)
    children = psutil.Process(launched.pid).children(recursive=True)
    (victim,) = (child for child in children if child.environ().get("RANK") == str(rank))
    assert [victim.environ()[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")] == ["2", "PASSIVE"]
    victim.send_signal(signal.SIGKILL)
    assert launched.wait() == 1
    text = (tmp_path / "said").read_text()
    assert "Traceback" not in text
    assert f"process {rank} of 2" in text
    assert "SIGKILL" in text
    assert "resume=true" in text
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    failed: Any = find_run(tmp_path, "tiny-1")
    # The error is that of the remaining process, or the launcher's if torchrun has ended it first.
    said_by = [f"process {rank} of 2 has ended (SIGKILL)"] + ["another process of this training has ended"] * rank
    assert (failed.status, any(why in failed.tags["haltung.error"] for why in said_by)) == ("FAILED", True), failed.tags
    if rank:  # resuming works the same way in both cases
        return
    resumed = run_here(*words, "resume=true", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    run: Any = find_run(tmp_path, "tiny-1")
    assert (run.id, run.status) == (failed.id, "FINISHED")
    epochs = run.connection.client.get_metric_history(run.id, "epoch")
    assert {point.value for point in epochs if point.value == int(point.value)} >= {1.0, 2.0, 3.0, 4.0}
    assert len(run.connection.client.get_metric_history(run.id, "dev_score")) == 4
    (folder,) = tmp_path.glob("experiments/runs/*/bundle")
    assert len(bundle.load(folder).predict([replace(row, labels={}) for row in tiny.segments(3)])) == 3


def test_no_more_processes_are_started_than_there_are_gpus(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them would share a GPU, and fail."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    write_corpus(tmp_path, 8)
    done = run_here(*recipe(bert, "processes=3"), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert all(part in done.stderr for part in ("3 processes", "2 to 2", "2 GPUs")), done.stderr


def test_one_process_uses_one_of_several_gpus(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Trainer would wrap the network in DataParallel, which can't split our batches."""
    rows, batch = _Rows(tiny.network(bert), tiny.segments(8), Training(), 1), Training().batch_size
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    arguments = _arguments(Training(), tmp_path, 1, 1)
    assert (arguments.n_gpu, arguments.train_batch_size, arguments.parallel_mode) == (1, batch, ParallelMode.NOT_PARALLEL)
    trainer = _Trainer(rows, [], Training(), arguments, lambda point: None)
    assert trainer._wrap_model(rows.model.network) is rows.model.network
    plain = Trainer(rows.model.network, TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"))
    assert isinstance(plain._wrap_model(rows.model.network), torch.nn.DataParallel)


@pytest.mark.slow
def test_it_is_said_that_other_gpus_are_idle(
    bert: Path, tmp_path: Path, new_store: Callable[[Path], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the key that uses them; the linear model needs none and says nothing."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    write_corpus(tmp_path, 40)
    new_store(tmp_path)
    done = run_here(*recipe(bert, "seed=1", "training.epochs=1"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one of 2 GPUs" in done.stderr
    assert "processes=2" in done.stderr
    linear = run_here("train", *LINEAR, "folds=1", cwd=tmp_path)
    assert linear.returncode == 0, linear.stderr
    assert "GPU" not in linear.stderr
