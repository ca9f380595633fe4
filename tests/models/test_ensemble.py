"""Ensembles: pooling of probabilities, fitting of weights, and the command that makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import log_loss

import tiny
from command_line import CORPUS, run_here, write_corpus
from haltung.actors.finder import Actors
from haltung.cli import main
from haltung.errors import UserError
from haltung.labels import Scheme, parse
from haltung.models import bundle, linear
from haltung.models.ensemble import EnsembleModel, Member, mean_actors, pool
from haltung.models.predictor import Calibration, Model
from haltung.models.spec import LinearSpec
from haltung.records import ActorAnswer, Segment

SCHEME = tiny.scheme()
MULTI = parse({"name": "many", "tasks": {"themes": {"labels": ["a", "b"], "kind": "multi"}}})


EQUAL = {"topic": (0.5, 0.5), "stance": (0.5, 0.5)}


class Fixed(Model):
    """A model with given probabilities."""

    kind = "fixed"

    def __init__(self, values: Mapping[str, np.ndarray], scheme: Scheme = SCHEME) -> None:
        """``values`` are the probabilities of each task, ``[segments, labels]``."""
        self.values, self.scheme, self.calibration = values, scheme, Calibration()

    def probabilities(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return the given probabilities."""
        return dict(self.values)

    def write(self, folder: Path) -> dict[str, object]:
        """Not called here."""
        raise AssertionError


def stances(*rows: Sequence[float] | np.ndarray) -> Fixed:
    """Return a model of the tiny scheme with these stance probabilities and uniform topic
    probabilities.
    """
    return Fixed({"stance": np.array(rows, dtype=float), "topic": np.full((len(rows), 2), 0.5)})


def labelled(*labels: str | None) -> list[Segment]:
    """Return segments with these stances, without a topic."""
    return [Segment(f"s{place}", "Text.", {"stance": label}) for place, label in enumerate(labels)]


def of(*models: Fixed) -> list[Member]:
    """Return the models as named members."""
    return [Member(f"m{place}", model) for place, model in enumerate(models)]


def test_answers_are_multiplied_each_to_the_power_of_its_weight() -> None:
    """As the logarithmic pool computed by hand."""
    one, other = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.6, 0.3])
    model = EnsembleModel(of(stances(one), stances(other)), {"stance": [0.5, 2.0], "topic": [1.0, 1.0]}, SCHEME)
    expected = one**0.5 * other**2
    assert model.probabilities(labelled(None))["stance"][0] == pytest.approx(expected / expected.sum())
    assert model.predict(labelled(None))[0].labels["stance"] == "support"


def test_of_several_labels_the_odds_are_multiplied() -> None:
    """For each label separately."""
    one, other = np.array([[0.9, 0.2]]), np.array([[0.6, 0.4]])
    members = of(Fixed({"themes": one}, MULTI), Fixed({"themes": other}, MULTI))
    model = EnsembleModel(members, {"themes": [0.5, 1.5]}, MULTI)
    assert model.probabilities(labelled(None))["themes"] == pytest.approx(expit(0.5 * logit(one) + 1.5 * logit(other)))


def test_what_one_member_holds_for_impossible_another_may_still_say() -> None:
    """A linear model gives probability 0 to a label that its training set lacks."""
    model = EnsembleModel(of(stances([1, 0, 0]), stances([0.01, 0.98, 0.01])), {"stance": [0.2, 1.0], "topic": [1, 1]}, SCHEME)
    assert model.predict(labelled(None))[0].labels["stance"] == "support"


def test_no_single_member_at_any_temperature_has_a_smaller_loss_on_dev() -> None:
    """Each single member, with any power, is among the pools searched."""
    rng = np.random.default_rng(1)
    gold = rng.integers(0, 3, 300)
    members = [np.exp(rng.normal(size=(300, 3)) + sure * np.eye(3)[gold]) for sure in (1.0, 1.5, 0.0)]
    members = [one / one.sum(axis=1, keepdims=True) for one in members]
    segments = labelled(*(SCHEME["stance"].ids[label] for label in gold))
    model, predicted = pool(of(*(stances(*one) for one in members)), segments)
    least = min(
        log_loss(gold, powered / powered.sum(axis=1, keepdims=True))
        for one in members for powered in (one**power for power in (0.25, 0.5, 1, 2))
    )  # fmt: skip
    assert log_loss(gold, model.probabilities(segments)["stance"]) < least
    assert predicted == model.predict(segments)
    weights = model.weights["stance"]
    assert min(weights) >= 0
    assert weights[2] < 0.2 < weights[0] < weights[1], "who knows more counts more, and who knows nothing next to nothing"


