"""Export the prepared splits as JSON Lines, and the encoder as a Hugging Face folder, for peers.

    # HALTUNG_SOURCES names the folder with the original texts
    python benchmarks/peers/export.py WORK real_news xstance
    python benchmarks/peers/export.py WORK real_news --share 0.125 --seeds 1 2 3

It is a separate program to keep ``run.py`` small: Linux counts the memory of the process that
starts a child towards the child's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from haltung import files
from haltung.cli.build import corpus_of
from haltung.cli.config import compose, plain
from haltung.corpus.split import SPLITS
from haltung.corpus.store import Prepared
from haltung.corpus.stratify import subsample
from haltung.encoders import embedded
from haltung.errors import UserError

# Keys of a corpus beyond its defaults, as ``run.py`` passes them to Haltung.
PREPARED = {"real_news": ("corpus.rounds=[1]",)}

COLUMNS = ("id", "text", "context", "target", "article", "position", "headline", "source")
TOKENIZER = "tokenizer_config.json"


def prepared(work: Path, name: str) -> Prepared:
    """Prepare a corpus as ``haltung prepare`` does, in the folder that ``haltung train`` reads."""
    return corpus_of(plain(compose("prepare", [f"corpus={name}", *PREPARED.get(name, ()), f"prepared={work / 'data' / 'prepared'}"])), None)


def write_splits(corpus: Prepared, folder: Path, share: float = 1.0, seed: int = 0) -> None:
    """Write ``train.jsonl``, ``dev.jsonl`` and ``test.jsonl``: one segment per line with its texts
    and labels, in the order of the split.

    If ``share`` is below 1, only that part of train is written, drawn with ``seed`` as by
    ``haltung train share=``.

    Raises:
        UserError: a segment lacks a label for a task; peers can't skip it by themselves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = []
        segments = corpus.segments(split)
        for segment in subsample(segments, share, seed) if split == "train" else segments:
            bare = [name for name in corpus.scheme.names if segment.labels.get(name) is None]
            if bare:
                raise UserError(f"{corpus.name}, {split}: the segment {segment.id} has no {bare[0]}; the peers need every label")
            row = {name: getattr(segment, name) for name in COLUMNS} | dict(segment.labels)
            # ASCII only, so that no line separator in a text (U+2028) is read as the end of a row.
            lines.append(json.dumps(row) + "\n")
        scratch = folder / f".{split}.jsonl"
        scratch.write_text("".join(lines), encoding="utf-8")
        scratch.replace(folder / f"{split}.jsonl")


def write_encoder(folder: Path) -> None:
    """Copy the embedded encoder in the format of ``from_pretrained``; build it first if needed.

    The tokenizer's class gets a name that transformers 4 also knows, which Flair needs.
    """
    if folder.is_dir():
        return
    scratch = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.copytree(embedded.ensure(files.cache()), scratch)
    settings = json.loads((scratch / TOKENIZER).read_text(encoding="utf-8"))
    (scratch / TOKENIZER).write_text(json.dumps({**settings, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=2), encoding="utf-8")
    scratch.replace(folder)


def main() -> int:
    """Export the named corpora and the encoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("corpora", nargs="*")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=())
    options = parser.parse_args()
    try:
        for name in options.corpora:
            corpus, folder = prepared(options.work, name), options.work / "splits"
            if options.share == 1:
                write_splits(corpus, folder / name)
            else:
                for seed in options.seeds:
                    write_splits(corpus, folder / f"{name}-{options.share:g}" / str(seed), options.share, seed)
        write_encoder(options.work / "encoder")
    except UserError as error:
        print(f"export.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
