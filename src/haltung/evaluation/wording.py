"""The words of tables, plots and reports in German and English, and how numbers are written."""

from __future__ import annotations

from haltung.errors import UserError, listed

LANGUAGES = ("en", "de")

# What is said → (English, German). The German names of measures are those of German NLP papers.
_WORDS = {
    "accuracy": ("accuracy", "Genauigkeit"),
    "subset_accuracy": ("subset accuracy", "Genauigkeit (alle Labels)"),
    "macro_f1": ("macro-F1", "Makro-F1"),
    "micro_f1": ("micro-F1", "Mikro-F1"),
    "weighted_f1": ("weighted F1", "gewichtetes F1"),
    "log_loss": ("log loss", "Log-Loss"),
    "majority": ("majority", "Mehrheit"),
    "task": ("task", "Aufgabe"),
    "label": ("label", "Label"),
    "precision": ("precision", "Präzision"),
    "recall": ("recall", "Trefferquote"),
    "f1": ("F1", "F1"),
    "support": ("support", "Anzahl"),
    "predicted": ("predicted", "vorhergesagt"),
    "gold": ("gold", "Gold"),
    "segments": ("segments", "Segmente"),
    "article": ("article", "Artikel"),
    "articles": ("articles", "Artikel"),
    "runs": ("runs", "Läufe"),
    "epoch": ("epoch", "Epoche"),
    "training_loss": ("training loss", "Trainingsverlust"),
    "dev_macro_f1": ("dev macro-F1", "Makro-F1 auf dev"),
    "chosen": ("best epoch", "beste Epoche"),
    "score": ("score that chooses", "Maß der Auswahl"),
    "share": ("share of the row", "Anteil an der Zeile"),
    "confusion": ("confusion matrix", "Konfusionsmatrix"),
    "per_label": ("per label", "je Label"),
    "distribution": ("distribution of labels", "Verteilung der Labels"),
    "curves": ("learning curves", "Lernkurven"),
    "figures": ("Figures", "Kennzahlen"),
    "warnings": ("Read this first", "Bitte zuerst lesen"),
    "report": ("Evaluation report", "Evaluationsbericht"),
    "unknown_corpus": ("corpus", "Korpus"),
    "scheme": ("label scheme", "Label-Schema"),
    "details": ("Details", "Einzelheiten"),
    "training": ("Training", "Training"),
    "phenomenon": ("phenomenon", "Phänomen"),
    "phenomena": ("by phenomenon", "nach Phänomen"),
    "pairs": ("pairs", "Paare"),
    "both": ("both right", "beide richtig"),
    "apart": ("told apart", "unterschieden"),
    "all": ("all", "alle"),
    "phenomena_explained": (
        "Both right: the share of pairs with both segments right. Told apart: the share of differing pairs with two different answers.",
        "Beide richtig: der Anteil der Minimalpaare, in denen beide stimmen. Unterschieden: der Anteil mit zwei verschiedenen Antworten.",
    ),
    "explained": (
        "Majority is what always predicting this split's most frequent label would reach.",
        "Mehrheit ist, was erreicht, wer stets das häufigste Label dieses Splits vorhersagt.",
    ),
    "averaged": (
        "Macro-F1 is the mean over the labels that occur in gold or predictions (multi-label tasks: over all labels).",
        "Das Makro-F1 ist das Mittel über die Labels, die im Gold oder in den Vorhersagen vorkommen (Multi-Label-Aufgaben: über alle).",
    ),
}


def word(name: str, language: str = "en") -> str:
    """Return what is called ``name`` in ``en`` or ``de``."""
    return _WORDS[name][LANGUAGES.index(checked(language))]


def checked(language: str) -> str:
    """Return the language.

    Raises:
        UserError: it is neither ``en`` nor ``de``.
    """
    if language not in LANGUAGES:
        raise UserError(f"unknown language '{language}'; allowed are {listed(LANGUAGES)}")
    return language


def number(value: float, language: str = "en", digits: int = 3) -> str:
    """Return a figure with a fixed number of decimals, in German with a comma."""
    text = f"{value:.{digits}f}"
    return text.replace(".", ",") if checked(language) == "de" else text


def count(value: int, language: str = "en") -> str:
    """Return a whole number; from 10,000 on in groups of three."""
    text = f"{value:,}" if value >= 10_000 else str(value)
    return text.replace(",", ".") if checked(language) == "de" else text


def place(corpus: str, split: str, language: str = "en") -> str:
    """Return ``real_news · test``, leaving out what is not known."""
    return " · ".join(part for part in (corpus, split) if part) or word("unknown_corpus", language)