def test_of_several_labels_the_weights_are_found_too() -> None:
    """A member that is mostly right gets a weight, one that is wrong gets none."""
    answers = [("a",), ("b",), ("a", "b"), ()] * 10
    segments = [Segment(f"s{place}", "Text.", {"themes": labels}) for place, labels in enumerate(answers)]
    right = np.array([[0.8 if label in labels else 0.2 for label in "ab"] for labels in answers])
    right[0], right[5] = right[0, ::-1], right[5, ::-1]  # not right everywhere
    model, _ = pool(of(Fixed({"themes": 1 - right}, MULTI), Fixed({"themes": right}, MULTI)), segments)
    assert model.weights["themes"][0] == pytest.approx(0, abs=1e-3)
    assert model.weights["themes"][1] > 1


def test_a_task_without_labels_on_dev_gets_equal_weights() -> None:
    """Nothing distinguishes the members."""
    model, _ = pool(of(stances([0.7, 0.2, 0.1]), stances([0.6, 0.3, 0.1])), labelled("warning"))
    assert model.weights["topic"] == (0.5, 0.5)


def test_one_member_is_no_ensemble() -> None:
    """The error says how to name several."""
    with pytest.raises(UserError, match=r"at least two members, found 1; name two or more runs, as in members=\[A,B\]"):
        pool(of(stances([0.7, 0.2, 0.1])), labelled("warning"))


def test_members_of_two_schemes_are_refused_by_name() -> None:
    """Their labels have different meanings."""
    with pytest.raises(UserError, match=r"m1 has the scheme 'many' .* but m0 'tiny'"):
        pool(of(stances([0.7, 0.2, 0.1]), Fixed({"themes": np.array([[0.5, 0.5]])}, MULTI)), labelled("warning"))


def _trained() -> EnsembleModel:
    train, dev = tiny.segments(200, seed=1), tiny.segments(60, seed=2)
    specs = [LinearSpec(), LinearSpec(words=1, characters=2, C=0.1)]
    return pool([Member(f"m{place}", linear.fit(train, SCHEME, spec, seed=1)) for place, spec in enumerate(specs)], dev)[0]


def test_a_written_ensemble_answers_as_before(tmp_path: Path) -> None:
    """Exactly, including calibration and names."""
    model, segments = _trained(), tiny.segments(30, seed=3)
    model.calibration = Calibration({"stance": 1.7})
    read = bundle.load(bundle.save(model, tmp_path / "b"))
    assert isinstance(read, EnsembleModel)
    assert ([member.name for member in read.members], read.weights) == (["m0", "m1"], model.weights)
    before, after = model.probabilities(segments), read.probabilities(segments)
    assert all(np.array_equal(before[task], after[task]) for task in SCHEME.names)


def test_a_written_ensemble_without_a_member_is_incomplete(tmp_path: Path) -> None:
    """The error names the missing folder."""
    import shutil

    folder = bundle.save(_trained(), tmp_path / "b")
    shutil.rmtree(folder / "members" / "1")
    with pytest.raises(UserError, match="members/1 is not a folder"):
        bundle.load(folder)


def test_actors_have_their_mean_probability_by_code() -> None:
    """Averaged over members that find any actors; a member without a code counts as 0 for it."""
    nobody, chile, peru = (("", ()), ("CHL", ((0, 5),)), ("PER", ()))
    one = [
        ActorAnswer(*nobody, {"itself": 0.2}, {"itself": 1.0}),
        ActorAnswer(*chile, {"itself": 0.5, "state": 0.3}, {"itself": 0.0, "state": 0.0}),
    ]
    other = [
        ActorAnswer(*nobody, {"itself": 0.4}, {"itself": 0.0}),
        ActorAnswer(*peru, {"itself": 0.1, "state": 0.1}, {"itself": 0.0, "state": 0.6}),
        ActorAnswer(*chile, {"itself": 0.3, "state": 0.1}, {"itself": 0.4, "state": 0.0}),
    ]
    found = mean_actors([one, (), other])
    assert [(actor.code, actor.spans) for actor in found] == [nobody, chile, peru]
    assert [actor.source for actor in found] == [
        pytest.approx({"itself": 0.3}), pytest.approx({"itself": 0.4, "state": 0.2}), pytest.approx({"itself": 0.05, "state": 0.05})
    ]  # fmt: skip
    assert [actor.target for actor in found] == [
        pytest.approx({"itself": 0.5}), pytest.approx({"itself": 0.2, "state": 0.0}), pytest.approx({"itself": 0.0, "state": 0.3})
    ]  # fmt: skip
    assert mean_actors([(), ()]) == ()


