"""Word importances: they add up to what they explain, they stand at the right words, and an
examination has them. Of a model of articles also those of headline and neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from haltung.errors import UserError
from haltung.evaluation.predictions import score
from haltung.experiments.evaluate import analyse_errors
from haltung.models.article import ArticleModel
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.explain import SURROUNDINGS, SpanShare, by_word
from haltung.models.explain.linear import contributions
from haltung.models.explain.neural import attribute, attribute_in_articles
from haltung.models.linear import fit
from haltung.models.neural import build
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.records import Segment

ONE = Segment("1", "Chile warnt die Marine .", context="Peru lobt den Zoll .", target="Malta")


@pytest.mark.parametrize("reads", ["text", "context", "target", "target+context"])
@pytest.mark.parametrize("pooling", ["mean", "text", "cls"])
def test_shares_add_up_to_the_difference_of_the_logits(bert: Path, reads: str, pooling: str) -> None:
    """Completeness (Sundararajan et al. 2017), for whatever is read and however it is pooled."""
    model = tiny.network(bert, reads={"default": reads}, pooling={"default": pooling})
    rows = [ONE, *tiny.segments(4)]
    for found in attribute(model, rows, "stance", ["warning"] * 5, steps=64, exact=True):
        size = sum(abs(word.value) for word in found.words)
        assert size > 0.01
        assert abs(found.gap) < 0.01 * size
        # Special tokens are the same in the baseline.
        assert found.rest == pytest.approx(0, abs=1e-6)


def test_the_logit_is_the_models_own(bert: Path) -> None:
    """What is explained is what is predicted."""
    model = tiny.network(bert, reads={"default": "text", "topic": "context"})
    for task in model.scheme:
        logits = [attribute(model, [ONE], task.name, [label], exact=True)[0].logit for label in task.ids]
        assert torch.tensor(logits).softmax(0).numpy() == pytest.approx(model.probabilities([ONE])[task.name][0], abs=0.02)


def test_words_of_text_and_context_are_found_again(bert: Path) -> None:
    """Their positions are those in the segment's strings; what a task does not read is absent."""
    model = tiny.network(bert, reads={"default": "target+context", "topic": "text"})
    (found,) = attribute(model, [ONE], "stance", ["support"])
    words = [(word.part, getattr(ONE, word.part)[word.start : word.end]) for word in found.words]
    expected = [("text", "Chile warnt die Marine ."), ("target", "Malta"), ("context", "Peru lobt den Zoll .")]
    assert words == [(part, word) for part, text in expected for word in text.split()]
    (found,) = attribute(model, [ONE], "topic", ["economy"])
    assert {word.part for word in found.words} == {"text"}


def test_a_context_that_is_cut_on_its_left_keeps_its_places(bert: Path) -> None:
    """Only its last words were read."""
    segment = Segment("1", "Chile warnt die Marine .", context="Peru Laos Nepal Ghana lobt den Zoll .")
    model = tiny.network(bert, max_length=12, reads={"default": "context"})
    (found,) = attribute(model, [segment], "stance", ["support"])
    read = [segment.context[word.start : word.end] for word in found.words if word.part == "context"]
    assert read
    assert read == segment.context.split()[-len(read) :]
    assert [word.end for word in found.words if word.part == "text"][-1] == len(segment.text)


def test_a_prefix_is_no_word(bert: Path) -> None:
    """It is read before the text, but is not the text's."""
    torch.manual_seed(1)
    import dataclasses

    encoder = dataclasses.replace(tiny.encoder(bert), prefix="Laos Laos ")
    for reads in ("text", "context"):
        model = build(encoder, NetworkSpec(max_length=32, reads={"default": reads}), tiny.scheme())
        (found,) = attribute(model, [ONE], "stance", ["support"])
        assert [ONE.text[word.start : word.end] for word in found.words if word.part == "text"] == ONE.text.split()


