"""Explanations of mistakes by occlusion, for any kind of model: words, headline and neighbours are
left out one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from haltung.evaluation.error_analysis.analysis import Mistake
from haltung.evaluation.predictions import score
from haltung.experiments.evaluate import analyse_errors
from haltung.experiments.explain import SURROUNDINGS, explained
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.linear import fit
from haltung.models.neural import NeuralModel
from haltung.models.predictor import Predictor
from haltung.models.spec import LinearSpec
from haltung.records import Prediction, Segment

ONE = Segment("1", "Chile warnt die Marine .", context="Peru lobt den Zoll .", target="Malta")
ROWS = tiny.articles(1, size=9)
WEIGHTS = {"topic": [1.0, 0.5], "stance": [1.0, 0.5]}


def mistake(own: Segment, label: str = "warning") -> Mistake:
    """Return a mistake: a segment for which this stance was predicted."""
    return Mistake("stance", own.id, own.article, ("neutral",), (label,), label, 0.9, 0.1, own.text, own.target, own.context)


def shown(found: Mistake, part: str) -> list[str]:
    """Return the words, or sentences, of a part that have weights."""
    return [getattr(found, part)[word.start : word.end] for word in found.words if word.part == part]


def together(bert: Path, first: Predictor) -> EnsembleModel:
    """Return an ensemble of this model and a linear one that reads the context."""
    linear = fit(tiny.segments(100), tiny.scheme(), LinearSpec(reads={"default": "context"}), 0)
    return EnsembleModel([Member("first", first), Member("linear", linear)], WEIGHTS, tiny.scheme())  # type: ignore[arg-type]


def test_words_of_text_target_and_context_are_found_again(bert: Path) -> None:
    """At their positions in the segment's strings, each once and in order, without punctuation."""
    network = tiny.network(bert, reads={"default": "target+context"})
    for model in (network, together(bert, network)):
        (found,) = explained(model, [ONE], [mistake(ONE)])
        words = {part: shown(found, part) for part in ("text", "target", "context")}
        assert words == {"text": ["Chile", "warnt", "die", "Marine"], "target": ["Malta"], "context": ["Peru", "lobt", "den", "Zoll"]}
        assert max(abs(word.weight) for word in found.words) == 1.0
        assert found.surroundings == ""


def decided_by_warnt(model: NeuralModel) -> NeuralModel:
    """Fit a head so that "warnt" alone moves its logit."""
    rows = tiny.segments(200)
    with torch.no_grad():
        views = [model.batch(model.encode(rows), range(start, start + 50))[0] for start in range(0, 200, 50)]
        states = []
        for view in views:
            hidden = model.network.encoder(input_ids=view.ids, attention_mask=view.mask, token_type_ids=view.types).last_hidden_state
            states.append((hidden * view.mask[..., None]).sum(1) / view.mask.sum(1, keepdim=True))
        wanted = torch.tensor([[1.0 if "warnt" in row.text else -1.0] for row in rows])
        table = torch.cat([torch.cat(states), torch.ones(200, 1)], dim=1)
        head = model.network.heads["stance"]
        head.weight.zero_()  # type: ignore[operator]
        head.weight[0] = torch.linalg.lstsq(table, wanted, driver="gelsd").solution[:-1, 0]  # type: ignore[operator, index]
    return model


def test_the_word_that_decides_weighs_most(bert: Path) -> None:
    """For a network and for a linear model."""
    rows = [row for row in tiny.segments(200) if "warnt" in row.text][:20]
    for model in (decided_by_warnt(tiny.network(bert)), fit(tiny.segments(200), tiny.scheme(), LinearSpec(), 0)):
        best = [max(found.words, key=lambda word: word.weight) for found in explained(model, rows, list(map(mistake, rows)))]
        assert sum(row.text[word.start : word.end] == "warnt" for row, word in zip(rows, best, strict=True)) >= 15


