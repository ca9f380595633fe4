"""The input of the encoder: the text, and what precedes it."""

from __future__ import annotations

import string
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from haltung.cli.build import typed
from haltung.encoders.tokens import encode
from haltung.errors import UserError
from haltung.models.spec import NetworkSpec
from haltung.records import Segment


@pytest.fixture(scope="module")
def tokenizer(bert: Path) -> object:
    """The tokenizer of the tiny BERT."""
    return AutoTokenizer.from_pretrained(bert)


def test_a_text_alone_is_what_the_tokenizer_itself_makes_of_it(tokenizer) -> None:
    """Our own code adds the same special tokens as transformers."""
    text = "Chile warnt die Marine ."
    (tokens,) = encode([Segment("1", text)], tokenizer)
    assert tokens.ids == tokenizer(text)["input_ids"]


def test_a_context_is_the_first_half_of_a_true_pair(tokenizer) -> None:
    """Ids and token types equal those of the tokenizer's own pair."""
    segment = Segment("1", "Chile warnt die Marine .", context="Peru lobt den Zoll .")
    (tokens,) = encode([segment], tokenizer, "context")
    expected = tokenizer(segment.context, segment.text)
    assert (tokens.ids, tokens.types) == (expected["input_ids"], expected["token_type_ids"])


def test_own_marks_the_segments_own_tokens_only(tokenizer) -> None:
    """Neither special tokens nor the context are marked."""
    segment = Segment("1", "Chile warnt", context="Peru lobt den Zoll")
    (tokens,) = encode([segment], tokenizer, "context")
    own = [token for token, mark in zip(tokens.ids, tokens.own, strict=True) if mark]
    assert own == tokenizer(segment.text, add_special_tokens=False)["input_ids"]


def test_a_long_context_gives_way_on_its_left(tokenizer) -> None:
    """The text and the nearest words of the context are kept."""
    segment = Segment("1", "Chile warnt die Marine .", context="Ghana " * 80 + "Nepal")
    (tokens,) = encode([segment], tokenizer, "context", max_length=20)
    words = tokenizer.decode(tokens.ids)
    assert len(tokens) == 20
    assert "Nepal" in words
    assert "Chile warnt die Marine" in words


def test_a_text_that_fills_the_input_is_read_without_context(tokenizer) -> None:
    """A few tokens of context would truncate the text."""
    segment = Segment("1", "Chile " * 100, context="Peru lobt")
    (tokens,) = encode([segment], tokenizer, "context", max_length=32)
    assert tokens.ids == tokenizer(segment.text, truncation=True, max_length=32)["input_ids"]


def test_a_target_keeps_its_beginning_and_up_to_half_of_the_input(tokenizer) -> None:
    """A long comment is truncated, but not the question that it answers."""
    segment = Segment("1", "Chile " * 100, target="Peru lobt den Zoll")
    (tokens,) = encode([segment], tokenizer, "target", max_length=32)
    assert tokenizer.decode(tokens.ids).startswith("[CLS] Peru lobt den Zoll [SEP]")
    assert len(tokens) == 32


def test_target_and_context_together_keep_target_and_text(tokenizer) -> None:
    """Only the context is truncated, on its left; the rest is next to the text."""
    segment = Segment("1", "Chile warnt die Marine .", target="Malta mahnt den Zoll", context="Ghana " * 40 + "Nepal")
    (tokens,) = encode([segment], tokenizer, "target+context", max_length=24)
    words = tokenizer.decode(tokens.ids)
    assert words.startswith("[CLS] Malta mahnt den Zoll")
    assert "Nepal [SEP] Chile warnt die Marine" in words
    assert len(tokens) == 24


@pytest.mark.parametrize("reads", ["text", "context", "target", "target+context"])
@pytest.mark.parametrize("text", ["", " ", "\t", "🙂" * 300, "ein\u0301", "a" * 5000])
def test_no_text_breaks_the_input(tokenizer, reads: str, text: str) -> None:
    """Empty, blank, unknown and very long texts all give an input within the limit."""
    segment = Segment("1", text, context="Peru " * 50, target="Zoll " * 50)
    (tokens,) = encode([segment], tokenizer, reads, max_length=24)
    assert 2 <= len(tokens) <= 24
    assert len(tokens.ids) == len(tokens.types) == len(tokens.own)


