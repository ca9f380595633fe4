"""Small copies of repositories on the hub: the same files, columns and configs, other content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GBERT_SENTENCES = [
    "Die Außenministerin warnt vor neuen Sanktionen.",
    "Österreich begrüßt das Abkommen über die Donau.",
    "Der Präsident verurteilt den Überfall und fordert Verhandlungen.",
    "Fünf Länder sagen der Küste Hilfe zu.",
]

GNAD10_LABELS = ["Web", "Panorama", "International", "Wirtschaft", "Sport", "Inland", "Etat", "Wissenschaft", "Kultur"]

# The main branch of x-stance has only a loading script; datasets 4 and later refuse to run it.
_SCRIPT = "import datasets\n\n\nclass XStance(datasets.GeneratorBasedBuilder):\n    pass\n"


def write_gbert(folder: Path, seed: int = 7) -> Path:
    """Write a tiny BERT with the files of deepset/gbert-base.

    It is a masked language model with ``vocab.txt`` and without ``tokenizer.json``.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(GBERT_SENTENCES * 20, trainer)
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64
    )
    BertForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces), encoding="utf-8")
    settings = {"do_lower_case": False, "strip_accents": False, "max_len": 512, "init_inputs": []}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "README.md").write_text("---\nlanguage: de\nlicense: mit\n---\n", encoding="utf-8")
    return folder


def x_stance_rows(split: str) -> list[dict[str, Any]]:
    """Return German and French rows with the columns of x-stance; splits share no authors."""
    number = {"train": 100, "validation": 200, "test": 300}[split]
    german, french = "Soll die Schweiz den Vertrag unterschreiben?", "La Suisse doit-elle signer le traité?"
    common = {"question_id": 17, "topic": "Foreign Policy"}
    return [
        {"question": german, "id": number, **common, "language": "de", "comment": "Ja, das wäre höchste Zeit.",
         "label": "FAVOR", "numerical_label": 100, "author": f"{split}1"},
        {"question": german, "id": number + 1, **common, "language": "de", "comment": "Nein, so nicht.",
         "label": "AGAINST", "numerical_label": 0, "author": f"{split}2"},
        {"question": french, "id": number + 2, **common, "language": "fr", "comment": "Oui, bien sûr.",
         "label": "FAVOR", "numerical_label": 75, "author": f"{split}3"},
    ]  # fmt: skip


def write_x_stance(folder: Path) -> dict[str, Path]:
    """Write two revisions of ZurichNLP/x_stance: the script, and the hub's conversion to Parquet.

    Returns their folders by the name of the revision.
    """
    from datasets import Dataset, Features, Value

    strings = dict.fromkeys(("question", "language", "comment", "label", "author", "topic"), Value("string"))
    order = ("question", "id", "question_id", "language", "comment", "label", "numerical_label", "author", "topic")
    features = Features({name: strings.get(name, Value("int32")) for name in order})
    main, parquet = folder / "main", folder / "parquet"
    main.mkdir(parents=True)
    (main / "README.md").write_text("---\nlanguage:\n- de\n- fr\nlicense: cc-by-nc-4.0\n---\n", encoding="utf-8")
    (main / "x_stance.py").write_text(_SCRIPT, encoding="utf-8")
    for split in ("train", "validation", "test"):
        (parquet / "default" / split).mkdir(parents=True)
        Dataset.from_list(x_stance_rows(split), features=features).to_parquet(parquet / "default" / split / "0000.parquet")
    return {"main": main, "refs/convert/parquet": parquet}


def gnad10_rows(split: str) -> list[dict[str, Any]]:
    """Return rows with the columns of 10kGNAD; labels are numbers."""
    extra = {"train": "Am Abend", "test": "Am Morgen"}[split]
    return [{"text": f"{extra} berichtete die Redaktion über {label}.", "label": number} for number, label in enumerate(GNAD10_LABELS)]


def write_gnad10(folder: Path) -> dict[str, Path]:
    """Write community-datasets/gnad10: Parquet in ``data/``, and a README that assigns splits.

    Returns the folder by the name of the revision.
    """
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=GNAD10_LABELS)})
    (folder / "data").mkdir(parents=True)
    for split in ("train", "test"):
        Dataset.from_list(gnad10_rows(split), features=features).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    names = "\n".join(f"        '{number}': {label}" for number, label in enumerate(GNAD10_LABELS))
    files = "\n".join(f"  - split: {split}\n    path: data/{split}-*" for split in ("train", "test"))
    card = (
        "---\nlanguage:\n- de\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n"
        "  - name: label\n    dtype:\n      class_label:\n"
        f"       names:\n{names}\nconfigs:\n- config_name: default\n  data_files:\n{files}\n---\n"
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return {"main": folder}
