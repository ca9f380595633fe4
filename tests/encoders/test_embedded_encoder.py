"""The embedded encoder compared with computations that share no code with it.

The package's C program tokenizes and encodes like ours, with these differences, each of which the
comparison undoes or excludes:

- it maps single code points without composing them, so that ``u`` + U+0308 stays two unknown
  characters; ours composes (NFKC). It is given composed text.
- each unknown character becomes one ``<unk>``; with ours (as with XLM-R's) a run of them becomes
  one.
- a text without any visible character becomes a single ``▁``; with ours it becomes empty.
- ``<s>``, ``</s>`` and ``<unk>`` written out in a text are special tokens with ours.
- it rounds activations to 8 bits, so that its hidden states are close to ours, but not equal. Exact
  equality is required of the decoded blocks, and closeness (1e-5) of the layers written in NumPy.
"""

from __future__ import annotations

import itertools
import shutil
import struct
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e5_reference import CProgram, hidden_states
from haltung.encoders import embedded
from nasty_sentences import plain, sentences

UNKNOWN = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder, built from the installed package."""
    return embedded.build(tmp_path_factory.mktemp("cache") / embedded.NAME)


@pytest.fixture(scope="module")
def weights() -> embedded.WeightsFile:
    """The package's file, opened by our reader."""
    return embedded.read(embedded.checked(embedded.package_file()))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    """The tokenizer as users get it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """The model as users get it; it has no pooler."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()


def _program(folder: Path) -> CProgram:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler (cc, gcc or clang), with which the package's C program would be built")
    weights = embedded.package_file()
    return CProgram(compiler, weights.parent, weights, folder)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> CProgram:
    """The C program with its whole vocabulary."""
    return _program(tmp_path_factory.mktemp("c"))


@pytest.fixture(scope="module")
def cut_program(tmp_path_factory: pytest.TempPathFactory, weights: embedded.WeightsFile) -> CProgram:
    """The C program with the reduced vocabulary."""
    program = _program(tmp_path_factory.mktemp("c-cut"))
    program.keep(embedded.selected_ids(weights))
    return program


def _as_ours(ids: list[int], new_ids: dict[int, int]) -> list[int]:
    """Return the C program's ids as ours: reduced vocabulary, runs of unknowns as one."""
    fused = [piece for index, piece in enumerate(ids) if piece != UNKNOWN or ids[max(index - 1, 0)] != UNKNOWN or index == 0]
    return [new_ids[piece] for piece in fused]


def _given(text: str) -> str:
    """Return a text as it is passed to the C program: composed, and without the surrounding space,
    which ours strips.
    """
    return unicodedata.normalize("NFC", text).strip()


def _hidden(model: Any, ids: list[int]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_token_ids_are_those_of_the_c_program_with_the_same_pieces(cut_program, tokenizer, weights) -> None:
    """For all sentences, including unknown characters."""
    new_ids = {old: new for new, old in enumerate(embedded.selected_ids(weights))}
    compared = [text for text in sentences() if cut_program.tokens(_given(text)) != [6] and "<s>" not in text]
    assert len(compared) > 280
    expected = {text: _as_ours(cut_program.tokens(_given(text)), new_ids) for text in compared}
    assert expected == {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in compared}


def test_token_ids_are_those_of_the_whole_vocabulary_where_all_its_pieces_are_kept(program, tokenizer, weights) -> None:
    """Reducing the vocabulary changes nothing for a text whose pieces are all kept."""
    new_ids = {old: new for new, old in enumerate(embedded.selected_ids(weights))}
    whole = {text: program.tokens(_given(text)) for text in sentences() if "<s>" not in text}
    complete = {text: ids for text, ids in whole.items() if ids != [6] and all(piece in new_ids for piece in ids)}
    assert len(complete) > 100
    assert {text: _as_ours(ids, new_ids) for text, ids in complete.items()} == {
        text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in complete
    }


def test_decomposed_umlauts_are_read_as_composed_ones(tokenizer) -> None:
    """Text from macOS and from some PDFs is decomposed."""
    composed = {text: tokenizer(text)["input_ids"] for text in plain()}
    assert composed == {text: tokenizer(unicodedata.normalize("NFD", text))["input_ids"] for text in plain()}


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u00a0", "\u200b", "\ufeff", "\x01\x02\x7f"])
def test_a_text_without_a_visible_character_has_specials_only(tokenizer, text: str) -> None:
    """There is neither an error nor a lone space."""
    assert tokenizer(text)["input_ids"] == [0, 2]


@pytest.mark.parametrize("text", ["北京", "القدس", "🇩🇪", "\ue000", "\U0010fffd", "a\U0001f9ffb", "\x00", "࿕"])
def test_unknown_characters_give_unk_and_no_crash(tokenizer, text: str) -> None:
    """Non-Latin scripts and rare characters are not in the vocabulary."""
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (0, 2)
    assert UNKNOWN in ids


def test_every_german_letter_and_the_usual_signs_have_a_piece(tokenizer) -> None:
    """None of them is unknown in any position."""
    signs = "abcdefghijklmnopqrstuvwxyzäöüßABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÜ0123456789éèàçñøåğıłšžń.,;:!?'\"()[]/&%+-–—„“”‚‘’»«…§€$°*#@"
    assert [sign for sign in signs if UNKNOWN in tokenizer(f"x{sign}x {sign}")["input_ids"]] == []


def test_the_vocabulary_is_the_specials_the_german_pieces_and_the_mask(tokenizer, weights) -> None:
    """39,193 pieces: 0 to 3 are special tokens, the last one is the mask."""
    rows = embedded.selected_ids(weights)
    assert len(tokenizer) == len(rows) == len(set(rows)) == 39_193
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 39_192]) == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (1, 3, 39_192)


