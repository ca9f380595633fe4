"""Promotion: the champion is replaced only by a model that is not found worse, in a local database
and on a real server.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import exported
import tiny
from command_line import store_in
from haltung import tracking
from haltung.cli import main
from haltung.errors import UserError
from haltung.evaluation.predictions import ScoredSplit, write_predictions
from haltung.experiments import compare as promotion
from haltung.tracking.models import log_exported, set_alias, version_of_alias
from scored_runs import OTHER_SCHEME, SCHEME, scored_split


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle; its answers don't matter, since runs are compared by their stored
    predictions.
    """
    return exported.write(tmp_path_factory.mktemp("promote") / "bundle", SCHEME.to_dict())


@pytest.fixture(scope="module")
def home(bundle: Path, tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], tracking.Store]) -> Path:
    """A folder with evaluated and exported runs; ``mixed`` is poor at one of two tasks."""
    folder = tmp_path_factory.mktemp("home")
    store, good, poor = new_store(folder), scored_split(0.85, 1), scored_split(0.6, 10)
    for name, given in {
        "good": good, "like": scored_split(0.84, 2), "poor": poor, "unscored": None,
        "foreign": dataclasses.replace(good, scheme=OTHER_SCHEME),
        "mixed": dataclasses.replace(good, probabilities={**good.probabilities, "stance": poor.probabilities["stance"]}),
    }.items():  # fmt: skip
        _run(store, folder, bundle, name, given)
    _run(store, folder, None, "unexported", good)
    with tracking.run(store, "seeds", tags={"haltung.kind": "seeds", "haltung.corpus": "news"}) as parent:
        _run(store, folder, None, "seeds-1", good, parent=parent)
    return folder


@pytest.fixture
def clean(home: Path) -> Iterator[Path]:
    """The same folder, without a champion before and after."""
    connection = tracking.open_store(store_in(home))
    yield home
    if version_of_alias(connection, "champion"):
        connection.client.delete_registered_model_alias("haltung", "champion")


def _run(
    store: tracking.Store, folder: Path, bundle: Path | None, name: str, given: ScoredSplit | None, parent: tracking.Run | None = None
) -> None:  # fmt: skip
    tags = {"haltung.kind": "train", "haltung.corpus": "news"}
    with tracking.run(store, name, parent, tags) as run:
        if given is not None:
            run.tags({"haltung.digest.test": "d" * 64})
            run.artifact(write_predictions(folder / name / "predictions.parquet", given), "evaluation/test")
    if bundle is not None:
        log_exported(run.connection, run.id, bundle, tiny.segments(2))


def _promoted(store: tracking.Store, run: str, **more: object) -> promotion.Promotion:
    plan = promotion.consider(store, run, "champion", **more)  # type: ignore[arg-type]
    promotion.carry_out(plan, ["promote", f"run={run}"])
    return plan


def _champion(store: tracking.Store) -> str:
    """Return the name of the run whose version is the champion, "" if there is none."""
    found = version_of_alias(tracking.open_store(store), "champion")
    return tracking.find(store, found.run).name if found else ""


def test_the_first_champion_is_set_at_once(clean: Path) -> None:
    """A note says that there is nothing to compare with; the version's tags say when and why."""
    store = store_in(clean)
    found = _promoted(store, "unscored")
    assert (found.old, found.comparison) == (None, None)
    assert "no version of haltung is the champion yet" in found.note
    assert _champion(store) == "unscored"
    tags = version_of_alias(tracking.open_store(store), "champion").tags
    assert tags["haltung.promoted_why"] == found.note
    assert tags["haltung.promoted_with"] == "haltung promote run=unscored"


def test_what_is_not_worse_becomes_champion(clean: Path) -> None:
    """A better model, and one that is not distinguishable."""
    store = store_in(clean)
    _promoted(store, "poor")
    better = _promoted(store, "like")
    assert better.verdicts()[0].startswith("Stance: like is better than poor (macro-F1 +0.")
    open_ = _promoted(store, "good")
    assert open_.verdicts()[0].startswith("Stance: good and like: not distinguishable")
    assert (_champion(store), version_of_alias(tracking.open_store(store), "champion").tags["haltung.promoted_over"]) == (
        "good",
        better.new.version,
    )


def test_every_task_counts(clean: Path) -> None:
    """Including multi-label tasks."""
    store = store_in(clean)
    _promoted(store, "good")
    assert promotion.consider(store, "poor", "champion").worse == ("stance", "themes")


def test_one_worse_task_is_enough_to_be_refused(clean: Path) -> None:
    """Even if the other task is as good as the champion's."""
    store = store_in(clean)
    _promoted(store, "good")
    plan = promotion.consider(store, "mixed", "champion")
    assert (plan.worse, plan.allowed) == (("stance",), False)
    with pytest.raises(UserError, match="worse than today's champion in stance"):
        promotion.carry_out(plan, [])
    assert _champion(store) == "good"


def test_what_is_worse_is_refused_and_nothing_is_changed(clean: Path) -> None:
    """Unless forced."""
    store = store_in(clean)
    _promoted(store, "good")
    found = promotion.consider(store, "poor", "champion")
    assert not found.allowed
    with pytest.raises(UserError, match="poor was found to be worse than today's champion in stance, themes"):
        promotion.carry_out(found, [])
    assert _champion(store) == "good"
    _promoted(store, "poor", forced=True)
    assert _champion(store) == "poor"