def test_a_neighbour_counts_what_the_label_loses_without_it(bert: Path) -> None:
    """The article is read without the headline, or without one preceding or following sentence."""
    model, rows = tiny.article_model(bert), ROWS[:4]
    (found,) = explained(model, rows, [mistake(rows[1], "support")])
    assert found.surroundings == f"{rows[0].headline} {rows[0].text} […] {rows[2].text} {rows[3].text}"
    assert shown(found, SURROUNDINGS) == [rows[0].headline, *(rows[n].text for n in (0, 2, 3))]

    def odds(read: Sequence[Segment]) -> float:
        (row,) = (n for n, one in enumerate(read) if one.id == rows[1].id)
        likely = model.probabilities(read, precision="fp32")["stance"][row, 1]
        return float(np.log(likely / (1 - likely)))

    without = [[replace(row, headline="") for row in rows], *([row for row in rows if row is not rows[n]] for n in (0, 2, 3))]
    lost = np.array([odds(rows) - odds(left) for left in without])
    weights = np.array([word.weight for word in found.words if word.part == SURROUNDINGS])
    assert np.abs(lost).max() > 0.01
    assert weights / np.abs(weights).max() == pytest.approx(lost / np.abs(lost).max(), abs=0.02)


def test_three_neighbours_on_each_side_are_read(bert: Path) -> None:
    """For a model of articles, and for its ensemble with a model that reads the context."""
    reader = tiny.article_model(bert)
    for model in (reader, together(bert, reader)):
        (found,) = explained(model, [*reversed(ROWS), ONE], [mistake(ROWS[4])])
        assert found.surroundings == " ".join([ROWS[0].headline, *(row.text for row in ROWS[1:4]), "[…]", *(row.text for row in ROWS[5:8])])
        assert shown(found, "text") == ROWS[4].text.split()[:-1]
        assert len(shown(found, SURROUNDINGS)) == 7


def test_a_sentence_of_no_article_has_the_words_of_its_context(bert: Path) -> None:
    """Without neighbours, headline and context, only its own words have weights."""
    bare = [Segment("2", ONE.text), Segment("3", ONE.text, article="a", position=0), Segment("4", "")]
    first, *rest = explained(tiny.article_model(bert), [ONE, *bare], list(map(mistake, (ONE, *bare))))
    assert shown(first, "context") == ["Peru", "lobt", "den", "Zoll"]
    assert [{word.part for word in found.words} for found in rest] == [{"text"}, {"text"}, set()]
    assert [found.surroundings for found in (first, *rest)] == [""] * 4


def test_explaining_changes_nothing_in_the_model(bert: Path) -> None:
    """Trainable parameters and answers don't change, and no actors are searched."""
    model = tiny.article_model(bert, tune="lora", dyads=True)
    wanted = [parameter.requires_grad for parameter in model.network.parameters()]
    before = model.probabilities(ROWS)["stance"]
    explained(model, ROWS, [mistake(ROWS[2])])
    assert [parameter.requires_grad for parameter in model.network.parameters()] == wanted
    np.testing.assert_array_equal(model.probabilities(ROWS)["stance"], before)
    assert "actors" not in vars(model)
    np.testing.assert_allclose(model.answers(ROWS).probabilities["stance"], before, atol=1e-6)


def other_labels(answer: Prediction) -> dict[str, str]:
    """Return, for each task, a label that was not predicted."""
    return {task.name: next(label for label in task.ids if label != answer.labels[task.name]) for task in tiny.scheme()}


def test_an_error_analysis_has_everything(bert: Path) -> None:
    """Slices, sensitivity to names, and mistakes, as many of them explained as requested."""
    segments, rows = tiny.segments(60, articles=12), tiny.articles(12)
    reader = tiny.article_model(bert)
    cases = [(tiny.network(bert, reads={"default": "context"}), segments), (reader, rows), (together(bert, reader), rows)]
    for model, known in cases:
        predicted = model.predict(known)
        wrong = [
            replace(one, labels=other_labels(answer)) if n % 2 else one
            for n, (one, answer) in enumerate(zip(known, predicted, strict=True))
        ]
        found = analyse_errors(model, wrong, score(wrong, predicted, tiny.scheme(), "tiny", "dev"), explain=7, draws=50)
        mistakes = [one for one in found.mistakes.mistakes if one.words]
        assert (found.corpus, found.split, found.explained, len(mistakes)) == ("tiny", "dev", 7, 7)
        assert {one.task for one in mistakes} == {"topic", "stance"}
        assert all(max(abs(word.weight) for word in one.words) == 1.0 for one in mistakes)
        assert all(one.surroundings.count("[…]") == model.reads_articles for one in mistakes)
        assert set(found.slices.tasks) == set(found.name_sensitivity.tasks) == {"topic", "stance"}