def test_the_piece_with_the_lowest_score_is_kept(weights) -> None:
    """The score of unknown characters is derived from it, so without it rare words would be split
    differently.
    """
    assert weights.scores[embedded.selected_ids(weights)].min() == weights.scores.min()


def test_two_texts_are_a_pair_as_xlm_r_writes_it(tokenizer) -> None:
    """``<s> A </s> </s> B </s>``, all of token type 0."""
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("Wer warnt?", "Chile warnt."))
    pair = tokenizer("Wer warnt?", "Chile warnt.", return_token_type_ids=True)
    assert pair["input_ids"] == [0, *first, 2, 2, *second, 2]
    assert set(pair["token_type_ids"]) == {0}


def test_blocks_are_decoded_as_the_format_says(weights) -> None:
    """For some blocks: w = (q - 8) · d, the low nibbles first."""
    kind, _, offset, length = weights.directory["l3.fi.w"]
    assert kind == 1
    ours = weights.tensor("l3.fi.w")
    blocks = [0, 1, 4711, length // 18 - 1]
    for block in blocks:
        (scale,), nibbles = struct.unpack_from("<e", weights.data, offset + 18 * block), bytes(weights.data[offset + 18 * block + 2 :][:16])
        expected = [(byte & 15) - 8 for byte in nibbles] + [(byte >> 4) - 8 for byte in nibbles]
        assert [quant * scale for quant in expected] == ours[32 * block : 32 * block + 32].tolist()


def test_every_matrix_is_decoded_as_by_the_c_program(program, weights) -> None:
    """Exactly; for the 250,037 word vectors, only the selected ones are compared."""
    rows = embedded.selected_ids(weights)
    for name, (kind, _, offset, length) in weights.directory.items():
        if kind == 1:
            raw = weights.data[offset : offset + length]
            wanted = raw.reshape(-1, 384 // 32 * 18)[rows] if name == "emb.word" else raw
            ours = weights.tensor(name, 384, rows) if name == "emb.word" else weights.tensor(name)
            np.testing.assert_array_equal(ours.ravel(), program.dequantized(wanted.tobytes()), name)


def test_hidden_states_are_those_of_the_layers_written_out(model, tokenizer, weights) -> None:
    """The same weights in a BERT of forty lines in double precision: all numbers
    agree within 1e-5.
    """
    rows = embedded.selected_ids(weights)
    tensors = {name: weights.tensor(name) for name in weights.directory if name != "emb.word"}
    for name, values in tensors.items():
        if name.endswith((".q.w", ".k.w", ".v.w", ".ao.w", ".fi.w", ".fo.w")) or name in ("emb.pos", "emb.type"):
            tensors[name] = values.reshape(-1, 1536 if name.endswith(".fo.w") else 384)
    tensors["emb.word"] = weights.tensor("emb.word", 384, rows)
    for text in (plain()[0], plain()[9], "Ja", "北京 warnt"):
        ids = tokenizer(text)["input_ids"]
        np.testing.assert_allclose(_hidden(model, ids), hidden_states(tensors, ids), rtol=0, atol=1e-5)


def test_sentence_embeddings_are_those_of_the_c_program(program, model, tokenizer, weights) -> None:
    """The normalised means of all tokens are as close as 8-bit activations allow."""
    new_ids = {old: new for new, old in enumerate(embedded.selected_ids(weights))}
    texts = [text for text in plain() if all(piece in new_ids and piece != UNKNOWN for piece in program.tokens(f"query: {text}"))]
    texts = texts[::2]
    assert len(texts) > 10
    ours = np.stack([_unit(_hidden(model, tokenizer(f"query: {text}")["input_ids"]).mean(0)) for text in texts])
    theirs = np.stack([program.query_embedding(text) for text in texts])
    assert (ours * theirs).sum(1).min() > 0.9998
    assert np.abs(ours - theirs).max() < 0.005
    # The bound is informative: the nearest other sentence is a hundred times as far away as this
    # bound.
    others = max(float(one @ two) for one, two in itertools.combinations(ours, 2))
    assert others < 0.98


def test_hidden_states_of_each_token_are_near_those_of_the_c_program(program, model, tokenizer, weights) -> None:
    """Compared token by token."""
    rows = embedded.selected_ids(weights)
    ids = tokenizer(plain()[0])["input_ids"]
    ours, theirs = _hidden(model, ids), program.hidden([rows[piece] for piece in ids])
    assert np.abs(ours - theirs).max() < 0.05
