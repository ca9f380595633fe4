"""The command line as a user sees it: what it lists, what it refuses, and the complete path from a
file of texts to a tracked classifier.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from command_line import CORPUS, files_with_texts, find_run, haltung, recipe, run_here, write_corpus
from haltung.cli.config import compose
from haltung.cli.train import _try
from haltung.records import Segment

HINTS = ("plots and report:", "look at it:", "open test:", "try it:")


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], object]) -> Path:
    """A folder in which two seeds have been trained and evaluated on test."""
    home = tmp_path_factory.mktemp("home")
    write_corpus(home)
    new_store(home)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COLUMNS", "80")
        done = run_here(*recipe(bert, "seed=1,2"), cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "train.txt").write_text(done.stdout, encoding="utf-8")
    (home / "train.err").write_text(done.stderr, encoding="utf-8")
    done = run_here("evaluate", "run=tiny", "split=test", cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "evaluate.txt").write_text(done.stdout, encoding="utf-8")
    return home


def test_haltung_alone_lists_the_commands(tmp_path: Path) -> None:
    """Each with a description."""
    done = run_here(cwd=tmp_path)
    assert done.returncode == 0
    for command in ("prepare", "train", "evaluate", "predict"):
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["trian"], ["'trian'", "'train'"]),
        (["train", "encoder=gbert"], ["encoder", "'gbert'", "'gbert_base'"]),
        (["train", "enocder=gbert_base"], ["'enocder'"]),
        (["train", "training.epoch=3"], ["'training.epoch'", "'training.epochs'"]),
        (["train", "corpus=jsonl", "corpus.path=x"], ["'corpus.path'", "'corpus.reader.path'"]),
        (["prepare", "corpus.split.dev=viel"], ["corpus.split.dev", "'viel'", "a whole number or a number"]),
        (["prepare", "corpus.reader=3"], ["corpus.reader", "3", "a mapping"]),
        (["evaluate", "language=fr"], ["language", "'fr'", "en, de"]),
        (["train", "model.reads.topic=context"], ["'model.reads.topic'", "'corpus.reads.topic'"]),
        (["train", "training.epochs=drei"], ["training.epochs", "'drei'", "a whole number"]),
        (["train", "training.class_weight=inverted"], ["'inverted'", "'inverse'"]),
        (["train", "model=network", "corpus.pooling.default=maximum"], ["'maximum'", "mean, cls, text"]),
        (["train", "corpus"], ["'corpus'", "key=value"]),
        (["train", "name=a; b"], ["'name=a; b'", "is not key=value", "\"name='a; b'\""]),
        (["train", "corpus=jsonl"], ["corpus.reader.path=…"]),
        (["train", "--gpu"], ["'--gpu'", "--config-dir"]),
        (["train", "--config-dir", "nowhere"], ["--config-dir", "'nowhere'"]),
        (["train", "corpus.labels=diplomcy"], ["'diplomcy'", "'diplomacy'"]),
        (["train", "corpus.tasks=[stanse]"], ["'stanse'", "'stance'", "topic, stance"]),
        (["train", "corpus.tasks=[]"], ["tasks", "(none)", "topic, stance"]),
        (["train", "share=2"], ["share", "less than or equal to 1"]),
        (["train", "folds=3", "splits@corpus.split=group"], ["folds=3", "splits@corpus.split=group"]),
        (["train", "seed=1,1"], ["seed", "1,1"]),
        (["prepare", "corpus=real_news", "sources=nowhere"], ["nowhere"]),
        (["evaluate"], ["run=ID", "bundle=FOLDER"]),
        (["evaluate", "run=x", "split=train"], ["split", "'train'", "dev, test"]),
        (["evaluate", "run=abc"], ["mlflow.db"]),
        (["ensemble"], ["members=[A,B]"]),
        (["predict"], ["text=", "input=FILE.jsonl"]),
        (["predict", "text= "], ["text is empty"]),
        (["predict", "text=Hallo \udce4"], ["'text'", "character 7"]),
        (["predict", "bundle=nowhere", "text=Hallo"], ["nowhere"]),
        (["predict", "bundle=x", "input=nowhere.jsonl"], ["nowhere.jsonl"]),
        (["predict", "run=a", "bundle=b", "text=x"], ["name one of the two"]),
        (["runs", "since=gestern"], ["since", "'gestern'", "7d"]),
        (["serve", "bundle=nowhere"], ["nowhere"]),
        (["serve", "port=1,2"], ["one bundle at a time"]),
        (["label"], ["'label'", "haltung annotate", "issues for labels that look wrong"]),
        (["completion", "tcsh"], ["'tcsh'", "bash, zsh, fish"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path: Path, words: list[str], named: list[str]) -> None:
    """It names what was found and what is allowed; no traceback, and no file is left."""
    done = run_here(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert [part for part in named if part not in done.stderr] == [], done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"text": "a"}\n{"text": ""}\n', "line 2"),
        ('{"text": 3}\n', "'text'"),
        ('{"text": "a", "context": 3}\n', "'context'"),
        ('{"texts": "a"}\n', "'text'"),
        ('{"text": "a\\ud83d"}\n', "character 2"),
        ('{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}\n', "the id '1'"),
        ('["a"]\n', "line 1"),
        ("\n", "no text"),
    ],
)
def test_a_broken_file_of_texts_is_refused_before_a_model_is_loaded(tmp_path: Path, content: str, named: str) -> None:
    """The message has line and reason, even if predictions would go to the terminal."""
    (tmp_path / "in.jsonl").write_text(content, encoding="utf-8")
    done = run_here("predict", "bundle=nowhere", "input=in.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert ("in.jsonl" in done.stderr, named in done.stderr) == (True, True), done.stderr


def test_no_output_is_begun_where_it_could_not_be_written(tmp_path: Path) -> None:
    """A missing folder, or a folder with the file's name, is reported before the work begins."""
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    for output, named in (("nowhere/out.jsonl", "nowhere: no such folder"), (".", "is a directory")):
        done = run_here("predict", "bundle=nowhere", "input=in.jsonl", f"output={output}", cwd=tmp_path)
        assert (done.returncode, named in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b'{"text": "Chile warnt", "topic": "sec', "line 1"),
        (b'{"text": "Chile warnt", "topic": "sport"}\n', "unknown topic 'sport'"),
        (b'{"text": "Chile warnt vor M\xfcll", "topic": "security"}\n', "UTF-8"),
        (b'{"id": 1, "text": "a b", "topic": "security"}\n{"id": 1, "text": "c d", "topic": "security"}\n', "id '1'"),
        (b'{"texts": "Chile warnt", "topic": "security"}\n', "text"),
        (b'{"text": "Chile\x00warnt", "topic": "security"}\n', "line 1"),
    ],
)
def test_a_broken_corpus_stops_the_training_with_file_and_reason(tmp_path: Path, content: bytes, message: str) -> None:
    """Before any model is built."""
    write_corpus(tmp_path)
    (tmp_path / "texts.jsonl").write_bytes(content)
    done = run_here("train", *CORPUS, "model=linear", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "texts.jsonl" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"texts.jsonl", "scheme.yaml"}