def test_the_prefix_precedes_the_whole_input(tokenizer) -> None:
    """An encoder pretrained with a prefix gets it once, at the beginning."""
    segment = Segment("1", "warnt", context="Peru")
    (tokens,) = encode([segment], tokenizer, "context", prefix="Chile ")
    assert tokens.ids == tokenizer("Chile Peru", "warnt")["input_ids"]


SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
# Names that end in a letter of two bytes, contain a combining accent, or follow a letter that
# becomes two in lower case.
SENTENCE = "İlham trifft Šefčovič, „Milošević“ und Ruhle\u0301 in Malta-Stadt."
NAMES = ("İlham", "Šefčovič", "Milošević", "Ruhle\u0301", "Malta")


def _pieces() -> list[str]:
    return sorted({*SENTENCE, *SENTENCE.lower(), *string.ascii_letters, *"▁éı"} - {" "})


def _word_pieces() -> Tokenizer:
    words = [*SPECIALS, *_pieces(), *(f"##{piece}" for piece in _pieces()), "##lo", "Mi"]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFC(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _lower_case() -> Tokenizer:
    tokenizer = _word_pieces()
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    return tokenizer


def _unigrams() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([*((word, 0.0) for word in SPECIALS), *((word, -1.0) for word in (*_pieces(), "▁Mi", "lo"))], 1))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _bytes() -> Tokenizer:
    words = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠM", "lo"]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, [("Ġ", "M"), ("l", "o")]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return tokenizer


@pytest.mark.parametrize("prefix", ["", "query: "])
@pytest.mark.parametrize("target", ["", "Peru lobt den Zoll"])
@pytest.mark.parametrize("kind", [_word_pieces, _lower_case, _unigrams, _bytes])
def test_the_tokens_of_a_name_are_found(kind: Callable[[], Tokenizer], target: str, prefix: str) -> None:
    """All of them and no others, however the tokenizer splits or changes its letters, and whatever
    precedes the sentence.
    """
    backend = kind()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    (tokens,) = encode([Segment("1", SENTENCE, target=target)], wrapped, "target", prefix=prefix)
    for name in NAMES:
        start = SENTENCE.index(name)
        found = backend.decode([tokens.ids[token] for token in tokens.within(start, start + len(name))]).strip()
        assert _plain(found) == _plain(name), name


def _plain(name: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(letter))


def test_a_name_that_is_cut_off_has_no_tokens(tokenizer) -> None:
    """Of a partly truncated name, the tokens before the cut remain."""
    text = "Chile warnt die Marine ."
    whole, cut = (encode([Segment("1", text)], tokenizer, max_length=size)[0] for size in (32, 5))
    assert tokenizer.decode([whole.ids[token] for token in whole.within(12, 22)]) == "die Marine"
    assert tokenizer.decode([cut.ids[token] for token in cut.within(12, 22)]) == "die"
    assert list(cut.within(16, 22)) == []


def test_an_unknown_input_is_named_with_the_nearest() -> None:
    """A typing error in the config gives one sentence."""
    with pytest.raises(UserError, match="'contxt', did you mean 'context'"):
        typed(NetworkSpec, {"reads": {"default": "contxt"}}, "model")


def test_three_long_parts_need_little_memory(bert: Path) -> None:
    """Half a megabyte of text does not become gigabytes of tokens that are then truncated."""
    program = (
        "import resource; from transformers import AutoTokenizer; from haltung.encoders.tokens import encode\n"
        "from haltung.records import Segment\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(bert)!r}); long = 'Chile warnt Peru . ' * 5000\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "(row,) = encode([Segment('1', long, context=long, target=long)], tokenizer, 'target+context', 64)\n"
        "print(len(row), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    length, grown = done.stdout.split()
    # Linux counts in KiB, macOS in bytes.
    assert int(length) == 64
    assert float(grown) / (1024 if sys.platform == "darwin" else 1) < 400