def test_the_champion_itself_needs_no_comparison(clean: Path) -> None:
    """Neither the same version, nor a newer export of the same run."""
    store = store_in(clean)
    first = _promoted(store, "unscored")
    same = promotion.consider(store, "unscored", "champion")
    assert (same.changes, "is the champion already" in same.note) == (False, True)
    log_exported(tracking.open_store(store), first.record.id, exported.write(clean / "newer", SCHEME.to_dict()), tiny.segments(2))
    newer = _promoted(store, "unscored")
    assert "come from the same run" in newer.note
    assert int(newer.new.version) > int(first.new.version)


@pytest.mark.parametrize(
    ("champion", "run", "message"),
    [
        ("good", "unscored", r"the run unscored \(\w{8}\) has no predictions for test; run haltung evaluate run=\w{8} split=test"),
        ("unscored", "good", r"the run unscored \(\w{8}\) has no predictions for test"),
        ("good", "foreign", "foreign and good can't be compared: their label schemes differ"),
        ("good", "unexported", r"unexported \(\w{8}\) has no exported version .* haltung export run=\w{8} to=FOLDER register=true"),
        ("good", "seeds", "seeds stands for several trainings, but only one model can be promoted; name one of them: seeds-1"),
        ("good", "gooood", "there is no run 'gooood'"),
    ],
)
def test_what_cannot_be_promoted_is_refused_by_name(clean: Path, champion: str, run: str, message: str) -> None:
    """The message says what to do, and the champion does not change."""
    store = store_in(clean)
    _promoted(store, champion)
    with pytest.raises(UserError, match=message):
        promotion.consider(store, run, "champion")
    assert _champion(store) == champion


def test_force_goes_ahead_without_a_comparison(clean: Path) -> None:
    """A note says why there was no comparison."""
    store = store_in(clean)
    _promoted(store, "good")
    assert _promoted(store, "unscored", forced=True).note.startswith("not compared: the run unscored")
    assert _champion(store) == "unscored"


def test_a_champion_without_a_run_is_refused(clean: Path) -> None:
    """Such a version was registered by hand."""
    store = store_in(clean)
    connection = tracking.open_store(store)
    made = connection.client.create_model_version("haltung", source=str(clean / "experiments/artifacts"))
    set_alias(connection, "champion", dataclasses.replace(promotion.consider(store, "good", "other").new, version=str(made.version)), {})
    with pytest.raises(UserError, match="the champion, does not name its run, so it can't be compared; force=true"):
        promotion.consider(store, "good", "champion")


def test_without_a_name_nothing_can_be_registered(home: Path, bundle: Path) -> None:
    """The message names the key."""
    store = dataclasses.replace(store_in(home), model=None)
    with pytest.raises(UserError, match=r"tracking\.model is null"):
        promotion.consider(store, "good", "champion")
    with pytest.raises(UserError, match=r"tracking\.model is null"):
        log_exported(tracking.open_store(store), "0" * 32, bundle, tiny.segments(2))


def test_the_command_says_the_verdict_and_what_has_changed(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 if the alias points to the run's version, 1 if it was refused; dry=true changes
    nothing.
    """
    monkeypatch.chdir(clean)

    def promote(*words: str) -> tuple[int, str]:
        code = main(["promote", *words])
        return code, " ".join(capsys.readouterr().out.split())

    assert promote("run=good", "dry=true")[1].endswith("(good) (dry=true, so nothing was changed)")
    assert _champion(store_in(clean)) == ""
    code, first = promote("run=good")
    assert (code, "champion: none -> haltung version" in first) == (0, True)
    code, refused = promote("run=poor")
    kept = re.fullmatch(r".*champion: haltung version \d+ .*stays; poor is worse in stance, themes \(force=true promotes.*", refused)
    assert (code, bool(kept)) == (1, True), refused
    assert "Verdicts rest on macro-F1 alone" in refused
    code, forced = promote("run=poor", "force=true")
    assert (code, "(poor), although worse in stance, themes" in forced) == (0, True)
    assert promote("run=poor")[1].endswith("nothing changed")
    assert main(["promote"]) == 2
    assert "name the run whose exported model should be promoted" in capsys.readouterr().err
    assert main(["promote", "run=good", "alias=v1"]) == 2
    assert "refused" in capsys.readouterr().err


@pytest.fixture
def server(tmp_path: Path, mlflow_database: Path) -> Iterator[str]:
    """The address of an MLflow server with a new database and folder of artifacts."""
    shutil.copy(mlflow_database, tmp_path / "server.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "files"), "--host", "127.0.0.1", "--port", str(port)]
    own = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=own, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _until(lambda: urllib.request.urlopen(f"{address}/health", timeout=1).close(), process, tmp_path / "log")
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=20)


def _until(answers: Callable[[], None], process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1800):
        try:
            return answers()
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.mark.slow
def test_a_server_holds_the_champion_too(server: str, bundle: Path, tmp_path: Path) -> None:
    """Over HTTP: the first model, a better one, a worse one."""
    store = tracking.Store(server, artifacts=None)
    _run(store, tmp_path, bundle, "poor", scored_split(0.6, 10))
    _run(store, tmp_path, bundle, "good", scored_split(0.85, 1))
    assert _promoted(store, "poor").old is None
    assert _promoted(store, "good").old.version == "1"
    assert _champion(store) == "good"
    assert promotion.consider(store, "poor", "champion").worse == ("stance", "themes")
