"""Articles in which states act on each other, to train models that find dyads."""

from __future__ import annotations

import json
import random
from pathlib import Path

from haltung.records import Dyad, Segment

CODES = {
    "Belgien": "BEL", "Chile": "CHL", "Ghana": "GHA", "Nepal": "NPL", "Island": "ISL", "Peru": "PER", "Laos": "LAO", "Malta": "MLT",
}  # fmt: skip
_VERBS = {"warning": "warnt", "support": "lobt"}
_NEUTRAL = "Die Bank kennt den Haushalt ."


def articles(count: int, seed: int = 0) -> list[Segment]:
    """Return articles of one neutral sentence and two others; half of these name the target first.

    These begin with "Den Zoll"; the baseline by word order takes their target for the source.
    """
    rng = random.Random(seed)
    out = []
    for number in range(count):
        topic, name = rng.choice(["security", "economy"]), f"d{seed}-{number}"
        texts: list[tuple[str, str, tuple[Dyad, ...]]] = [(_NEUTRAL, "neutral", ())]
        for _ in range(2):
            stance, (one, other) = rng.choice(list(_VERBS)), rng.sample(list(CODES), 2)
            text = f"{one} {_VERBS[stance]} {other} ." if rng.random() < 0.5 else f"Den Zoll von {other} {_VERBS[stance]} {one} ."
            texts.append((text, stance, (Dyad(CODES[one], CODES[other], stance),)))
        headline = "das Heer und die Marine" if topic == "security" else "den Zoll und die Bank"
        for position, (text, stance, dyads) in enumerate(texts):
            labels = {"topic": topic, "stance": stance}
            out.append(Segment(f"{name}-{position}", text, labels, article=name, headline=headline, position=position, dyads=dyads))
    return out


def write(folder: Path, count: int = 200) -> None:
    """Write such articles as JSON Lines (a quarter is dev, a quarter test), and their scheme."""
    from command_line import SCHEME

    (folder / "scheme.yaml").write_text(SCHEME, encoding="utf-8")
    rows = []
    for segment in articles(count):
        split = ("train", "train", "dev", "test")[int(segment.article.rpartition("-")[2]) % 4]
        row = {name: getattr(segment, name) for name in ("id", "article", "headline", "position")}
        dyads = [{"source": one.source, "target": one.target, "stance": one.stance} for one in segment.dyads]
        rows.append({**row, "text": f"{segment.text[:-2]} am {len(rows)}. Mai .", "split": split, **segment.labels, "dyads": dyads})
    (folder / "texts.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
