"""The standalone client reads a text exactly as in training, for any text, context, target and
length.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haltung import files
from haltung.encoders import embedded
from haltung.encoders.tokens import Reads, encode
from haltung.inference.client import Classifier, Row
from haltung.records import Segment
from nasty_sentences import sentences

# The special tokens of the two tokenizers in the notation of the contract (docs/bundle.md).
BERT = {"single": [[2], [3]], "pair": [[2], [3], [3]], "types": {"single": [0, 0, 0], "pair": [0, 0, 0, 1, 1]}, "pad": 0}
XLM_R = {"single": [[0], [2]], "pair": [[0], [2, 2], [2]], "types": None, "pad": 1}

# Arbitrary texts, and texts of words that the tokenizers know.
_TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.lists(st.sampled_from([*sentences(), "Chile warnt die Marine .", " ", "\ud83d", "\ude42"]), max_size=8).map(" ".join),
)
_SEGMENTS = st.lists(st.builds(Segment, id=st.just("s"), text=_TEXTS, context=_TEXTS, target=_TEXTS), min_size=1, max_size=3)


@pytest.fixture(scope="module", params=["bert", "xlm-r"])
def tokenizer(request: pytest.FixtureRequest, bert: Path) -> tuple[Path, Any, dict[str, Any]]:
    """A folder with a tokenizer, the tokenizer as training loads it, and its special tokens."""
    from transformers import AutoTokenizer

    folder = bert if request.param == "bert" else embedded.ensure(files.cache())
    return folder, AutoTokenizer.from_pretrained(folder), BERT if request.param == "bert" else XLM_R


def unloaded(folder: Path, tokenizer: Path, specials: dict[str, Any], views: list[str], max_length: int, prefix: str) -> Classifier:
    """Return a client of a bundle without a graph."""
    folder.mkdir(exist_ok=True)
    given = {"kind": "tokens", "tokenizer": "tokenizer.json", "prefix": prefix, "max_length": max_length, **specials}
    scheme = {"name": "tiny", "tasks": {"stance": {"kind": "single", "labels": {"warning": {}, "neutral": {}}}}}
    description = {"format": 1, "scheme": scheme, "views": views, "input": given, "formats": {}}
    (folder / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
    if not (folder / "tokenizer.json").exists():
        (folder / "tokenizer.json").write_bytes((tokenizer / "tokenizer.json").read_bytes())
    return Classifier(folder, format=None)


def _rows(client: Classifier, segments: list[Segment]) -> dict[str, list[Row]]:
    """Return the rows of each view without padding, in the order of the segments."""
    found: dict[str, dict[int, Row]] = {view: {} for view in client.views}
    for numbers, feeds in client.batches([{"text": one.text, "context": one.context, "target": one.target} for one in segments]):
        for view, rows in found.items():
            columns = {name.removeprefix(f"{view}."): values for name, values in feeds.items() if name.startswith(f"{view}.")}
            for place, number in enumerate(numbers):
                assert number is not None
                length = int(columns["attention_mask"][place].sum())
                rows[number] = {name: values[place, :length].tolist() for name, values in columns.items()}
    return {view: [rows[number] for number in range(len(segments))] for view, rows in found.items()}


def _plain(row: Row) -> tuple[list[int], ...]:
    """Return ids, own mask and types of a row; the types are 0 if the encoder has none."""
    ids = row["input_ids"]
    assert row["attention_mask"] == [1] * len(ids)
    return ids, row["own_mask"], row.get("token_type_ids", [0] * len(ids))


@pytest.mark.parametrize(("max_length", "prefix"), [(8, ""), (9, "query: "), (24, "query: "), (128, "")])
def test_the_clients_tokens_are_those_of_the_training(
    tokenizer: tuple[Path, Any, Any], tmp_path: Path, max_length: int, prefix: str
) -> None:
    """Ids, own tokens and token types, in every view."""
    folder, ours, specials = tokenizer
    client = unloaded(tmp_path / "bundle", folder, specials, list(get_args(Reads)), max_length, prefix)

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_SEGMENTS)
    def compared(segments: list[Segment]) -> None:
        found = _rows(client, segments)
        for view in get_args(Reads):
            expected = encode(segments, ours, view, max_length, prefix)
            assert [_plain(row) for row in found[view]] == [(row.ids, row.own, row.types) for row in expected]

    compared()


def test_a_text_of_100_kilobytes_is_cut_as_in_the_training(tokenizer: tuple[Path, Any, Any], tmp_path: Path) -> None:
    """Whether it is text, context or target."""
    folder, ours, specials = tokenizer
    client = unloaded(tmp_path / "bundle", folder, specials, list(get_args(Reads)), 128, "query: ")
    long = "Chile warnt die Marine in Peru . \U0001f9fb " * 2600
    segments = [Segment("a", long, context="Ja ."), Segment("b", "Ja .", context=long), Segment("c", "Ja .", context="Nein .", target=long)]
    found = _rows(client, segments)
    assert {view: [row["input_ids"] for row in rows] for view, rows in found.items()} == {
        view: [row.ids for row in encode(segments, ours, view, 128, "query: ")] for view in get_args(Reads)
    }


def test_feeds_are_padded_on_the_right(bert: Path, tmp_path: Path) -> None:
    """With the bundle's padding id, and masks of 0 there; inputs of a single view lack a prefix."""
    client = unloaded(tmp_path / "bundle", bert, BERT | {"pad": 7}, ["context"], 16, "")
    ((rows, feeds),) = client.batches(["Chile .", {"text": "Peru .", "context": "Chile warnt Peru ."}])
    assert rows == [1, 0]  # the longest first
    assert list(feeds) == ["input_ids", "attention_mask", "own_mask", "token_type_ids"]
    assert {values.dtype.name for values in feeds.values()} == {"int64"}
    ids, mask, own, types = (values[1].tolist() for values in feeds.values())
    assert ids[4:] == [7] * (len(ids) - 4)
    assert (mask, own) == ([1] * 4 + [0] * (len(ids) - 4), [0, 1, 1, 0] + [0] * (len(ids) - 4))
    assert not any(types)
    assert feeds["token_type_ids"][0].tolist() == [0] * 6 + [1] * 3


def test_each_of_several_views_has_inputs_of_its_own(bert: Path, tmp_path: Path) -> None:
    """Their names begin with the view and a dot."""
    client = unloaded(tmp_path / "bundle", bert, BERT, ["text", "target+context"], 16, "")
    ((_, feeds),) = client.batches(["Chile ."])
    names = ("input_ids", "attention_mask", "own_mask", "token_type_ids")
    assert list(feeds) == [f"{view}.{name}" for view in ("text", "target+context") for name in names]
