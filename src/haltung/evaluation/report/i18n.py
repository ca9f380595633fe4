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
    "format": ("format", "Format"),
    "megabytes": ("MB", "MB"),
    "distance": ("differs by", "Abstand"),
    "texts_per_second": ("texts/s", "Texte/s"),
    "changed_labels": ("flips", "kippen"),
    "trained": ("trained", "trainiert"),
    "included": ("in", "dabei"),
    "refused": ("refused", "abgelehnt"),
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
    "collapsed": (
        "every one of {n} segments is predicted {labels}; the model tells nothing apart here",
        "jedem der {n} Segmente wird {labels} vorhergesagt; das Modell unterscheidet hier nichts",
    ),
    "no_label": ("no label", "kein Label"),
    "never_predicted": ("never predicted though in gold: {labels}", "nie vorhergesagt, obwohl im Gold vorhanden: {labels}"),
    "not_in_gold": (
        "predicted but not in gold (counts as an F1 of 0): {labels}",
        "vorhergesagt, aber nicht im Gold (zählt als F1 0): {labels}",
    ),
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
        (
            "Both right: the share of pairs with both segments right. Told apart: the share of differing pairs with two different answers. "
            "Brackets hold Wilson's 95% intervals, with the pairs for n."
        ),
        (
            "Beide richtig: der Anteil der Minimalpaare, in denen beide stimmen. Unterschieden: der Anteil mit zwei verschiedenen "
            "Antworten. In Klammern 95-%-Intervalle nach Wilson, mit den Paaren als n."
        ),
    ),
    "trial": ("trial", "Versuch"),
    "recipe": ("recipe", "Rezept"),
    "finished": ("finished", "beendet"),
    "pruned": ("given up", "abgebrochen"),
    "best_so_far": ("best so far", "bisher bester"),
    "as_it_stands": ("recipe as it stands", "Rezept, wie es ist"),
    "gain": (
        (
            "best trial {best} against trial {start}, the recipe as it stands: {value} macro-F1 on dev, p {p} (randomisation over "
            "{articles} articles; that the best of {tried} was chosen is counted in): {verdict}"
        ),
        (
            "bester Versuch {best} gegen Versuch {start}, das Rezept, wie es ist: {value} Makro-F1 auf dev, p {p} (Randomisierung über "
            "{articles} Artikel; dass der beste von {tried} gewählt wurde, ist eingerechnet): {verdict}"
        ),
    ),
    "gain_none": (
        "the recipe as it stands (trial {start}) is the best of the {tried}: the search has found nothing better on dev",
        "das Rezept, wie es ist (Versuch {start}), ist das beste von {tried}: Die Suche hat auf dev nichts Besseres gefunden",
    ),
    "gain_better": ("better", "besser"),
    "gain_open": ("that may be the luck of having tried so many", "das kann das Glück vieler Versuche sein"),
    "gain_untold": ("whether the search has gained anything can't be told: {why}", "ob die Suche etwas gewonnen hat, ist offen: {why}"),
    "sweep_history": ("Scores of the trials", "Ergebnisse der Versuche"),
    "importance": ("Importance of the keys", "Wichtigkeit der Schlüssel"),
    "importance_share": ("share of the variance (fANOVA)", "Anteil an der Varianz (fANOVA)"),
    "learning_curve": ("Learning curve", "Lernkurve über die Größe"),
    "share_of_train": ("share of train", "Anteil an train"),
    "train_segments": ("segments in train", "Segmente in train"),
    "calibration": ("calibration", "Kalibrierung"),
    "temperature": ("temperature", "Temperatur"),
    "confidence": ("probability given", "Wahrscheinlichkeit"),
    "hit_rate": ("right", "richtig"),
    "ece": ("ECE", "ECE"),
    "interval": ("95 %", "95 %"),
    "ece_before": ("ECE uncalibrated", "ECE unkalibriert"),
    "ece_by_chance": ("ECE by chance", "ECE durch Zufall"),
    "brier": ("Brier", "Brier"),
    "reliability": ("reliability", "Verlässlichkeit"),
    "from_to": ("from – to", "von – bis"),
    "answers": ("answers", "Antworten"),
    "density": ("density", "Dichte"),
    "perfect": ("perfectly calibrated", "vollkommen kalibriert"),
    "bins": ("groups of equal size, 95 % intervals", "gleich große Gruppen, 95-%-Intervalle"),
    "abstention": ("abstention", "Enthaltung"),
    "abstained": ("abstained", "Enthaltung"),
    "wished": ("wished precision", "gewünschte Präzision"),
    "threshold": ("threshold", "Schwelle"),
    "thresholds": ("thresholds chosen on dev", "Schwellen, gewählt auf dev"),
    "unreached": ("not reached", "nicht erreicht"),
    "answered": ("answered", "beantwortet"),
    "coverage": ("coverage", "Abdeckung"),
    "risk": ("mistakes among those answered", "Fehler unter den beantworteten"),
    "coverage_risk": ("coverage and risk", "Abdeckung und Risiko"),
    "best_order": ("every mistake last", "alle Fehler zuletzt"),
    "surest_first": ("surest first", "sicherste zuerst"),
    "error_rate": ("all answered:", "alle beantwortet:"),
    "calibration_explained": (
        "ECE: mean distance between probability and share that is right, in 15 groups. By chance: of a perfectly calibrated model.",
        "ECE: mittlerer Abstand von Wahrscheinlichkeit und Anteil richtiger, in 15 Gruppen. Durch Zufall: bei vollkommener Kalibrierung.",
    ),
    "to_read": ("Errors to read", "Fehler zum Lesen"),
    "all_labels": ("all", "alle"),
    "search": ("search the text", "Text durchsuchen"),
    "shown": ("shown", "gezeigt"),
    "most_confused": ("Most frequent confusions (click to filter)", "Häufigste Verwechslungen (Klick filtert)"),
    "no_match": ("No error fits this choice.", "Kein Fehler passt zu dieser Auswahl."),
    "listed_of": ("the most confident of", "die sichersten von"),
    "words_explained": (
        "Blue: words that spoke for the predicted label, orange: against it (integrated gradients; for a linear model, contributions).",
        "Blau: Wörter, die für das vorhergesagte Label sprachen, orange: dagegen (integrierte Gradienten; linear: Beiträge).",
    ),
    "gap_explained": ("Share of the answer that they leave unexplained, on average:", "Im Mittel unerklärter Anteil der Antwort:"),
    "slices_explained": (
        "Accuracy within the slice less that outside it, intervals by article; adjusted p over all slices. Worse ones come first.",
        "Genauigkeit im Ausschnitt minus außerhalb, Intervalle nach Artikeln; p über alle Ausschnitte korrigiert. Schlechtere zuerst.",
    ),
    "masking_explained": (
        "Masked: placeholders for names of states and persons. Flips: the share of answers that change with another state's name.",
        "Verdeckt: Platzhalter für Namen von Staaten und Personen. Wechsel: Anteil der Antworten, die ein anderer Staatsname ändert.",
    ),
    "issues_explained": (
        "Gold labels that the model firmly contradicts (cleanlab). Some are the model's own errors: a list to read, not to apply.",
        "Gold-Labels, denen das Modell entschieden widerspricht (cleanlab). Manche sind seine eigenen Fehler: zum Lesen.",
    ),
    "comparison": ("Comparison", "Vergleich"),
    "leaderboard": ("Leaderboard", "Rangliste"),
    "system": ("system", "System"),
    "seeds_deviation": ("SD over seeds", "SD über Seeds"),
    "pairs_compared": ("pair by pair", "Paar für Paar"),
    "pair": ("pair", "Paar"),
    "against": ("against", "gegen"),
    "difference": ("Δ macro-F1", "Δ Makro-F1"),
    "accuracy_less": ("Δ accuracy", "Δ Genauigkeit"),
    "p_value": ("p", "p"),
    "corrected_p": ("p Holm", "p Holm"),
    "p_randomisation": ("p rand.", "p rand."),
    "p_mcnemar": ("p McNemar", "p McNemar"),
    "compared_better": ("better", "besser"),
    "compared_worse": ("worse", "schlechter"),
    "compared_open": ("not distinguishable with these data", "mit diesen Daten nicht zu unterscheiden"),
    "would_take": ("it would take about {needed} {unit} to tell", "dafür brauchte es etwa {needed} {unit}"),
    "more_seeds": ("more {unit} alone would not tell; it would take more seeds", "mehr {unit} allein reichen nicht; es braucht mehr Seeds"),
    "no_difference": ("they hardly differ at all", "sie unterscheiden sich kaum"),
    "comparison_explained": (
        (
            "Brackets hold 95% intervals. Verdicts rest on macro-F1 alone: a paired bootstrap by article with {draws} draws whose standard "
            "error also counts the spread over seeds, tested with t (Satterthwaite), {correction}. Randomisation (rand.) swaps whole "
            "articles and knows these very models only; McNemar compares accuracy and takes segments for independent."
        ),
        (
            "In Klammern 95-%-Intervalle. Die Urteile beruhen allein auf dem Makro-F1: gepaarter Bootstrap über Artikel mit {draws} "
            "Ziehungen, dessen Standardfehler auch die Streuung über Seeds enthält, geprüft mit t (Satterthwaite), {correction}. Die "
            "Randomisierung (rand.) vertauscht ganze Artikel und kennt nur eben diese Modelle; McNemar vergleicht die Genauigkeit und hält "
            "Segmente für unabhängig."
        ),
    ),
    "published": ("published", "veröffentlicht"),
    "trained_on": ("trained on {segments} segments", "trainiert auf {segments} Segmenten"),
    "published_explained": (
        "Published figures were not computed here: they have no interval and take part in no test.",
        "Veröffentlichte Zahlen wurden nicht hier gerechnet: Sie haben kein Intervall und nehmen an keinem Test teil.",
    ),
    "published_left_out": (
        "The published figure of {system} is left out: it holds for {wanted} segments, this split has {found}.",
        "Die veröffentlichte Zahl von {system} fehlt hier: Sie gilt für {wanted} Segmente, dieser Split hat {found}.",
    ),
    "corrected_holm": ("with Holm's correction over all pairs of a task", "mit Holms Korrektur über alle Paare einer Aufgabe"),
    "corrected_none": ("without correction for several pairs", "ohne Korrektur für mehrere Paare"),
    "trained_once": (
        (
            "Trained once: {systems}. A verdict on a single run holds for that model, not for its recipe, which wants several seeds; "
            "against several seeds that differ it is taken to vary as they do."
        ),
        (
            "Nur einmal trainiert: {systems}. Das Urteil über einen einzelnen Lauf gilt für dieses Modell, nicht für sein Rezept; "
            "das braucht mehrere Seeds. Gegenüber mehreren Seeds, die sich unterscheiden, wird angenommen, dass es ebenso streut."
        ),
    ),
    "seen": (
        "{system} knows {seen} of these {n} segments from its training: its figures say too little of new texts.",
        "{system} kennt {seen} dieser {n} Segmente aus seinem Training: Seine Zahlen sagen zu wenig über neue Texte.",
    ),
    "unshared": (
        "Not compared, since not every system has learned it: {tasks}.",
        "Nicht verglichen, weil nicht jedes System es gelernt hat: {tasks}.",
    ),
    "few_articles": (
        "There are only {articles} {unit}: below 20 of them these tests find differences a little too easily.",
        "Es sind nur {articles} {unit}: unter 20 finden diese Tests etwas zu leicht Unterschiede.",
    ),
    "explained": (
        "Majority is what always predicting this split's most frequent label would reach.",
        "Mehrheit ist, was erreicht, wer stets das häufigste Label dieses Splits vorhersagt.",
    ),
    "averaged": (
        "Macro-F1 is the mean over the labels that occur in gold or predictions (multi-label tasks: over all labels).",
        "Das Makro-F1 ist das Mittel über die Labels, die im Gold oder in den Vorhersagen vorkommen (Multi-Label-Aufgaben: über alle).",
    ),
    "slice": ("slice", "Ausschnitt"),
    "slices": ("slices", "Ausschnitte"),
    "by_slice": ("by slice", "nach Ausschnitt"),
    "to_the_rest": ("to the rest", "zum Rest"),
    "interval_95": ("95% interval", "95-%-Intervall"),
    "adjusted_p": ("adjusted p", "korrigiertes p"),
    "verdict": ("verdict", "Urteil"),
    "slice_worse": ("worse", "schlechter"),
    "slice_better": ("better", "besser"),
    "slice_level": ("level", "gleichauf"),
    "slice_few": ("too few", "zu wenige"),
    "slice_source": ("source", "Quelle"),
    "slice_genre": ("genre", "Gattung"),
    "slice_year": ("year", "Jahr"),
    "slice_length": ("words", "Wörter"),
    "slice_quotation": ("quotation marks", "Anführungszeichen"),
    "slice_negation": ("negation", "Verneinung"),
    "slice_actor": ("a state named", "Staat genannt"),
    "with": ("with", "mit"),
    "without": ("without", "ohne"),
    "accuracy_difference": ("accuracy less that of the rest", "Genauigkeit minus die des Rests"),
    "masking": ("Names masked and swapped", "Namen verdeckt und vertauscht"),
    "macro_f1_masked": ("masked", "verdeckt"),
    "change": ("change", "Änderung"),
    "accuracy_change": ("change of accuracy", "Änderung der Genauigkeit"),
    "masked_segments": ("segments masked", "Segmente verdeckt"),
    "flips": ("flips", "Wechsel"),
    "swapped_segments": ("segments swapped", "Segmente vertauscht"),
    "confusions": ("confused", "verwechselt"),
    "examples": ("examples", "Beispiele"),
    "share_of_gold": ("share of gold", "Anteil am Gold"),
    "mistakes": ("Most confident errors", "Sicherste Fehler"),
    "label_issues": ("Labels to look at", "Labels zum Nachsehen"),
    "probability": ("probability", "Wahrscheinlichkeit"),
    "suggested": ("suggested", "vorgeschlagen"),
    "quality": ("quality", "Güte"),
    "segment": ("segment", "Segment"),
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
