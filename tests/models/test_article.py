"""The model of whole articles: what it reads together, that nothing else affects it, and that a
bundle predicts as the model did.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

import tiny
from haltung.cli.build import make
from haltung.encoders.tokens import Tokens
from haltung.errors import UserError
from haltung.inference.client import pack
from haltung.models import bundle
from haltung.models.article import ArticleModel, ArticleNetwork, Packed, build, means
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.neural import collate, first_position, pool
from haltung.models.spec import ArticleSpec
from haltung.models.units import Unit, units
from haltung.records import Segment


def _segment(name: str, article: str = "", position: int | None = None, **more: str) -> Segment:
    return Segment(name, f"Text {name}", article=article, position=position, **more)


def _read(segments: Sequence[Segment], window: int = 8, alone: Sequence[str] = ()) -> list[list[str]]:
    """Return the texts of each unit, unlabelled ones in brackets."""
    return [
        [sentence.text if row is not None else f"({sentence.text})" for sentence, row in zip(unit.sentences, unit.rows, strict=True)]
        for unit in units(segments, window, lambda article: article in alone)
    ]


def test_an_article_is_read_by_position_below_its_headline() -> None:
    """Whatever the order of its segments; the headline is not labelled."""
    rows = [_segment(name, "a", position, headline="Kopf") for name, position in (("c", 9), ("a", 0), ("b", 3))]
    (unit,) = units(rows, 8)
    assert [sentence.text for sentence in unit.sentences] == ["Kopf", "Text a", "Text b", "Text c"]
    assert unit.rows == (None, 1, 2, 0)
    assert unit.labelled == 3


def test_an_article_without_headline_begins_with_its_first_segment() -> None:
    """A headline of spaces counts as missing."""
    assert _read([_segment("a", "a", 0, headline=" "), _segment("b", "a", 1, headline=" ")]) == [["Text a", "Text b"]]


def test_articles_that_are_interleaved_stay_apart() -> None:
    """Each with its own headline."""
    rows = [
        _segment(f"{article}{position}", article, position, headline=f"Kopf {article}") for position in (0, 1) for article in ("x", "y")
    ]
    assert _read(rows) == [["(Kopf x)", "Text x0", "Text x1"], ["(Kopf y)", "Text y0", "Text y1"]]


def test_a_segment_without_article_or_position_is_read_behind_its_context() -> None:
    """Also if other segments of its article have a position; its headline is read only if it is
    part of the context.
    """
    rows = [
        _segment("a", "x", 1, headline="Kopf"),
        _segment("b", "x", None, headline="Kopf", context="Davor ."),
        _segment("c", "x", 0, headline="Kopf"),
        _segment("d", "", 4, context=" "),
        _segment("e", "", 5, context="Anderes ."),
    ]
    assert _read(rows) == [["(Davor .)", "Text b"], ["Text d"], ["(Anderes .)", "Text e"], ["(Kopf)", "Text c", "Text a"]]


def test_an_article_with_positions_has_no_use_for_contexts() -> None:
    """They only repeat what it reads anyway."""
    assert _read([_segment("a", "x", 0, context="Kopf"), _segment("b", "x", 1, context="Text a")]) == [["Text a", "Text b"]]


def test_a_longer_article_is_cut_into_parts_below_the_headline() -> None:
    """The window counts labelled sentences, so that no part is longer than window plus headline."""
    rows = [_segment(str(n), "a", n, headline="Kopf") for n in range(5)]
    assert _read(rows, window=2) == [["(Kopf)", "Text 0", "Text 1"], ["(Kopf)", "Text 2", "Text 3"], ["(Kopf)", "Text 4"]]
    assert _read(rows, window=5) == [["(Kopf)", *(f"Text {n}" for n in range(5))]]


def test_an_article_that_is_read_alone_falls_apart_into_bare_sentences() -> None:
    """Without headline; other articles stay whole."""
    rows = [_segment(f"{article}{n}", article, n, headline="Kopf") for article in ("x", "y") for n in (0, 1)]
    assert _read(rows, alone=["x"]) == [["Text x0"], ["Text x1"], ["(Kopf)", "Text y0", "Text y1"]]


def test_what_is_read_alone_has_no_context_either() -> None:
    """Selected by article, or by id for segments without one."""
    rows = [_segment(name, article, context="Davor .") for name, article in (("a", "x"), ("b", "y"), ("c", ""), ("d", ""))]
    assert _read(rows, alone=["x", "c"]) == [["Text a"], ["(Davor .)", "Text b"], ["Text c"], ["(Davor .)", "Text d"]]


def _logs(model: ArticleModel, rows: Sequence[Segment]) -> dict[str, np.ndarray]:
    """Return log probabilities by segment, computed in fp32."""
    found = model.probabilities(rows, precision="fp32")
    return {row.id: np.log(np.concatenate([found[task][number] for task in found])) for number, row in enumerate(rows)}


def _mixed() -> list[Segment]:
    """Articles of 1 to 9 sentences of 3 to 24 words, a lone sentence, and one with a context."""
    rows = [row for number in range(6) for row in tiny.articles(1, seed=number, size=(5, 1, 9, 2, 7, 3)[number])]
    rows = [replace(row, text=" ".join(row.text.split() * (1 + number * 5 % 6))) for number, row in enumerate(rows)]
    first, second = tiny.segments(2, seed=9)
    return [*rows, replace(first, context="", article=""), second]


def test_predictions_do_not_depend_on_order_and_company(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled, article by article, or a few at a time, each sentence has the same log
    probabilities, which clearly differ from other sentences'.
    """
    from haltung.models import article

    model, rows = tiny.article_model(bert, window=4), _mixed()
    expected = _logs(model, rows)
    table = np.stack(list(expected.values()))
    assert np.abs(table[1:] - table[:-1]).max(axis=1).min() > 0.02
    shuffled = random.Random(1).sample(rows, len(rows))
    groups = [[row for row in rows if row.article == name] for name in dict.fromkeys(row.article for row in rows)]
    one_by_one = {name: values for group in groups for name, values in _logs(model, group).items()}
    two_calls = {**_logs(model, groups[0] + groups[2]), **_logs(model, [row for n in (5, 1, 4, 3, 7, 6) for row in groups[n]])}
    monkeypatch.setattr(article, "_SENTENCES", 5)
    for other in (_logs(model, shuffled), one_by_one, two_calls, _logs(model, rows)):
        for name, values in expected.items():
            np.testing.assert_allclose(other[name], values, atol=1e-5)


