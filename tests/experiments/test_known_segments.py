"""A model's list of training segments is passed on: from teachers, members and initial encoders to
the models made of them, and to exported bundles.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from command_line import CORPUS, recipe, run_here, write_corpus
from haltung.cli import main
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.records import Segment

pytestmark = pytest.mark.slow

# Segments that only the teacher has learned from.
ELSEWHERE = [Segment(str(number), f"Peru lobt Haus {number} .") for number in range(5)]


@pytest.fixture(scope="module")
def made(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student, a model trained from the student's encoder, their ensemble, and the folder that
    has them and the student's teacher.
    """
    home = tmp_path_factory.mktemp("known")
    write_corpus(home)
    linear = fit(tiny.segments(40), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    bundle.save(linear, home / "teacher", {"corpus_digest": "another"}, ELSEWHERE)

    def bundle_of(*words: str) -> Path:
        done = run_here(*words, cwd=home)
        assert done.returncode == 0, done.stderr
        (folder,) = home.glob(f"experiments/runs/{words[-1].removeprefix('name=')}-*/bundle")
        return folder

    words = recipe(bert, "training.epochs=1")
    student = bundle_of(*words, "teacher=teacher", "name=student")
    again = bundle_of(*words, f"encoder.path={student}", "name=again")
    both = bundle_of("ensemble", *CORPUS, f"members=[{student},{again}]", "name=both")
    return {"home": home, "student": student, "again": again, "both": both}


@pytest.mark.parametrize("model", ["student", "again", "both"])
def test_a_model_knows_what_those_have_learned_that_it_is_made_of(made: dict[str, Path], model: str) -> None:
    """Even if it has not read the segments itself."""
    assert bundle.known_segments(made[model], [*ELSEWHERE, Segment("new", "Rom schweigt.")]) == [one.id for one in ELSEWHERE]


def test_a_linear_model_takes_nothing_from_an_encoder_that_it_has_none_of(made: dict[str, Path]) -> None:
    """Even if ``encoder`` is given."""
    words = ("train", *CORPUS, "model=linear", "model.min_count=1", "encoder=bundle", f"encoder.path={made['student']}", "name=linear")
    assert run_here(*words, cwd=made["home"]).returncode == 0
    (folder,) = made["home"].glob("experiments/runs/linear-*/bundle")
    assert bundle.known_segments(folder, ELSEWHERE) == []


def test_an_exported_bundle_has_the_list_too(made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list is the same; without it, ``verify`` fails."""
    teacher = made["home"] / "teacher"
    done = run_here("export", f"bundle={teacher}", *CORPUS, f"to={tmp_path / 'b'}", cwd=made["home"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b" / bundle.LEARNED).read_bytes() == (teacher / bundle.LEARNED).read_bytes()
    assert bundle.LEARNED in bundle.describe(tmp_path / "b")["files"]
    assert bundle.known_segments(tmp_path / "b", ELSEWHERE) == [one.id for one in ELSEWHERE]
    assert main(["verify", f"bundle={tmp_path / 'b'}"]) == 0
    (tmp_path / "b" / bundle.LEARNED).unlink()
    capsys.readouterr()
    assert main(["verify", f"bundle={tmp_path / 'b'}"]) == 1
    assert bundle.LEARNED in capsys.readouterr().err