def test_the_word_that_decides_weighs_most(bert: Path) -> None:
    """A head is fitted so that "warnt" alone moves its logit; its share is the largest."""
    model = tiny.network(bert)
    rows = tiny.segments(200)
    with torch.no_grad():
        states = []
        encoded = model.encode(rows)
        for start in range(0, 200, 50):
            (view,) = model.batch(encoded, range(start, start + 50))
            hidden = model.network.encoder(input_ids=view.ids, attention_mask=view.mask, token_type_ids=view.types).last_hidden_state
            states.append((hidden * view.mask[..., None]).sum(1) / view.mask.sum(1, keepdim=True))
        wanted = torch.tensor([[1.0 if "warnt" in row.text else -1.0] for row in rows])
        table = torch.cat([torch.cat(states), torch.ones(200, 1)], dim=1)
        weights = torch.linalg.lstsq(table, wanted, driver="gelsd").solution[:-1, 0]
        head = model.network.heads["stance"]
        assert isinstance(head, torch.nn.Linear)
        head.weight[0] = weights
    warnings = [row for row in rows if "warnt" in row.text][:20]
    right = 0
    for row, found in zip(warnings, attribute(model, warnings, "stance", ["warning"] * 20, exact=True), strict=True):
        best = max(found.words, key=lambda word: word.value)
        right += row.text[best.start : best.end] == "warnt"
    assert right >= 15


def test_explaining_changes_nothing_in_the_model(bert: Path) -> None:
    """Weights can be trained as before, and predictions are the same."""
    model = tiny.network(bert, freeze_layers=1)
    wanted = [parameter.requires_grad for parameter in model.network.parameters()]
    before = model.probabilities([ONE])["stance"]
    attribute(model, [ONE], "stance", ["warning"])
    assert [parameter.requires_grad for parameter in model.network.parameters()] == wanted
    np.testing.assert_array_equal(model.probabilities([ONE])["stance"], before)


def test_a_network_with_lora_is_explained_too(bert: Path) -> None:
    """Its updates are merged into a copy."""
    (found,) = attribute(tiny.network(bert, tune="lora"), [ONE], "stance", ["warning"], steps=64, exact=True)
    assert abs(found.gap) < 0.01 * sum(abs(word.value) for word in found.words)


def test_an_empty_text_has_no_words(bert: Path) -> None:
    """Nothing is divided by zero."""
    (found,) = attribute(tiny.network(bert), [Segment("1", "")], "stance", ["warning"])
    assert (found.words, found.normalised()) == ((), ())


def test_an_unknown_label_is_refused(bert: Path) -> None:
    """With the labels that there are."""
    with pytest.raises(UserError, match="unknown stance 'warn', did you mean 'warning'"):
        attribute(tiny.network(bert), [ONE], "stance", ["warn"])


def test_normalised_shares_end_at_one() -> None:
    """The largest in size is 1 or -1, and the signs stay."""
    from haltung.models.explain import Attribution, SpanShare

    found = Attribution("stance", "a", (SpanShare("text", 0, 1, 2.0), SpanShare("text", 2, 3, -4.0)), 0.5, 1.0, 2.5)
    assert [word.value for word in found.normalised()] == [0.5, -1.0]
    assert found.gap == 0.0


def test_a_piece_over_two_words_is_divided() -> None:
    """By the characters that it has of each; a piece between words falls on none."""
    shares, rest = by_word([SpanShare("text", 0, 6, 3.0), SpanShare("text", 2, 3, 5.0), SpanShare("", 0, 0, 7.0)], {"text": "ab cdef"})
    assert [(share.start, share.end, share.value) for share in shares] == [(0, 2, pytest.approx(1.2)), (3, 7, pytest.approx(1.8))]
    assert rest == 12.0


@pytest.mark.parametrize("kind", ["logistic", "svc"])
@pytest.mark.parametrize("reads", ["text", "context", "target+context"])
def test_a_linear_models_shares_are_exact(kind: str, reads: str) -> None:
    """Words and intercept are the log odds that its probability comes from, and the places are
    right.
    """
    model = fit(tiny.segments(80), tiny.scheme(), LinearSpec(kind=kind, reads={"default": reads}), 0)
    rows = [*tiny.segments(6, seed=3), Segment("x", "Chile  warnt Chile, die Marine!", context="Peru", target="Laos")]
    for label in tiny.scheme()["stance"].ids:
        for row, found in zip(rows, contributions(model, rows, "stance", [label] * 7), strict=True):
            assert found.gap == pytest.approx(0, abs=1e-4)
            assert found.rest == pytest.approx(0, abs=1e-6)
            assert all(getattr(row, word.part)[word.start : word.end].strip() for word in found.words)
    odds = [contributions(model, rows, "stance", [label] * 7) for label in tiny.scheme()["stance"].ids]
    values = 1 / (1 + np.exp(-np.array([[each.logit for each in column] for column in odds]).T))
    assert model.probabilities(rows)["stance"] == pytest.approx(values / values.sum(axis=1, keepdims=True), abs=1e-5)


