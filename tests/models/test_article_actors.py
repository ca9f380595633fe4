"""Source and target as predicted by a model of articles: what the probabilities mean, that they are
learned, and that nothing else affects them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tiny
from haltung.actors.candidates import ITSELF, MAX_CANDIDATES, ROLES
from haltung.actors.finder import Actors
from haltung.errors import UserError
from haltung.labels import parse
from haltung.models import bundle
from haltung.models.article import SLOTS, ActorHead, ArticleModel, build, units
from haltung.models.spec import ArticleSpec
from haltung.records import Prediction, Segment
from haltung.training.finetune import FineTuned, finetune
from haltung.training.recipe import Training

RECIPE = Training(epochs=8, batch_size=16, encoder_rate=2e-3, head_rate=5e-3, patience=0, precision="fp32")
# By side, then code and role.
Sides = dict[str, dict[tuple[str, str], float]]


@pytest.fixture(scope="module")
def model(bert: Path) -> ArticleModel:
    """An untrained model with clearly different answers about actors."""
    return tiny.article_model(bert, dyads=True, window=4)


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    """A model trained on sentences such as "Belgien warnt Chile ."."""
    return _train(bert, tmp_path_factory.mktemp("dyads"))


def _train(bert: Path, folder: Path, recipe: Training = RECIPE, spec: ArticleSpec | None = None, **more: object) -> FineTuned:
    train, dev = (tiny.with_dyads(tiny.articles(count, seed)) for count, seed in ((60, 0), (12, 1)))
    spec = spec or ArticleSpec(max_length=32, window=8)
    return finetune(train, dev, tiny.scheme(), tiny.encoder(bert), spec, recipe, 1, folder, **more)  # type: ignore[arg-type]


def _sides(prediction: Prediction) -> Sides:
    return {
        side: {(actor.code, role): value for actor in prediction.actors for role, value in getattr(actor, side).items()}
        for side in ("source", "target")
    }


def _likeliest(prediction: Prediction) -> tuple[tuple[str, str], ...]:
    return tuple(max(values, key=values.__getitem__) for values in _sides(prediction).values())


def _same(found: Prediction, expected: Prediction, least: float = 1e-5) -> None:
    assert [(actor.code, actor.spans) for actor in found.actors] == [(actor.code, actor.spans) for actor in expected.actors]
    for side, values in _sides(expected).items():
        assert _sides(found)[side] == pytest.approx(values, abs=least)


def _fp32(model: ArticleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict in float32 even where bfloat16 is faster."""
    from contextlib import nullcontext

    from haltung.models import neural

    monkeypatch.setattr(neural, "autocast", lambda device: nullcontext())


def test_the_probabilities_of_each_side_add_up_to_one(model: ArticleModel) -> None:
    """Over all candidates and roles; nobody comes first, with the single role itself."""
    rows = tiny.articles(4, size=6)
    for prediction in model.predict(rows):
        nobody, *others = prediction.actors
        assert (nobody.code, nobody.spans, set(nobody.source), set(nobody.target)) == ("", (), {ITSELF}, {ITSELF})
        assert others
        assert all(tuple(actor.source) == tuple(actor.target) == ROLES for actor in others)
        for values in _sides(prediction).values():
            assert sum(values.values()) == pytest.approx(1.0)
            assert min(values.values()) > 0


