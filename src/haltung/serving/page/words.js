// What the page says, in German and English.

const WORDS = {
  de: {
    title: "Ein Artikel, Satz für Satz gelesen",
    claim:
      "Einen deutschen Nachrichtentext einfügen: Das Modell sagt zu jedem Satz, worum es geht und welche Haltung jemand darin einnimmt.",
    skip: "Zum Inhalt",
    language: "Sprache",
    theme: "Farben",
    auto: "Auto",
    light: "Hell",
    dark: "Dunkel",
    headline: "Überschrift (wenn es eine gibt)",
    text: "Artikel",
    hint: "Absätze bleiben, wie sie sind. Der Text geht nur an diesen Server.",
    key: "Schlüssel",
    read: "Lesen",
    reading: "Wird gelesen …",
    example: "Beispiel",
    strictness: "Unsicheres markieren",
    off: "nein",
    sure: (share) => `unter ${share} Treffsicherheit`,
    edit: "Text ändern",
    save: "Ergebnis herunterladen",
    saveDyads: "Dyaden (CSV)",
    sentences: (count) => (count === 1 ? "1 Satz" : `${count} Sätze`),
    sentence: (number, count) => `Satz ${number} von ${count}`,
    shown: (count, all) => `${count} von ${all} Sätzen passen zur Auswahl`,
    ready: (count) => `Gelesen: ${count === 1 ? "1 Satz" : `${count} Sätze`}`,
    everything: "Alle zeigen",
    legend: "Auswahl",
    article: "Artikel, Satz für Satz",
    unsure: "unsicher",
    unsureTag: (label) => `${label}, unsicher`,
    unsureNote: "Hier legt sich das Modell nicht fest.",
    none: "ohne Label",
    detail: "Der gewählte Satz",
    choose: "Einen Satz wählen, um zu sehen, was das Modell darin liest.",
    keys: [["↓ ↑", "oder J, K: nächster, voriger Satz"], ["Pos1 Ende", "erster, letzter Satz"], ["Esc", "Auswahl aufheben"]],
    close: "Schließen",
    context: "Davor gelesen",
    dyads: "Wer gegenüber wem",
    towardsWhom: "Wer → wem",
    unnamed: (code) => `${code}, hier nicht genannt`,
    nobody: "niemand, oder nicht genannt",
    thisArticle: "This article",
    removed: (kind) => `entfernt: ${kind}`,
    kinds: {
      advert: "Werbung",
      agency: "Agenturkürzel",
      cookies: "Cookie-Hinweis",
      copyright: "Urheberrecht",
      credit: "Bildnachweis",
      newsletter: "Newsletter",
      related: "Verweis",
      share: "Teilen",
      time: "Zeitangabe",
    },
    table: (count) => (count === 1 ? "1 Dyade als Tabelle" : `${count} Dyaden als Tabelle`),
    columns: ["Satz", "Wer", "Wem", "Haltung", "Wahrscheinlichkeit", "PLOVER"],
    articles: "Artikel wählen",
    counted: (count) => (count === 1 ? "1 Dyade" : `${count} Dyaden`),
    leftOut: (shown, all) => `Gezeigt sind die ersten ${shown} von ${all} gelesenen Artikeln.`,
    noArticle: "Kein Artikel konnte gelesen werden.",
    noSentence: "In diesem Artikel ist kein Satz, der gelesen wurde.",
    model: (scheme, version) => `Labelschema ${scheme} · Haltung ${version} · Ein Modell irrt sich; Wahrscheinlichkeit ist keine Gewissheit.`,
    errs: "Ein Modell irrt sich; Wahrscheinlichkeit ist keine Gewissheit.",
    empty: "Hier steht noch kein Text. Bitte einen Artikel einfügen.",
    nothing: "In diesem Text wurde kein Satz gefunden.",
    wait: (seconds) => `Wieder möglich in ${seconds} s`,
    failures: {
      0: "Der Server ist nicht zu erreichen. Bitte die Verbindung prüfen und noch einmal versuchen.",
      401: "Dieser Server verlangt einen Schlüssel. Bitte oben eingeben.",
      413: "Der Text ist für diesen Server zu lang.",
      422: "Der Server kann mit diesem Text nichts anfangen.",
      429: "Der Server hat gerade zu viel zu tun.",
      503: "Der Server ist gerade nicht bereit.",
      504: "Die Antwort hat zu lange gedauert.",
      other: (status) => `Der Server hat einen Fehler gemeldet (${status}).`,
    },
  },
  en: {
    title: "An article, read sentence by sentence",
    claim: "Paste a German news text: of each sentence the model says what it is about, and which stance somebody takes in it.",
    skip: "Skip to content",
    language: "Language",
    theme: "Colours",
    auto: "Auto",
    light: "Light",
    dark: "Dark",
    headline: "Headline (if there is one)",
    text: "Article",
    hint: "Paragraphs stay as they are. The text goes to this server only.",
    key: "Key",
    read: "Read",
    reading: "Reading …",
    example: "Example",
    strictness: "Mark what is unsure",
    off: "no",
    sure: (share) => `below ${share} precision`,
    edit: "Change text",
    save: "Download the result",
    saveDyads: "Dyads (CSV)",
    sentences: (count) => (count === 1 ? "1 sentence" : `${count} sentences`),
    sentence: (number, count) => `Sentence ${number} of ${count}`,
    shown: (count, all) => `${count} of ${all} sentences match`,
    ready: (count) => `Read: ${count === 1 ? "1 sentence" : `${count} sentences`}`,
    everything: "Show all",
    legend: "Filter",
    article: "Article, sentence by sentence",
    unsure: "unsure",
    unsureTag: (label) => `${label}, unsure`,
    unsureNote: "Here the model does not commit itself.",
    none: "no label",
    detail: "The chosen sentence",
    choose: "Choose a sentence to see what the model reads in it.",
    keys: [["↓ ↑", "or J, K: next, previous sentence"], ["Home End", "first, last sentence"], ["Esc", "let go"]],
    close: "Close",
    context: "Read before it",
    dyads: "Who towards whom",
    towardsWhom: "Who → whom",
    unnamed: (code) => `${code}, not named here`,
    nobody: "nobody, or not named",
    thisArticle: "This article",
    removed: (kind) => `removed: ${kind}`,
    kinds: {
      advert: "advertising",
      agency: "agency mark",
      cookies: "cookie notice",
      copyright: "copyright",
      credit: "credit",
      newsletter: "newsletter",
      related: "link",
      share: "sharing",
      time: "time",
    },
    table: (count) => (count === 1 ? "1 dyad as a table" : `${count} dyads as a table`),
    columns: ["Sentence", "Who", "Whom", "Stance", "Probability", "PLOVER"],
    articles: "Choose an article",
    counted: (count) => (count === 1 ? "1 dyad" : `${count} dyads`),
    leftOut: (shown, all) => `Shown are the first ${shown} of ${all} articles read.`,
    noArticle: "No article could be read.",
    noSentence: "There is no sentence in this article that was read.",
    model: (scheme, version) => `Label scheme ${scheme} · Haltung ${version} · A model errs; a probability is no certainty.`,
    errs: "A model errs; a probability is no certainty.",
    empty: "There is no text yet. Please paste an article.",
    nothing: "No sentence was found in this text.",
    wait: (seconds) => `Possible again in ${seconds} s`,
    failures: {
      0: "The server can't be reached. Please check the connection and try again.",
      401: "This server asks for a key. Please enter it above.",
      413: "The text is too long for this server.",
      422: "The server can't do anything with this text.",
      429: "The server has too much to do just now.",
      503: "The server is not ready just now.",
      504: "The answer has taken too long.",
      other: (status) => `The server has reported an error (${status}).`,
    },
  },
};

/** Return the words of a language. */
export function words(language) {
  return WORDS[language];
}

// Made once: an article may have thousands of figures.
const share = (language) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 });
const SHARES = { de: share("de"), en: share("en") };

/** Write a probability; what is below certainty is never written as 100 %. */
export function percent(value, language) {
  const format = SHARES[language];
  if (value < 1 && value >= 0.995) return `> ${format.format(0.99)}`;
  return value > 0 && value < 0.005 ? `< ${format.format(0.01)}` : format.format(value);
}

/** Return what to say of a failure; the server's own sentence is shown beside it. */
export function explain(failure, language) {
  const { failures } = WORDS[language];
  return failures[failure.status] ?? failures.other(failure.status);
}

/** Put the words into every element that names one in `data-word`. */
export function translate(root, language) {
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = WORDS[language][element.dataset.word];
}