def test_all_faults_of_a_scheme_are_named_at_once(tmp_path: Path) -> None:
    """In a single message."""
    write_corpus(tmp_path)
    (tmp_path / "scheme.yaml").write_text("name: x\ntasks:\n  text: {labels: [a, b]}\n  tone: {kind: many, labels: [a, a]}\n")
    done = run_here("train", *CORPUS, "model=linear", cwd=tmp_path)
    assert done.returncode == 2
    for fault in ("3 faults", "task 'text'", "kind is 'many'", "label 'a' occurs twice"):
        assert fault in done.stderr


def test_two_seeds_are_a_parent_run_with_mean_and_spread(trained: Path) -> None:
    """In the terminal and in MLflow."""
    from haltung import tracking

    parent = find_run(trained, "tiny")
    assert [child.name for child in tracking.children(parent)] == ["tiny-1", "tiny-2"]  # type: ignore[arg-type]
    values = [child.metrics["dev/stance_macro_f1"] for child in tracking.children(parent)]  # type: ignore[arg-type]
    assert parent.metrics["dev/stance/macro_f1/mean"] == pytest.approx(sum(values) / 2)  # type: ignore[attr-defined]
    assert "±" in (trained / "train.txt").read_text(encoding="utf-8")


def test_a_run_records_where_it_comes_from(trained: Path) -> None:
    """Config, digests, versions, hardware and the command."""
    record = find_run(trained, "tiny-1")
    assert record.config["training"]["epochs"] == 4  # type: ignore[attr-defined]
    tags = record.tags  # type: ignore[attr-defined]
    manifest = json.loads((trained / "data/prepared/jsonl/manifest.json").read_text(encoding="utf-8"))
    assert tags["haltung.corpus_digest"] == manifest["digest"]
    assert tags["haltung.split_digest.test"] == manifest["digests"]["test"]
    assert tags["haltung.command"].startswith("haltung train corpus=jsonl")
    for key in ("haltung.scheme_digest", "haltung.version.torch", "haltung.hardware.cpu"):
        assert tags[key]


