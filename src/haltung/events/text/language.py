"""Which language an article is in: a model of German news answers any text, and is right only about German."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from haltung.errors import UserError

GERMAN = "de"

# The languages that are told apart: Germany's neighbours', and those of the texts that stand beside German ones in an archive. Among all
# languages there are, short texts are often taken for Luxembourgish or Low German.
NAMES = {
    "de": "German", "en": "English", "fr": "French", "it": "Italian", "es": "Spanish", "pt": "Portuguese", "nl": "Dutch", "da": "Danish",
    "sv": "Swedish", "pl": "Polish", "cs": "Czech", "hu": "Hungarian", "ro": "Romanian", "hr": "Croatian", "tr": "Turkish", "ru": "Russian",
    "uk": "Ukrainian", "ar": "Arabic", "zh": "Chinese",
}  # fmt: skip

# Fewer letters say nothing sure: a headline of names is alike in many languages.
_LEAST_LETTERS = 80

# A language's probability among those above, from which on it counts.
_SURE = 0.95

# What is looked at; more does not change the answer.
_ENOUGH = 5000


@dataclass(frozen=True)
class Language:
    """A language's ISO 639-1 code and its probability among those of ``NAMES``; "" where the text is too short or the answer unsure."""

    code: str
    probability: float

    @property
    def is_foreign(self) -> bool:
        """Whether the text is surely not German."""
        return self.code not in ("", GERMAN)

    @property
    def name(self) -> str:
        """The language's English name."""
        return NAMES.get(self.code, self.code)


def language(text: str) -> Language:
    """Tell which language a text is in.

    Raises:
        UserError: py3langid is not installed.
    """
    plain = " ".join(text[:_ENOUGH].split())
    if sum(character.isalpha() for character in plain) < _LEAST_LETTERS:
        return Language("", 0.0)
    code, probability = _identifier().classify(plain)
    return Language(str(code) if probability >= _SURE else "", float(probability))


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("telling an article's language needs py3langid, which is not installed; pip install 'haltung[events]'") from None
    # An identifier of our own: the library's is shared, and so are the languages it is set to.
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(NAMES))
    return identifier