FAMILIES = {
    "bert": BertConfig,
    "roberta": RobertaConfig,
    "xlm-roberta": XLMRobertaConfig,
    "camembert": CamembertConfig,
    "electra": ElectraConfig,
}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sentences_in_one_row_are_read_as_each_alone(family: str, attention: str) -> None:
    """For every supported encoder, whatever its first position: no sentence attends to its
    neighbours in the row.
    """
    torch.manual_seed(1)
    config = FAMILIES[family](
        vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=48,
        pad_token_id=1, embedding_size=32,
    )  # fmt: skip
    encoder = AutoModel.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(3.0)  # so that every token counts
    network = ArticleNetwork(encoder, tiny.scheme(), ArticleSpec(layers=1, window=8))
    rng = random.Random(1)
    rows = [
        Tokens(ids, [0] * len(ids), {"text": (0, [(n, n + 1) for n in range(len(ids))])})
        for ids in ([rng.randrange(5, 99) for _ in range(n)] for n in (3, 40, 17, 9, 2, 30, 25))
    ]
    feeds, starts = pack([{"input_ids": row.ids} for row in rows], 1, first_position(config))
    packed = Packed(**{name: torch.from_numpy(values) for name, values in feeds.items()}, starts=torch.tensor(starts))
    assert len(packed.input_ids) < len(rows)
    with torch.no_grad():
        together = means(network.states(packed), packed.sentence, len(rows))
        views = [collate([row], 1, with_types=False) for row in rows]
        states = [encoder(input_ids=view.ids, attention_mask=view.mask).last_hidden_state for view in views]
        alone = [pool(state, view, "mean")[0] for state, view in zip(states, views, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)
    assert float((together[1:] - together[:-1]).abs().amax(dim=1).min()) > 0.05


def test_an_encoder_that_cannot_read_so_is_refused(tmp_path: Path, bert: Path) -> None:
    """The message names supported families and an alternative."""
    AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    AutoModel.from_config(DistilBertConfig(vocab_size=300, dim=32, n_layers=1, n_heads=2, hidden_dim=64)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"families bert, roberta, .*, not distilbert; use model=network"):
        build(tiny.encoder(tmp_path), ArticleSpec(max_length=32), tiny.scheme())


def test_neighbours_and_headline_count_and_other_articles_do_not(bert: Path) -> None:
    """Changing a neighbouring sentence or the headline changes its probabilities; changing another
    article, or a sentence beyond the window, does not.
    """
    model = tiny.article_model(bert, window=4)
    rows = [*tiny.articles(2, size=6)]
    target = rows[2].id
    expected = _logs(model, rows)[target]

    def changed(number: int, **more: str) -> float:
        return float(np.abs(_logs(model, [*rows[:number], replace(rows[number], **more), *rows[number + 1 :]])[target] - expected).max())

    other = {"text": "Der Haushalt begrüßt die Marine ."}
    assert changed(1, **other) > 1e-3
    assert changed(3, **other) > 1e-3
    assert changed(0, headline="Ghana mahnt") > 1e-3
    assert changed(4, **other) < 1e-5  # the next part of its article
    assert changed(8, **other) < 1e-5  # another article


def test_order_within_an_article_counts(bert: Path) -> None:
    """Positions reach the network: swapping two neighbours changes probabilities."""
    model, (first, second) = tiny.article_model(bert), tiny.articles(1, size=2)
    there = _logs(model, [first, second])[first.id]
    back = _logs(model, [replace(first, position=1), replace(second, position=0)])[first.id]
    assert np.abs(there - back).max() > 1e-3


def test_a_headline_is_told_from_a_sentence(bert: Path) -> None:
    """The same words are read differently as headline and as first sentence."""
    model, (row,) = tiny.article_model(bert), tiny.articles(1, size=1)
    below = _logs(model, [row])[row.id]
    behind = _logs(model, [Segment("first", row.headline, article="a", position=0), replace(row, article="a", headline="", position=1)])
    assert np.abs(below - behind[row.id]).max() > 1e-4


def test_a_lone_sentence_is_an_article_of_one(bert: Path) -> None:
    """Text alone is enough, whether or not it has an article; its context is read as a headline."""
    model, text = tiny.article_model(bert), "Chile warnt die Marine ."
    bare = _logs(model, [Segment("1", text)])["1"]
    assert np.isfinite(bare).all()
    np.testing.assert_allclose(_logs(model, [Segment("1", text, article="a", position=7)])["1"], bare, atol=1e-5)
    context = _logs(model, [Segment("1", text, context="Peru lobt den Zoll .")])["1"]
    headline = _logs(model, [Segment("1", text, article="a", position=0, headline="Peru lobt den Zoll .")])["1"]
    np.testing.assert_allclose(context, headline, atol=1e-5)
    assert np.abs(context - bare).max() > 1e-3
    assert model.predict([]) == []


def test_probabilities_add_up_to_one(bert: Path) -> None:
    """For each row of each task, in the order of the segments."""
    model, rows = tiny.article_model(bert), _mixed()
    predicted = model.predict(rows)
    assert [one.id for one in predicted] == [row.id for row in rows]
    for task in ("topic", "stance"):
        assert [sum(one.probabilities[task].values()) for one in predicted] == pytest.approx([1.0] * len(rows))


def test_the_target_stands_before_its_sentence_as_a_pair(bert: Path) -> None:
    """If the task reads targets; otherwise the target has no effect, as the context of a sentence
    in an article never has.
    """
    rows = [replace(row, target="Peru", context="Davor .") for row in tiny.articles(1, size=3)]
    other = [rows[0], replace(rows[1], target="Ghana lobt", context="Anders ."), rows[2]]
    reading, not_reading = (tiny.article_model(bert, reads={"default": reads}) for reads in ("target+context", "context"))
    pair, alone = reading.encode(rows[:1])[0], not_reading.encode(rows[:1])[0]
    assert set(pair.types) == {0, 1}
    assert set(alone.types) == {0}
    assert sum(pair.own) == sum(alone.own) == len(alone) - 2
    name = rows[1].id
    assert np.abs(_logs(reading, rows)[name] - _logs(reading, other)[name]).max() > 1e-3
    np.testing.assert_allclose(_logs(not_reading, rows)[name], _logs(not_reading, other)[name], atol=1e-6)


def test_a_bundle_of_articles_predicts_as_the_model_did(bert: Path, tmp_path: Path) -> None:
    """Kind, config and every probability survive saving and loading."""
    model, rows = tiny.article_model(bert, layers=1, window=4), _mixed()
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle", {"run": "abc"}))
    assert isinstance(loaded, ArticleModel)
    assert (loaded.kind, loaded.spec, loaded.encoder, loaded.scheme) == ("article", model.spec, model.encoder, model.scheme)
    for task, expected in model.probabilities(rows).items():
        np.testing.assert_array_equal(loaded.probabilities(rows)[task], expected)
    assert {path.suffix for path in (tmp_path / "bundle").rglob("*") if path.is_file()} <= {".json", ".safetensors", ".txt"}


def test_single_sentences_beside_articles_are_read_the_same_in_training(bert: Path) -> None:
    """If they are not padded to the longest article."""
    network = tiny.article_model(bert, layers=2, window=4, dropout=0.0).network
    torch.manual_seed(2)
    kind = torch.tensor([[1, -1, -1, -1], [0, 1, 1, 1], [1, -1, -1, -1], [0, 1, -1, -1]])
    place, vectors = (kind.view(-1) >= 0).nonzero().view(-1), torch.randn(8, network.width)
    with torch.no_grad():
        expected, found = network.eval().vectors(vectors, place, kind), network.train().vectors(vectors, place, kind)
        alone = network.vectors(vectors[:1], place[:1], kind[:1])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone[0], expected[0], atol=1e-5, rtol=1e-5)