def test_a_run_holds_curves_metrics_plots_and_predictions(trained: Path) -> None:
    """Metrics, plots, report, predictions and a point of the curve per epoch."""
    from haltung import tracking

    record = find_run(trained, "tiny-1")
    names = {path.name for path in tracking.artifact(record, "dev").iterdir()}  # type: ignore[arg-type]
    assert {"evaluation.json", "predictions.parquet", "report.html", "stance_confusion.png", "curves.png"} <= names
    history = record.connection.client.get_metric_history(record.id, "dev_stance_macro_f1")  # type: ignore[attr-defined]
    assert [point.step for point in history] == sorted({point.step for point in history})
    assert len(history) == 4


def test_the_registered_model_loads_and_answers_in_another_place(trained: Path, tmp_path: Path) -> None:
    """``mlflow.pyfunc.load_model`` gives the probabilities of the run's bundle, without that bundle
    and without the corpus.
    """
    record = find_run(trained, "tiny-1")
    text = "Chile warnt die Marine ."
    (trained / "in.jsonl").write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    expected = json.loads(run_here("predict", "run=tiny-1", "input=in.jsonl", cwd=trained).stdout)["probabilities"]["stance"]
    code = (
        "import json, mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]);"
        "answer = mlflow.pyfunc.load_model(sys.argv[2]).predict([{'text': sys.argv[3]}]);"
        "print(json.dumps(json.loads(answer['probabilities'].iloc[0])['stance']))"
    )
    uri = record.tags["haltung.bundle"]  # type: ignore[attr-defined]
    hidden = [path.rename(path.with_name(f".{path.name}")) for path in (trained / "experiments/runs", trained / "data")]
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, f"sqlite:///{trained / 'experiments/mlflow.db'}", uri, text],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
    finally:
        for path in hidden:
            path.rename(path.with_name(path.name[1:]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.strip().splitlines()[-1]) == pytest.approx(expected, abs=1e-5)


def test_commands_to_copy_are_printed_on_one_line(trained: Path) -> None:
    """Whatever the width of the terminal: a wrapped command could not be copied."""
    hints = {label: line for line in (trained / "train.txt").read_text(encoding="utf-8").splitlines() for label in HINTS if label in line}
    assert {*hints} == {*HINTS}
    *words, text = shlex.split(hints["try it:"].partition(":")[2])
    assert words[:2] == ["haltung", "predict"]
    assert text == "text=Die USA warnen Russland vor einem Angriff."
    assert re.fullmatch(r"open test: +haltung evaluate run=[0-9a-f]{8} split=test", hints["open test:"])
    assert Path(hints["plots and report:"].partition(": ")[2].strip()).name == "report.html"
    assert max(map(len, hints.values())) > 80


def test_on_a_terminal_the_text_to_try_is_one_of_the_corpus() -> None:
    """The first that fits on one line; if output is not a terminal, a fixed sentence."""
    texts = ["Chile lobt\nPeru .", "Chile warnt " * 20, "Ghana kennt Laos .", "Malta mahnt Peru ."]
    outcome = SimpleNamespace(run="0123456789")
    shown = []
    for is_terminal in (True, False):
        screen = io.StringIO()
        screen.isatty = lambda answer=is_terminal: answer  # type: ignore[method-assign]
        with contextlib.redirect_stdout(screen):
            _try(outcome, [Segment(text, text) for text in texts])  # type: ignore[arg-type]
        shown.append(shlex.split(screen.getvalue())[-1])
    assert shown == ["text=Ghana kennt Laos .", "text=Die USA warnen Russland vor einem Angriff."]


def test_no_sentence_is_printed_or_tracked(trained: Path) -> None:
    """Neither on the terminal nor in the runs of a network; local reports have them."""
    printed = ("train.txt", "train.err", "evaluate.txt")
    assert files_with_texts(trained, "experiments/artifacts", "experiments/mlflow.db", *printed) == set()
    # Otherwise the check above could not find any.
    assert {"predictions.parquet", "report.html", "examination.json"} <= files_with_texts(trained, "experiments/reports")


def test_nothing_is_left_outside_the_folders_of_data_and_experiments(trained: Path) -> None:
    """Apart from files written by the tests themselves."""
    given = {"texts.jsonl", "scheme.yaml", "train.txt", "train.err", "evaluate.txt", "in.jsonl", "out.jsonl"}
    left = {path.name for path in trained.iterdir()} - given
    assert left == {"data", "experiments"}


def test_test_is_opened_by_evaluate_only(trained: Path) -> None:
    """Training logs no metric of test; evaluate adds them to the runs of seeds and parent."""
    record = find_run(trained, "tiny-1")
    assert 0 < record.metrics["test/stance_macro_f1"] <= 1  # type: ignore[attr-defined]
    assert "test" not in (trained / "train.txt").read_text(encoding="utf-8").split("open test")[0].replace("latest", "")
    assert "±" in (trained / "evaluate.txt").read_text(encoding="utf-8")


def test_a_changed_corpus_is_not_taken_for_the_trained_one(trained: Path) -> None:
    """Its test split differs from the run's, and scoring on another one has to be requested."""
    path = trained / "texts.jsonl"
    before = path.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in before.splitlines()]
    last = next(row for row in reversed(rows) if row["split"] == "test")
    last["text"] = "Peru lobt den Zoll in Laos am 999. Mai ."
    try:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        refused = run_here("evaluate", "run=tiny-1", cwd=trained)
    finally:
        path.write_text(before, encoding="utf-8")
    assert refused.returncode == 2
    assert "is not that of the run tiny-1" in refused.stderr