def test_an_ensemble_says_who_acts_as_its_members_of_articles_do(bert: Path, tmp_path: Path) -> None:
    """The mean of two, ignoring one without actors; given stances and tables are passed to both."""
    rows, names = tiny.articles(3), ("one", "other", "linear")
    readers = [tiny.article_model(bert, dyads=True, layers=layers) for layers in (1, 2)]
    models = [*readers, linear.fit(tiny.segments(60), SCHEME, LinearSpec(), seed=1)]
    model, predicted = pool([Member(name, one) for name, one in zip(names, models, strict=True)], rows)
    assert model.finds_dyads
    for stances in (None, ["warning"] * len(rows)):
        each = [one.predict(rows, stances=stances) for one in readers]
        for found, *of in zip(model.predict(rows, stances=stances), *each, strict=True):
            assert found.actors == mean_actors([one.actors for one in of])
            assert sum(value for actor in found.actors for value in actor.source.values()) == pytest.approx(1)
            assert found.actors != of[0].actors
    assert model.predict(rows)[0].actors != model.predict(rows, stances=["warning"] * len(rows))[0].actors
    assert predicted == model.predict(rows)
    assert [list(one.probabilities["stance"].values()) for one in predicted] == pytest.approx(model.probabilities(rows)["stance"], abs=1e-9)
    loaded = bundle.load(bundle.save(model, tmp_path / "b"))
    assert [one.actors for one in loaded.predict(rows)] == [one.actors for one in predicted]
    model.actors = tables = Actors.load()
    assert all(one.actors is tables for one in readers)


def test_an_ensemble_without_a_reader_of_actors_finds_none(bert: Path) -> None:
    """Also if a member reads articles but was trained without dyads."""
    model = EnsembleModel([Member("articles", tiny.article_model(bert)), Member("network", tiny.network(bert))], EQUAL, SCHEME)
    assert not model.finds_dyads
    assert model.actors is None
    assert all(one.actors == () for one in model.predict(tiny.articles(1)))
    assert model.predict([]) == []


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], object]) -> Path:
    """A folder with two linear models trained on one corpus."""
    folder = tmp_path_factory.mktemp("ensemble")
    write_corpus(folder)
    new_store(folder)
    for seed, more in ((1, ()), (2, ("model.words=1", "model.C=1"))):
        done = run_here("train", *CORPUS, "model=linear", "model.min_count=1", "name=tiny", f"seed={seed}", *more, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder as the working directory."""
    monkeypatch.chdir(home)
    return home


@pytest.mark.slow
def test_two_runs_become_one_that_is_used_like_any_other(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a run with weights; export refuses it and names what can be exported."""
    assert main(["ensemble", "members=[tiny-1,tiny-2]", "name=both"]) == 0
    printed = capsys.readouterr().out
    assert "weights" in printed
    assert "tiny-2" in printed
    assert main(["evaluate", "run=both", "split=test", "error_analysis=false"]) == 0
    assert main(["evaluate", "run=tiny-1", "split=test", "error_analysis=false"]) == 0
    capsys.readouterr()
    assert main(["compare", "runs=[both,tiny-1]"]) == 0
    assert "both" in capsys.readouterr().out
    assert main(["runs", "kind=ensemble"]) == 0
    assert "both" in capsys.readouterr().out
    assert main(["predict", "run=both", "text=Chile warnt die Marine."]) == 0
    assert "warning" in capsys.readouterr().out
    assert main(["export", "run=both", "to=exported"]) == 2
    assert "export one of its members (tiny-1, tiny-2)" in capsys.readouterr().err


def test_folders_of_bundles_may_be_members(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The corpus must be given then, since a folder does not say how it was prepared."""
    folders = ",".join(str(path) for path in sorted((here / "experiments" / "runs").glob("tiny-*/bundle")))
    assert main(["ensemble", f"members=[{folders}]", "name=folders"]) == 2
    assert "name it with corpus=NAME" in capsys.readouterr().err
    assert main(["ensemble", f"members=[{folders}]", "name=folders", *CORPUS]) == 0
    assert "run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("[]", "name the runs to combine into one model"),
        ("[tiny-1]", "at least two members, found 1"),
        ("[tiny-1,tiny-1]", "tiny-1 is named twice"),
        ("[tiny-1,tiny-7]", "tiny-7"),
    ],
)
def test_an_impossible_ensemble_is_refused(here: Path, capsys: pytest.CaptureFixture[str], members: str, message: str) -> None:
    """With exit code 2 and without traceback."""
    assert main(["ensemble", f"members={members}"]) == 2
    assert message in capsys.readouterr().err


def test_a_member_that_may_have_seen_dev_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was trained on another split of the corpus."""
    words = [word for word in CORPUS if not word.startswith("splits@")]
    other = [*words, "splits@corpus.split=group", "model=linear", "model.min_count=1", "name=split", "seed=1", "prepared=other"]
    assert main(["train", *other]) == 0
    assert main(["ensemble", "members=[tiny-1,split-1]"]) == 2
    assert "split-1 was not trained on" in capsys.readouterr().err