def test_absent_candidates_and_other_roles_of_nobody_are_impossible(bert: Path) -> None:
    """In the network's own output, for sentences with 1, 2 and the maximum of candidates."""
    model = tiny.article_model(bert, dyads=True)
    texts = ("Chile lobt .", "Peru lobt Malta .", "Belgien , Chile , Ghana , Nepal , Island , Peru , Laos und Malta .")
    rows = [Segment(str(number), text) for number, text in enumerate(texts)]
    chosen = units(rows, 4, actors=model.actors)
    assert [len(unit.named[0]) for unit in chosen] == [2, 3, MAX_CANDIDATES + 1]
    batch, _ = model.articles(chosen, [model.encode(unit.sentences) for unit in chosen])
    with torch.no_grad():
        _, sides = model.network.eval()(batch)
    table = sides.exp().view(2, 3, SLOTS, len(ROLES))
    torch.testing.assert_close(table.sum(dim=(2, 3)), torch.ones(2, 3))
    for number, unit in enumerate(chosen):
        assert (table[:, number, len(unit.named[0]) :] == 0).all()
        assert (table[:, number, 0, 1:] == 0).all()
        assert (table[:, number, 0, 0] > 0).all()
        assert (table[:, number, 1 : len(unit.named[0])] > 0).all()