def test_rows_are_as_wide_as_leaves_the_least_padding(bert: Path) -> None:
    """Three times 24 tokens fill a row of 72, while a row of 64 would have 16 of padding."""
    model = tiny.article_model(bert)
    row = Tokens([2, *[5] * 22, 3], [0] * 24, {"text": (1, [(n, n + 1) for n in range(22)])})
    segments = [Segment(str(number), "Ghana warnt .") for number in range(9)]
    batch, _ = model.articles([Unit((one,), (number,)) for number, one in enumerate(segments)], [[row]] * 9)
    assert [list(part.input_ids.shape) for part in batch.parts] == [[3, 72]]


@pytest.mark.parametrize(("attention", "expected"), [("auto", "sdpa"), ("eager", "eager")])
def test_the_fused_attention_predicts_unless_another_is_named(
    bert: Path, monkeypatch: pytest.MonkeyPatch, attention: str, expected: str
) -> None:
    """Training continues with its own."""
    model = tiny.article_model(bert, attention=attention)
    config, states, used = model.network.encoder.config, model.network.states, list[str]()
    before = config._attn_implementation

    def noted(part: Packed) -> torch.Tensor:
        used.append(config._attn_implementation)
        return states(part)

    monkeypatch.setattr(model.network, "states", noted)
    model.predict(tiny.articles(1))
    assert used == [expected]
    assert config._attn_implementation == before


