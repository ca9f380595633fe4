"""The rules of what may reach a corpus."""

from __future__ import annotations

from dataclasses import dataclass

from haltung.errors import UserError, listed, nearest

_CHOICES = {
    "markup": ("drop", "strip", "keep"),
    "conflicts": ("drop", "keep_first", "keep"),
    "shared_articles": ("drop", "keep"),
}


@dataclass(frozen=True)
class Rules:
    """What is dropped, what is mended.

    ``min_chars``, ``max_chars``: the length of the text, without what is invisible at its ends.

    ``repair_mojibake``: mend "fÃ¼r" to "für"; if false such a segment is dropped. Characters lost for good (U+FFFD) are always a
    reason to drop.

    ``markup``: HTML tags, entities and wiki markup in text or target: ``drop`` the segment, ``strip`` the markup, or ``keep`` it. In
    the context markup is stripped under both ``drop`` and ``strip``: one bad sentence should not cost the three that follow it.

    ``exact``, ``near``: drop the later of two segments with the same text (and target) that adds no label; ``near`` is the least
    Jaccard index of character 5-grams, 0 switches it off. Near duplicates with other labels stay: "lehnt ab" and "lehnt nicht ab"
    are what a model learns from.

    ``formulaic``: shorter texts ("Das teilte er mit.") recur in news by nature; they are compared only inside one article and with the
    same context.

    ``conflicts``: the same text (and target) with different labels, whatever the context: ``drop`` all, ``keep_first``, or ``keep``.
    Rows that are labelled for different tasks do not contradict each other, and dyads are not compared.

    ``leakage``: drop from train what dev or test has too, exactly or nearly, and from dev what test has; never from test.

    ``shared_articles``: likewise for articles that have segments in two splits.

    ``keep_test``: a test split that the source itself gives is a published one; its segments are dropped only where they are empty,
    so that figures stay comparable, and what else is wrong with them is noted.
    """

    min_chars: int = 1
    max_chars: int = 4000
    repair_mojibake: bool = True
    markup: str = "drop"
    exact: bool = True
    near: float = 0.9
    formulaic: int = 25
    conflicts: str = "drop"
    leakage: bool = True
    shared_articles: str = "drop"
    keep_test: bool = True

    def __post_init__(self) -> None:
        """Refuse rules that cannot hold.

        Raises:
            UserError: a choice is unknown, or a number is out of its range.
        """
        for key, allowed in _CHOICES.items():
            found = getattr(self, key)
            if found not in allowed:
                raise UserError(f"rules: {key} is '{found}'{nearest(str(found), allowed)}; allowed are {listed(allowed)}")
        if not 1 <= self.min_chars <= self.max_chars:
            raise UserError(f"rules: min_chars is {self.min_chars} and max_chars {self.max_chars}; allowed is 1 <= min_chars <= max_chars")
        if not 0 <= self.near <= 1:
            raise UserError(f"rules: near is {self.near}; allowed are 0 (off) to 1, say 0.9")