def test_a_linear_model_weighs_the_verb() -> None:
    """The words that make a warning in the tiny corpus."""
    model = fit(tiny.segments(200), tiny.scheme(), LinearSpec(), 0)
    (found,) = contributions(model, [ONE], "stance", ["warning"])
    best = max(found.words, key=lambda word: word.value)
    assert ONE.text[best.start : best.end] == "warnt"


def test_an_error_analysis_has_everything(bert: Path) -> None:
    """Slices, sensitivity to names, and mistakes, of which as many are explained as were wanted."""
    model, segments = tiny.network(bert, reads={"default": "context"}), tiny.segments(60, articles=12)
    found = analyse_errors(model, segments, score(segments, model.predict(segments), tiny.scheme(), "tiny", "dev"), explain=7, draws=100)
    assert (found.corpus, found.split, found.explained) == ("tiny", "dev", 7)
    assert sum(bool(mistake.words) for mistake in found.mistakes.mistakes) == 7
    assert {mistake.task for mistake in found.mistakes.mistakes if mistake.words} == {"topic", "stance"}
    assert max(abs(word.weight) for mistake in found.mistakes.mistakes for word in mistake.words) == 1.0
    assert found.explanation_gap is not None
    assert set(found.slices.tasks) == set(found.name_sensitivity.tasks) == {"topic", "stance"}


def test_a_linear_model_is_examined_too() -> None:
    """Its explanations leave no gap."""
    model, segments = fit(tiny.segments(40), tiny.scheme(), LinearSpec(), 0), tiny.segments(60, seed=2)
    wrong = [Segment(s.id, s.text, {"topic": "security", "stance": "neutral"}, context=s.context, article=s.article) for s in segments]
    found = analyse_errors(model, wrong, score(wrong, model.predict(wrong), tiny.scheme()), explain=4, draws=50)
    assert found.explained == 4
    assert found.explanation_gap == pytest.approx(0, abs=1e-4)


ROWS = [*tiny.articles(1, size=6), *tiny.articles(1, seed=1, size=3)]


def _logits(model: ArticleModel, rows: Sequence[Segment], name: str) -> np.ndarray:
    """The logits of a segment's stances, by themselves of no segment of another article."""
    number = [row.id for row in rows].index(name)
    labels = model.scheme["stance"].ids
    return np.array([attribute_in_articles(model, rows, [number], "stance", [label], exact=True)[0].logit for label in labels])


@pytest.mark.parametrize("sequence", ["transformer", "lstm"])
@pytest.mark.parametrize("reads", ["text", "target"])
def test_own_words_add_up_among_neighbours(bert: Path, sequence: str, reads: str) -> None:
    """To the logit less that of padding among the same neighbours; the logit is the model's own."""
    model = tiny.article_model(bert, sequence=sequence, window=4, reads={"default": reads})
    rows = [replace(row, target="Malta") for row in ROWS]
    found = attribute_in_articles(model, rows, [5, 0, 7], "stance", ["warning"] * 3, steps=64, exact=True)
    for one, number in zip(found, (5, 0, 7), strict=True):
        size = sum(abs(word.value) for word in one.words)
        assert size > 0.01
        assert abs(one.gap) < 0.01 * size
        words = [(word.part, getattr(rows[number], word.part)[word.start : word.end]) for word in one.words]
        own = [("text", word) for word in rows[number].text.split()]
        assert words == own + ([("target", "Malta")] if reads == "target" else [])
        logits = _logits(model, rows, rows[number].id)
        expected = model.probabilities(rows, precision="fp32")["stance"][number]
        assert torch.tensor(logits).softmax(0).numpy() == pytest.approx(expected, abs=1e-4)
        assert one.logit == pytest.approx(logits[0], abs=1e-4)