def test_a_model_is_not_scored_on_a_corpus_with_another_scheme(trained: Path) -> None:
    """The message names both schemes."""
    refused = run_here("evaluate", "run=tiny-1", "corpus=challenge", cwd=trained)
    assert refused.returncode == 2
    assert "the model has the scheme 'tiny'" in refused.stderr
    assert "'diplomacy'" in refused.stderr


@pytest.mark.slow
def test_some_tasks_of_a_scheme_are_learned_alone(tmp_path: Path, new_store: Callable[[Path], object]) -> None:
    """The model has only these tasks and is scored on them; for another corpus, a message says how
    to select them.
    """
    write_corpus(tmp_path, 80)
    new_store(tmp_path)
    done = run_here("train", *CORPUS, "corpus.tasks=[stance]", "model=linear", "name=alone", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scored = run_here("evaluate", "run=alone-42", "split=test", "error_analysis=false", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert ("stance" in scored.stdout, "topic" in scored.stdout) == (True, False)
    elsewhere = ("evaluate", "run=alone-42", *CORPUS, "corpus.name=whole", "split=test", "error_analysis=false")
    refused = run_here(*elsewhere, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "for only its tasks, give corpus.tasks=[stance]" in refused.stderr
    accepted = run_here(*elsewhere, "corpus.tasks=[stance]", cwd=tmp_path)
    assert accepted.returncode == 0, accepted.stderr


def test_predict_labels_a_text_in_both_languages(trained: Path) -> None:
    """Names of labels are in the given language."""
    words = ("predict", "text=Chile warnt die Marine in Peru am 3. Mai .", "run=tiny-1")
    assert "Security" in run_here(*words, cwd=trained).stdout
    assert "Sicherheit" in run_here(*words, "language=de", cwd=trained).stdout


def test_predict_labels_a_file(trained: Path) -> None:
    """One line for each line of input, with labels and probabilities that sum to 1."""
    (trained / "in.jsonl").write_text('{"id": "x", "text": "Chile warnt die Marine ."}\n{"text": "Peru lobt den Zoll ."}\n')
    done = run_here("predict", "run=tiny", "input=in.jsonl", "output=out.jsonl", cwd=trained)
    rows = [json.loads(line) for line in (trained / "out.jsonl").read_text().splitlines()]
    assert done.returncode == 0, done.stderr
    assert [row["id"] for row in rows] == ["x", "2"]
    assert all(sum(row["probabilities"][task].values()) == pytest.approx(1) for row in rows for task in ("topic", "stance"))


@pytest.mark.slow
def test_three_trainings_at_the_same_moment_on_a_fresh_database_all_succeed(tmp_path: Path) -> None:
    """Each has a finished run."""
    write_corpus(tmp_path, 80)
    assert run_here("prepare", *CORPUS, cwd=tmp_path).returncode == 0
    words = [sys.executable, "-m", "haltung", "train", *CORPUS, "corpus.tasks=[stance]", "model=linear"]
    running = [
        subprocess.Popen([*words, f"name=one-{n}"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert {find_run(tmp_path, f"one-{n}-42").status for n in range(3)} == {"FINISHED"}  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_killed_run_goes_on_in_the_same_run_and_ends_the_same(
    trained: Path, bert: Path, tmp_path: Path, new_store: Callable[[Path], object]
) -> None:
    """SIGKILL after the second epoch; with ``resume=true``, the metrics equal those of an
    uninterrupted training, and the id stays.
    """
    write_corpus(tmp_path)
    new_store(tmp_path)
    words = [sys.executable, "-m", "haltung", *recipe(bert, "seed=1")]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch 2 of 4" in line:
                # the checkpoint of this epoch is being written: wait for its last file
                state = next((tmp_path / "experiments/runs").glob("tiny-1-*"))
                while len(list(state.glob("checkpoints/checkpoint-*/trainer_state.json"))) < 1:
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                break
    killed = find_run(tmp_path, "tiny-1")
    resumed = run_here(*words[3:], "resume=true", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    first, second = find_run(tmp_path, "tiny-1"), find_run(trained, "tiny-1")
    assert first.id == killed.id  # type: ignore[attr-defined]
    assert first.status == "FINISHED"  # type: ignore[attr-defined]
    figures = [{k: v for k, v in r.metrics.items() if k.startswith("dev")} for r in (first, second)]  # type: ignore[attr-defined]
    assert figures[0] == figures[1]


def test_a_finished_training_is_not_trained_again_by_resume(trained: Path, bert: Path) -> None:
    """A message says so and shows the existing metrics."""
    again = run_here(*recipe(bert, "seed=1", "resume=true"), cwd=trained)
    assert again.returncode == 0, again.stderr
    assert "this training had already ended" in again.stdout


@pytest.mark.slow
def test_seeds_that_were_trained_one_by_one_become_parts_of_one_run(tmp_path: Path, new_store: Callable[[Path], object]) -> None:
    """First one seed, then two with resume: the parent has both, and evaluate scores both."""
    write_corpus(tmp_path)
    new_store(tmp_path)
    words = ("train", *CORPUS, "model=linear", "name=tiny")
    assert run_here(*words, "seed=1", cwd=tmp_path).returncode == 0
    both = run_here(*words, "seed=1,2", "resume=true", cwd=tmp_path)
    assert both.returncode == 0, both.stderr
    scored = run_here("evaluate", "run=tiny", "split=dev", "error_analysis=false", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert "2 runs" in scored.stdout


def test_a_model_that_predicts_one_class_only_says_so_loudly(bert: Path, tmp_path: Path, new_store: Callable[[Path], object]) -> None:
    """With a learning rate too small to learn, every segment gets the same label."""
    write_corpus(tmp_path)
    new_store(tmp_path)
    done = run_here(*recipe(bert, "encoder.encoder_rate=1e-12", "encoder.head_rate=1e-12", "training.epochs=1"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "predicted" in done.stdout
    assert "every one of" in " ".join(done.stdout.split())


def test_own_configs_are_found_beside_ours(tmp_path: Path) -> None:
    """``--config-dir`` adds choices; a scheme is found beside the config or in that folder."""
    write_corpus(tmp_path)
    (tmp_path / "mine/corpus").mkdir(parents=True)
    (tmp_path / "scheme.yaml").rename(tmp_path / "mine/corpus/scheme.yaml")
    ours = Path(__file__).resolve().parents[2] / "configs/corpus/jsonl.yaml"
    text = ours.read_text(encoding="utf-8").replace("path: ???", "path: texts.jsonl").replace("labels: diplomacy", "labels: scheme.yaml")
    (tmp_path / "mine/corpus/meins.yaml").write_text(text.replace("name: jsonl", "name: meins"), encoding="utf-8")
    done = run_here("prepare", "corpus=meins", "--config-dir", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/prepared/meins/manifest.json").is_file()
    (tmp_path / "mine/corpus/scheme.yaml").rename(tmp_path / "mine/scheme.yaml")
    assert compose("prepare", ["corpus=meins"], tmp_path / "mine").corpus.labels == str(tmp_path / "mine/scheme.yaml")
    assert "path: texts.jsonl" in run_here("prepare", "corpus=meins", "--config-dir", "mine", "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(("word", "key"), [("corpus=csv", "quotechar"), ("table=a.xlsx", "coders"), ("model=linear", "min_count")])
def test_the_help_of_a_choice_has_its_keys(tmp_path: Path, word: str, key: str) -> None:
    """These keys are in no command's own config."""
    shown = run_here("train", word, "--help", cwd=tmp_path).stdout
    assert f" {key}:" in shown
    assert f" {key}:" not in run_here("train", "--help", cwd=tmp_path).stdout
    assert "defaults:" not in shown


def test_completion_offers_commands_groups_and_choices(tmp_path: Path) -> None:
    """For the given beginning of a command line."""
    assert run_here("__complete", "haltung tr", cwd=tmp_path).stdout.split() == ["train"]
    assert "encoder=gbert_base" in run_here("__complete", "haltung train encoder=gb", cwd=tmp_path).stdout.split()
    assert "training.epochs=" in run_here("__complete", "haltung train training.ep", cwd=tmp_path).stdout.split()


def test_the_completion_script_is_accepted_by_bash(tmp_path: Path) -> None:
    """Its syntax is valid; the scripts for zsh and fish are as short, and not checked here."""
    script = haltung("completion", "bash", cwd=tmp_path).stdout
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False, env=os.environ)
    assert (done.returncode, done.stderr) == (0, "")