def test_an_ensemble_may_have_a_model_of_articles(bert: Path, tmp_path: Path) -> None:
    """Together with a network, with the same answers after saving and loading."""
    members = [Member("articles", tiny.article_model(bert)), Member("network", tiny.network(bert))]
    model, rows = EnsembleModel(members, {"topic": (0.7, 0.3), "stance": (0.5, 0.5)}, tiny.scheme()), tiny.articles(2)
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle"))
    for task, expected in model.probabilities(rows).items():
        np.testing.assert_allclose(loaded.probabilities(rows)[task], expected, atol=1e-6)


@pytest.fixture(scope="module")
def written(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a model of articles."""
    return bundle.save(tiny.article_model(bert), tmp_path_factory.mktemp("article") / "bundle")


@pytest.mark.parametrize(
    ("file", "message"),
    [("model.safetensors", r"has no model\.safetensors"), ("tokenizer.json", r"has no tokenizer\.json"), ("config.json", "config")],
)
def test_a_bundle_of_articles_without_a_file_is_refused(written: Path, tmp_path: Path, file: str, message: str) -> None:
    """In one sentence that names the file."""
    folder = _copy(written, tmp_path)
    (folder / file).unlink()
    with pytest.raises(UserError, match=message) as refused:
        bundle.load(folder)
    assert "\n" not in str(refused.value)


def test_weights_of_another_shape_are_refused(written: Path, tmp_path: Path) -> None:
    """Truncated, for another window, or incomplete: in one sentence that names the file."""
    for number, spoil in enumerate((_cut, _of_a_longer_window, _without_a_head)):
        folder = _copy(written, tmp_path / str(number))
        spoil(folder)
        with pytest.raises(UserError, match=r"model\.safetensors does not fit the bundle's haltung\.json") as refused:
            bundle.load(folder)
        assert "\n" not in str(refused.value)


def test_a_loaded_model_predicts_in_several_threads(written: Path) -> None:
    """Each thread gets the answer of a single thread, and the model is unchanged afterwards."""
    model, rows = bundle.load(written), tiny.articles(6)
    assert isinstance(model, ArticleModel)
    expected = model.probabilities(rows)["stance"]
    attention = model.network.encoder.config._attn_implementation  # type: ignore[union-attr]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: model.probabilities(rows)["stance"], range(60)))
    assert [float(np.abs(one - expected).max()) < 1e-6 for one in answers] == [True] * 60
    assert model.network.encoder.config._attn_implementation == attention == "sdpa"  # type: ignore[union-attr]


@pytest.mark.parametrize("model", [{"sequence": "lstm"}, {"window": 0}, {"breadth": 3}])
def test_a_description_of_another_model_is_refused(written: Path, tmp_path: Path, model: dict[str, object]) -> None:
    """With a value that is not allowed, or an unknown key."""
    folder = _copy(written, tmp_path)
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    description["model"].update(model)
    (folder / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(UserError, match=next(iter(model))):
        bundle.load(folder)


def _copy(folder: Path, to: Path) -> Path:
    (to / "bundle").mkdir(parents=True)
    for path in folder.iterdir():
        (to / "bundle" / path.name).write_bytes(path.read_bytes())
    return to / "bundle"


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _of_a_longer_window(folder: Path) -> None:
    path = folder / "haltung.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description["model"]["window"] += 1
    path.write_text(json.dumps(description), encoding="utf-8")


def _without_a_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in weights.items() if not name.startswith("heads.topic")}, folder / "model.safetensors")


NEW = {"heads", "positions", "kinds", "sequence"}


@pytest.mark.parametrize(
    ("changes", "encoder"),
    [
        ({"tune": "frozen"}, set()),
        ({"freeze_embeddings": True}, {"layer.0", "layer.1"}),
        ({"freeze_layers": 1}, {"layer.1"}),
        ({}, {"embeddings", "layer.0", "layer.1"}),
    ],
)
def test_frozen_parts_of_the_encoder_get_no_gradient(bert: Path, changes: dict[str, object], encoder: set[str]) -> None:
    """New parts are always trained."""
    network = tiny.article_model(bert, **changes).network
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    parts = ("embeddings", "layer.0", "layer.1")
    assert {part for part in parts if any(part in name for name in trained if name.startswith("encoder."))} == encoder
    assert {name.partition(".")[0] for name in trained} - {"encoder"} == NEW


def test_low_rank_updates_are_merged_into_the_bundle(bert: Path, tmp_path: Path) -> None:
    """Only they and the new parts are trained; the bundle has no low-rank updates."""
    model, rows = tiny.article_model(bert, tune="lora", lora_rank=2), tiny.articles(2)
    names = [name for name, parameter in model.network.named_parameters() if parameter.requires_grad]
    assert {"lora" if "lora_" in name else name.partition(".")[0] for name in names} == {*NEW, "lora"}
    plain = _logs(model, rows)
    with torch.no_grad():
        for name, parameter in model.network.encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle"))
    assert isinstance(loaded, ArticleModel)
    assert not any("lora" in name for name in loaded.network.state_dict())
    expected = _logs(model, rows)
    assert max(np.abs(expected[name] - plain[name]).max() for name in plain) > 1e-2
    for name, values in _logs(loaded, rows).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": "lstm"}, "model.sequence is 'lstm'.*transformer"),
        ({"window": 0}, "model.window is 0: input should be greater than or equal to 1"),
        ({"layers": 0}, "model.layers is 0: input should be greater than or equal to 1"),
        ({"pooling": {"topic": "maen"}}, "model.pooling is 'maen', did you mean 'mean'"),
        ({"reads": {"topic": "contxt"}}, "model.reads is 'contxt', did you mean 'context'"),
    ],
)
def test_a_model_of_articles_out_of_range_is_refused(changes: dict[str, object], message: str) -> None:
    """The message has the key, the value and what is allowed."""
    with pytest.raises(UserError, match=message):
        make({"_target_": "haltung.models.spec.ArticleSpec", **changes}, "model")


def test_a_sentence_longer_than_the_encoder_reads_is_refused(bert: Path) -> None:
    """Before training; the limit applies to a sentence, not to an article."""
    with pytest.raises(UserError, match=r"model\.max_length is 96, but the encoder 'tiny' reads at most 64 tokens"):
        build(tiny.encoder(bert), ArticleSpec(max_length=96), tiny.scheme())
    assert len(tiny.article_model(bert, max_length=8).encode([Segment("1", "Chile lobt Peru . " * 9)])[0]) == 8