@pytest.mark.parametrize("sequence", ["transformer", "lstm"])
def test_a_neighbour_counts_what_the_logit_loses_without_it(bert: Path, sequence: str) -> None:
    """As if the article had never had it: headline, sentences before and after, each for itself."""
    model, rows = tiny.article_model(bert, sequence=sequence), ROWS[:4]
    (one,) = attribute_in_articles(model, rows, [1], "stance", ["support"], exact=True)
    headline = rows[0].headline
    assert one.surroundings == f"{headline} {rows[0].text} […] {rows[2].text} {rows[3].text}"
    assert [one.surroundings[share.start : share.end] for share in one.sentences] == [headline, *(rows[n].text for n in (0, 2, 3))]
    assert {share.part for share in one.sentences} == {SURROUNDINGS}
    without = [[replace(row, headline="") for row in rows], *([row for row in rows if row is not rows[n]] for n in (0, 2, 3))]
    for share, left in zip(one.sentences, without, strict=True):
        assert share.value == pytest.approx(one.logit - _logits(model, left, rows[1].id)[1], abs=1e-4)
    assert max(abs(share.value) for share in one.sentences) > 0.01


def test_sentences_beyond_the_window_are_shown_and_count_nothing(bert: Path) -> None:
    """The article is shown whole; other articles are not."""
    (one,) = attribute_in_articles(tiny.article_model(bert, window=4), ROWS, [4], "stance", ["warning"])
    assert one.surroundings == " ".join([ROWS[0].headline, *(row.text for row in ROWS[:4]), "[…]", ROWS[5].text])
    assert [one.surroundings[share.start : share.end] for share in one.sentences] == [ROWS[0].headline, ROWS[5].text]


def test_a_sentence_of_no_article_has_its_context_alone(bert: Path) -> None:
    """Which counts as one; without any there is nothing beside the words."""
    rows = [replace(ONE, target=""), Segment("2", ONE.text), Segment("3", ONE.text, article="a", position=0)]
    with_context, *bare = attribute_in_articles(tiny.article_model(bert), rows, [0, 1, 2], "stance", ["warning"] * 3)
    (share,) = with_context.sentences
    assert (share.part, rows[0].context[share.start : share.end], with_context.surroundings) == ("context", rows[0].context, "")
    assert abs(share.value) > 1e-3
    assert [(one.sentences, one.surroundings) for one in bare] == [((), ""), ((), "")]


def test_a_model_of_articles_with_lora_is_explained_and_stays_as_it_was(bert: Path) -> None:
    """Merged for it; an unknown label is refused."""
    model = tiny.article_model(bert, tune="lora", dyads=True)
    wanted = [parameter.requires_grad for parameter in model.network.parameters()]
    (one,) = attribute_in_articles(model, ROWS, [2], "stance", ["warning"], steps=64, exact=True)
    assert abs(one.gap) < 0.01 * sum(abs(word.value) for word in one.words)
    assert [parameter.requires_grad for parameter in model.network.parameters()] == wanted
    with pytest.raises(UserError, match="unknown stance 'warn', did you mean 'warning'"):
        attribute_in_articles(model, ROWS, [2], "stance", ["warn"])


def test_the_errors_of_a_model_of_articles_have_their_surroundings(bert: Path) -> None:
    """Alone, and as a member of an ensemble beside one that reads no article."""
    rows, single = tiny.articles(12), tiny.article_model(bert)
    members = [Member("articles", single), Member("linear", fit(rows, tiny.scheme(), LinearSpec(), 0))]
    for model in (single, EnsembleModel(members, {"topic": [1.0, 0.5], "stance": [1.0, 0.5]}, tiny.scheme())):
        wrong = [replace(row, labels={"topic": "security", "stance": "neutral"}) for row in rows]
        found = analyse_errors(model, wrong, score(wrong, model.predict(wrong), tiny.scheme()), explain=4, draws=50)
        explained = [mistake for mistake in found.mistakes.mistakes if mistake.words]
        assert found.explained == len(explained) == 4
        assert found.explanation_gap is not None
        for mistake in explained:
            assert mistake.surroundings.count("[…]") == 1
            assert {word.part for word in mistake.words} == {"text", SURROUNDINGS}
            assert [mistake.text[word.start : word.end] for word in mistake.words if word.part == "text"] == mistake.text.split()
            assert max(abs(word.weight) for word in mistake.words) == 1.0