def test_actors_do_not_depend_on_order_and_company(model: ArticleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled, article by article, or a few at a time, each sentence has the same actors with the
    same probabilities.
    """
    from haltung.models import article

    _fp32(model, monkeypatch)
    rows = [row for number in range(4) for row in tiny.articles(1, seed=number, size=(5, 1, 7, 2)[number])]
    rows[3] = replace(rows[3], text="Der Haushalt . " * 6)
    expected = {one.id: one for one in model.predict(rows)}
    # The probabilities differ between sentences.
    tops = [max(values.values()) for one in expected.values() for values in _sides(one).values()]
    assert max(tops) - min(tops) > 0.1
    shuffled = model.predict(random.Random(1).sample(rows, len(rows)))
    alone = [one for name in dict.fromkeys(row.article for row in rows) for one in model.predict([r for r in rows if r.article == name])]
    monkeypatch.setattr(article, "_SENTENCES", 3)
    for others in (shuffled, alone, model.predict(rows)):
        assert len(others) == len(rows)
        for one in others:
            _same(one, expected[one.id])


def test_gradients_are_summed_in_one_order(model: ArticleModel) -> None:
    """With ``[]`` and repeated indices, threads add gradients in varying order, so that a seed's
    weights depended on other load; ``index_select`` adds row by row.
    """
    rows = tiny.with_dyads(tiny.articles(8))
    read = units(rows, 4, actors=model.actors)
    articles, _ = model.articles(read, [model.encode(unit.sentences) for unit in read])
    assert articles.actors is not None
    assert len(articles.actors.sentence.unique()) < len(articles.actors.sentence)
    logits, sides = model.network(articles)
    assert sides is not None
    nodes, todo = set[torch.autograd.graph.Node](), [one.grad_fn for one in (sides, *logits.values())]
    while todo:
        if (node := todo.pop()) is not None and node not in nodes:
            nodes.add(node)
            todo += [before for before, _ in node.next_functions]
    picked = [index for node in nodes if node.name() == "IndexBackward0" for index in node._saved_indices if index is not None]  # type: ignore[attr-defined]
    assert picked
    assert [index for index in picked if index.dtype != torch.bool and len(index.unique()) < len(index)] == []


def test_the_order_of_candidates_of_another_sentence_is_not_seen(bert: Path) -> None:
    """In the head alone, candidates attend only to those of their own sentence."""
    torch.manual_seed(1)
    head = ActorHead(8, 3).eval()

    def scores(sizes: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
        """Return the scores of sentences with these numbers of candidates and seeds of vectors."""
        places = [(number, slot) for number, size in enumerate(sizes) for slot in range(size)]
        drawn = [torch.Generator().manual_seed(seed) for seed in seeds]
        mentions = torch.cat([torch.randn(size, 16, generator=of) for size, of in zip(sizes, drawn, strict=True)])
        sentences = torch.stack([torch.randn(16, generator=of) for of in drawn])
        stances = torch.stack([torch.rand(3, generator=of) for of in drawn])
        cues = torch.tensor([[seeds[number] * 10 + slot + 1] for number, slot in places])
        sentence, slot = torch.tensor(places).unbind(1)
        with torch.no_grad():
            found: torch.Tensor = head(mentions, sentences, stances, cues, sentence, slot)
        return found

    together = scores((3, 7, 2), (5, 6, 7))
    for number, (size, seed) in enumerate(((3, 5), (7, 6), (2, 7))):
        torch.testing.assert_close(scores((size,), (seed,))[:, 0], together[:, number], atol=1e-6, rtol=1e-5)
    assert (together[:, 0] - scores((3,), (8,))[:, 0]).abs().max() > 0.01


def test_who_acts_on_whom_is_learned(trained: FineTuned) -> None:
    """On unseen articles; if the names are exchanged, source and target are too."""
    model = trained.model
    unseen = tiny.with_dyads(tiny.articles(20, seed=2))
    named = [row for row in unseen if row.dyads]
    right = exchanged = 0
    for row, one in zip(unseen, model.predict(unseen), strict=True):
        if row.dyads:
            right += _likeliest(one) == ((row.dyads[0].source, ITSELF), (row.dyads[0].target, ITSELF))
    assert right / len(named) > 0.9
    two = [row for row in named if row.dyads[0].source and row.dyads[0].target and row.dyads[0].source != row.dyads[0].target]
    for row in two:
        first, verb, second, dot = row.text.split()
        pair = [replace(row, article="", headline="", position=None, text=text) for text in (row.text, f"{second} {verb} {first} {dot}")]
        there, back = map(_likeliest, model.predict(pair))
        exchanged += there == back[::-1]
    assert exchanged / len(two) > 0.9


def test_nobody_is_learned_too(trained: FineTuned) -> None:
    """A sentence whose target is not named has nobody as target."""
    rows = [row for row in tiny.with_dyads(tiny.articles(40, seed=3)) if row.dyads and not row.dyads[0].target]
    found = [_likeliest(one)[1] for one in trained.model.predict(rows)]
    assert len(rows) > 10
    assert found.count(("", ITSELF)) / len(rows) > 0.9


def test_a_dyads_stance_can_be_given(model: ArticleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One per segment, in any order; it changes the actors and not the labels."""
    _fp32(model, monkeypatch)
    rows = tiny.articles(3, size=4)
    rng = random.Random(1)
    stances = [rng.choice(("warning", "support")) for _ in rows]
    plain, given = model.predict(rows), model.predict(rows, stances=stances)
    sources = [(_sides(a)["source"], _sides(b)["source"]) for a, b in zip(plain, given, strict=True)]
    assert max(abs(one[key] - other[key]) for one, other in sources for key in one) > 1e-2
    for row, stance, one, without in zip(rows, stances, given, plain, strict=True):
        assert one.labels == without.labels
        assert one.probabilities["stance"] == pytest.approx(without.probabilities["stance"], abs=1e-5)
        whole = [other for other in rows if other.article == row.article]
        (alone,) = (p for p in model.predict(whole, stances=[stance] * len(whole)) if p.id == row.id)
        _same(one, alone)
    with pytest.raises(UserError, match="unknown stance 'threat'"):
        model.predict(rows[:1], stances=["threat"])


def test_a_bundle_finds_the_same_actors(trained: FineTuned, tmp_path: Path) -> None:
    """After saving and loading."""
    rows = tiny.articles(6, seed=4)
    loaded = bundle.load(bundle.save(trained.model, tmp_path / "bundle"))
    assert isinstance(loaded, ArticleModel)
    assert loaded.network.actors is not None
    assert loaded.predict(rows) == trained.model.predict(rows)
    assert any(one.actors for one in loaded.predict(rows))


def test_other_tables_name_other_actors(bert: Path, tmp_path: Path) -> None:
    """The tables assigned to the model apply."""
    model, row = tiny.article_model(bert, dyads=True), Segment("1", "Chile warnt den Haushalt .")
    assert [actor.code for actor in model.predict([row])[0].actors] == ["", "CHL"]
    (tmp_path / "organisations.csv").write_text("name,code\nHaushalt,NGO\n", encoding="utf-8")
    model.actors = Actors.load(extra=tmp_path)
    assert [(actor.code, actor.spans) for actor in model.predict([row])[0].actors] == [("", ()), ("CHL", ((0, 5),)), ("NGO", ((16, 24),))]


def test_a_sentence_that_names_nobody_has_no_actors(model: ArticleModel) -> None:
    """Unless its context or article names somebody."""
    text = "Der Haushalt lobt den Zoll ."
    bare, behind = model.predict([Segment("1", text), Segment("2", text, context="Chile warnt Peru .")])
    assert bare.actors == ()
    assert [actor.code for actor in behind.actors] == ["", "PER", "CHL"]


@pytest.mark.parametrize("dyads", [True, False])
def test_no_dyads_are_no_head(bert: Path, tmp_path: Path, dyads: bool) -> None:
    """If the corpus has none or ``model.dyads=false``, nothing is trained, written or predicted."""
    rows = tiny.with_dyads(tiny.articles(8))
    train = [replace(row, dyads=()) for row in rows] if dyads else rows
    spec, recipe = ArticleSpec(max_length=32, dyads=dyads), replace(RECIPE, epochs=1)
    model = finetune(train, rows, tiny.scheme(), tiny.encoder(bert), spec, recipe, 1, tmp_path / "c").model
    assert not any(name.startswith("actors") for name, _ in model.network.named_parameters())
    for one in (model, bundle.load(bundle.save(model, tmp_path / "bundle"))):
        assert isinstance(one, ArticleModel)
        assert one.actors is None
        assert all(prediction.actors == () for prediction in one.predict(rows))


def test_stances_of_another_scheme_have_no_dyads(bert: Path) -> None:
    """The stance has to be a single-label task with the label neutral."""
    task = {"name": "x", "tasks": {"stance": {"labels": ["warning", "support"]}}}
    several = {"name": "x", "tasks": {"stance": {"labels": ["warning", "neutral"], "kind": "multi"}}}
    topics = {"name": "x", "tasks": {"topic": {"labels": ["security", "neutral"]}}}
    for described in (task, several, topics):
        assert build(tiny.encoder(bert), ArticleSpec(max_length=32), parse(described), dyads=True).network.actors is None


def test_rows_without_a_stance_and_their_dyads_are_read_too(bert: Path, tmp_path: Path) -> None:
    """Whether missing or unknown; sides are learned from their dyads nevertheless."""
    rows = tiny.with_dyads(tiny.articles(8))
    for number in range(0, len(rows), 2):
        rows[number] = replace(rows[number], labels={"topic": "security", **({"stance": None} if number % 4 else {})})
    recipe = replace(RECIPE, epochs=1)
    done = finetune(rows, rows, tiny.scheme(), tiny.encoder(bert), ArticleSpec(max_length=32), recipe, 1, tmp_path / "c")
    assert all(one.actors for one in done.model.predict(rows))


@pytest.mark.parametrize("changes", [{"tune": "frozen"}, {"tune": "lora", "lora_rank": 2}, {"freeze_layers": 1}])
def test_a_partly_frozen_encoder_is_trained_and_written(bert: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    """The bundle finds the same actors as the model, and training can start from its encoder."""
    spec, recipe, rows = ArticleSpec(max_length=32, **changes), replace(RECIPE, epochs=1), tiny.articles(4, seed=5)  # type: ignore[arg-type]
    first = _train(bert, tmp_path / "first", recipe, spec).model
    folder = bundle.save(first, tmp_path / "bundle")
    for found, expected in zip(bundle.load(folder).predict(rows), first.predict(rows), strict=True):
        _same(found, expected, 2e-2 if "lora_rank" in changes else 1e-6)  # merged updates are rounded differently
    second = _train(folder, tmp_path / "second", recipe, spec).model
    assert all(one.actors for one in second.predict(rows))
