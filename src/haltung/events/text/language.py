"""Which language an article is in; the models answer for any text, but know German news only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from haltung.errors import UserError

GERMAN = "de"

# The candidates: languages of Germany's neighbours and those common in archives beside German.
# Among all languages, short texts are often taken for Luxembourgish or Low German.
NAMES = {
    "de": "German", "en": "English", "fr": "French", "it": "Italian", "es": "Spanish", "pt": "Portuguese", "nl": "Dutch", "da": "Danish",
    "sv": "Swedish", "pl": "Polish", "cs": "Czech", "hu": "Hungarian", "ro": "Romanian", "hr": "Croatian", "tr": "Turkish", "ru": "Russian",
    "uk": "Ukrainian", "ar": "Arabic", "zh": "Chinese",
}  # fmt: skip

# Fewer letters are not enough: a headline of names looks alike in many languages.
_LEAST_LETTERS = 80

# The least probability among the languages above at which an answer counts.
_SURE = 0.95

# How many characters are read; more do not change the answer.
_ENOUGH = 5000


@dataclass(frozen=True)
class Language:
    """A language's ISO 639-1 code and its probability among ``NAMES``.

    The code is "" where the text is too short or the answer unsure.
    """

    code: str
    probability: float

    @property
    def is_foreign(self) -> bool:
        """Whether the text is certainly not German."""
        return self.code not in ("", GERMAN)

    @property
    def name(self) -> str:
        """The language's English name."""
        return NAMES.get(self.code, self.code)


def language(text: str) -> Language:
    """Return the language of a text.

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
        raise UserError("finding an article's language needs py3langid, which is not installed; pip install 'haltung[events]'") from None
    # A separate instance: the library's is shared, and with it the languages it is set to.
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(NAMES))
    return identifier
