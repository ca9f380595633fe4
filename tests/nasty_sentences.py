"""Difficult German sentences, on which the embedded encoder's tokenizer is compared with others."""

from __future__ import annotations

import unicodedata

_PLAIN = [
    "Die Außenministerin warnt vor einer weiteren Eskalation an der Grenze.",
    "Österreich und Ungarn kündigen ein Abkommen über die Donauschifffahrt an.",
    "Der Übergangspräsident hat gestern 3.500 Häftlinge begnadigt, hieß es.",
    "Fünf Fregatten kreuzten vor der Küste, während in Genf verhandelt wurde.",
    "„Wir müssen reden“, sagte der Kanzler – und schwieg dann lange.",
    "»Ohne Rückzug kein Frieden«, heißt es im Kommuniqué.",
    "Sie nannten es ‚Spezialoperation‘, andere nannten es Krieg.",
    "Am 3. Oktober 2024 um 17:45 Uhr stimmten 412 von 733 Abgeordneten dafür.",
    "Die Kosten stiegen um 12,7 % auf 1.234.567,89 Euro (Vorjahr: 1.095.000).",
    "Das Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz gilt nicht mehr.",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützen wurden zollfrei gestellt.",
    "Die Verkehrswegeplanungsbeschleunigungsgesetzesnovelle fiel im Bundesrat durch.",
    "EU-Kommissionspräsidentin und NATO-Generalsekretär trafen sich in Brüssel.",
    "Die US-Regierung verhängt Sanktionen gegen Öl- und Gasfirmen.",
    "Er forderte z. B. einen Waffenstillstand, d. h. das Ende der Luftangriffe.",
    "In Kyjiw, Łódź, Göteborg und İzmir gingen Tausende auf die Straße.",
    "Präsident Erdoğan empfing Ministerpräsident Orbán und Außenminister Sikorski.",
    "Ça va? fragte der Botschafter; niemand lachte.",
    "STRAẞE UND STRASSE sind in Versalien zweierlei.",
    "Der Straßenbau kostet laut Minister fast das Dreifache; die Opposition lacht.",
    "Wer hat's gesagt? Niemand hat’s gesagt!",
    "Nein. Nein! Nein?! Nein … nein…",
    "Die Rebellen haben (angeblich) [so die Agentur] {zehn} Dörfer eingenommen.",
    "Mehr auf https://www.beispiel.de/politik/artikel-4711.html?x=1&y=2#ende",
    "Schreiben Sie an presse@beispiel.de oder rufen Sie +49 (0)30 1234-567 an.",
    "Paragraf § 218 Abs. 1 S. 2 StGB bleibt, § 219a ist gestrichen.",
    "Der Zoll beträgt 25 Prozent auf Stahl & Aluminium, 0,5 ‰ auf den Rest.",
    "Die Temperatur stieg um 1,5 °C, die Fläche schrumpfte auf 20 km² bzw. 7 m³.",
    "Der/die Beauftragte der Bundesregierung und die Bürger*innen, Bürger:innen und BürgerInnen",
    "Südafrika klagt vor dem IGH; Israel weist die Vorwürfe zurück.",
    "Ägypten, Äthiopien und der Sudan streiten weiter um den Staudamm am Blauen Nil.",
    "Die Bundeswehr verlegt eine Brigade nach Litauen, 4.800 Soldatinnen und Soldaten.",
    "CO2-Preis, E10, G7, G20, 5G, F-35, A400M und KF51",
    "Ja",
    "x",
    "!",
]


def _disfigured(sentence: str) -> list[str]:
    words = sentence.split(" ")
    return [
        sentence,
        unicodedata.normalize("NFD", sentence),
        "\t" + "  ".join(words) + " \n",
        sentence.upper(),
        "\u00a0".join(words),
        "\u00ad".join(words) + " 🙂👨‍👩‍👧",
        f"+++ {sentence} — {sentence[::-1]}",
    ]


_EXTREMES = [
    "", " ", "\n\t ", "\u00a0", "\u200b", "\ufeff",
    "…", "-", "–", "„“", "ß", "ẞ", "a\u0308", "\u0308", "0", "000000", "½ ² ™ ﬁ ﬂ Ⅷ ㎏",
    "ＢＲＥＩＴ",
    "Zeile eins\r\nZeile zwei", "Ein\u2028Absatz", "von\u200bvorn", "mit\u200dhalt", "Weich\u00adtrennung", "\u202eRechts nach links",
    "Москва и Київ",
    "北京和东京", "القدس وبيروت", "ירושלים", "Ελλάδα", "🇩🇪🇺🇦 🏳️‍🌈", "𝔉𝔯𝔞𝔨𝔱𝔲𝔯", "\U0010fffd", "\ue000", "▁schon▁da", "<s> </s> <unk>",
    "a" * 300,
    "Ä" * 200, "so " * 120, "-" * 80, "Waffenstillstandsverhandlungs" * 8, "\x01\x02\x7f", "e\u0301\u0302\u0303",
]  # fmt: skip


def sentences() -> list[str]:
    """Return seven variants of each plain sentence, and the extremes.

    Variants are the sentence itself, decomposed, with unusual spaces, in capitals, and others.
    """
    return [shape for sentence in _PLAIN for shape in _disfigured(sentence)] + _EXTREMES


def plain() -> list[str]:
    """Return the unchanged sentences."""
    return list(_PLAIN)
