"""Actors named in a sentence and their codes; pitfalls of German names; what a sentence takes from
its article.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haltung.actors.finder import Actors, Mention, codes
from haltung.errors import UserError

KINDS = (
    "state", "adjective", "people", "capital", "resident", "palace", "city", "region", "organisation", "institution", "group", "party",
    "media", "company", "person", "office", "role",
)  # fmt: skip


@pytest.fixture(scope="module")
def actors() -> Actors:
    return Actors.load()


def _found(actors: Actors, text: str, date: str = "") -> list[tuple[str, str]]:
    """Return what is found as (text, code), with the codes of places in brackets."""
    return [(mention.text, f"({mention.code})" if mention.place else mention.code) for mention in actors.find(text, date)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Russland drohte.", "RUS"),
        ("Russlands Drohung.", "RUS"),
        ("Die russische Drohung.", "RUS"),
        ("Mit nordkoreanischem Geld.", "PRK"),
        ("Die Russen drohten.", "RUS"),
        ("Kosovo drohte.", "XKX"),
        ("Der Kreml drohte.", "RUS"),
        ("Das Weiße Haus drohte.", "USA"),
        ("Ein Sprecher des Weißen Hauses drohte.", "USA"),
        ("Ankara drohte.", "TUR"),
        ("Die Downing Street drohte.", "GBR"),
        ("Die Schweizer Regierung drohte.", "CHE"),
        ("Großbritannien drohte.", "GBR"),
        ("England drohte.", "GBR"),
        ("Holland drohte.", "NLD"),
        ("Weißrussland drohte.", "BLR"),
        ("Belarus drohte.", "BLR"),
        ("Birma drohte.", "MMR"),
        ("Myanmar drohte.", "MMR"),
        ("Kyjiw drohte.", "UKR"),
        ("Kiew drohte.", "UKR"),
        ("Mali drohte.", "MLI"),
        ("Der Tschad drohte.", "TCD"),
        ("Die Vereinigten Arabischen Emirate drohten.", "ARE"),
        ("Die Dominikanische Republik drohte.", "DOM"),
        ("Der Vatikan drohte.", "CHURCH"),
        ("Taiwan drohte.", "TWN"),
    ],
)
def test_states_are_found_in_every_form(actors: Actors, text: str, expected: str) -> None:
    """Names, genitives, adjectives, peoples, capitals and palaces have the state's code."""
    assert codes(actors.find(text)) == (expected,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Georgien widersprach Georgia.", [("Georgien", "GEO"), ("Georgia", "USA-REG")]),
        (
            "Die Republik Kongo widersprach der Demokratischen Republik Kongo.",
            [("Republik Kongo", "COG"), ("Demokratischen Republik Kongo", "COD")],
        ),
        ("Der Kongo widersprach.", [("Kongo", "COD")]),
        ("Brazzaville widersprach, der Kongo lenkte ein.", [("Brazzaville", "COG"), ("Kongo", "COG")]),
        ("Der Kongress widersprach am Jordan Jordanien.", [("Jordanien", "JOR")]),
        ("Michael Jordan widersprach.", []),
        ("Guinea widersprach Guinea-Bissau.", [("Guinea", "GIN"), ("Guinea-Bissau", "GNB")]),
        ("Äquatorialguinea widersprach Papua-Neuguinea auf Neuguinea.", [("Äquatorialguinea", "GNQ"), ("Papua-Neuguinea", "PNG")]),
        ("Nigeria widersprach Niger.", [("Nigeria", "NGA"), ("Niger", "NER")]),
        ("Der Sudan widersprach dem Südsudan.", [("Sudan", "SDN"), ("Südsudan", "SSD")]),
        ("Nordkorea widersprach Südkorea und der Republik Korea.", [("Nordkorea", "PRK"), ("Südkorea", "KOR"), ("Republik Korea", "KOR")]),
        ("Malis Malerei, Roms Romane, Omas Oman.", [("Malis", "MLI"), ("Roms", "ITA"), ("Oman", "OMN")]),
        ("Die Hamas widersprach.", [("Hamas", "PSE-REB")]),
        ("Die Polen, Polens Volk, polnische Äpfel.", [("Polen", "POL"), ("Polens Volk", "POL-CIV"), ("polnische", "POL")]),
    ],
)
def test_names_that_look_alike_are_told_apart(actors: Actors, text: str, expected: list[tuple[str, str]]) -> None:
    """Names are confused neither with longer names nor with words that begin like them."""
    assert _found(actors, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Paris Hilton schwieg.",
        "George Washington schwieg.",
        "Jack London schwieg.",
        "Bayern München verlor.",
        "Wiener Schnitzel schmeckt.",
        "Russische Sprache ist schön.",
    ],
)
def test_what_is_only_called_like_a_place_is_nobody(actors: Actors, text: str) -> None:
    """Persons, clubs and dishes named after a place are no governments."""
    assert actors.find(text) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("In Paris warnte niemand.", True),
        ("Er reiste nach Moskau.", True),
        ("Im ganzen Iran ist es still.", True),
        ("Wien – Es ist still.", True),
        ("Berlin/Wien (APA) – Es ist still.", True),
        ("Es ist still in Hamburg.", True),
        ("Hamburg ist still.", True),
        ("Die Wiener Straßen sind still.", True),
        ("Die russische Grenze ist still.", True),
        ("Es ist still in Magdeburg (Deutschland).", True),
        ("Paris warnte.", False),
        ("Washington drohte mit Gewalt.", False),
        ("Er verhandelt mit Moskau.", False),
        ("Er wurde von Teheran gewarnt.", False),
        ("Die Moskauer Regierung warnte.", False),
    ],
)
def test_a_place_is_marked_and_a_government_is_not(actors: Actors, text: str, place: bool) -> None:
    """A capital is a place after "in" or "nach" and in a dateline, and a government as subject or
    partner.
    """
    mentions = actors.find(text)
    assert mentions
    assert {mention.place for mention in mentions} == {place}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Der russische Außenminister kam.", [("russische Außenminister", "RUS")]),
        ("Der stellvertretende russische Außenminister kam.", [("russische Außenminister", "RUS")]),
        ("Das US-Außenministerium kam.", [("US-Außenministerium", "USA")]),
        ("Russlands Präsident kam.", [("Russlands Präsident", "RUS")]),
        ("Der Präsident der Ukraine kam.", [("Präsident der Ukraine", "UKR")]),
        ("Der Sprecher des Pentagon kam.", [("Sprecher des Pentagon", "USA")]),
        ("Der Chef der russischen Regierung kam.", [("Chef der russischen Regierung", "RUS")]),
        ("Der Kremlsprecher kam.", [("Kremlsprecher", "RUS")]),
        ("Der Palästinenserpräsident kam.", [("Palästinenserpräsident", "PSE")]),
        ("Der deutsche Botschafter in Moskau kam.", [("deutsche Botschafter", "DEU"), ("Moskau", "(RUS)")]),
        ("Die türkisch-russische Nähe.", [("türkisch", "TUR"), ("russische", "RUS")]),
        ("Der türkische und der russische Präsident kamen.", [("türkische", "TUR"), ("russische Präsident", "RUS")]),
        ("Die Nordkorea-Politik.", [("Nordkorea-Politik", "PRK")]),
        ("Der Ukrainekrieg.", [("Ukrainekrieg", "UKR")]),
        ("Die EU-Kommission kam.", [("EU-Kommission", "EU")]),
        ("Der EU-Kommissar kam.", [("EU-Kommissar", "EU")]),
    ],
)
def test_what_stands_together_is_one_mention(actors: Actors, text: str, expected: list[tuple[str, str]]) -> None:
    """An office takes the state of its adjective, genitive, or first part, and coordinated
    adjectives keep their own states.
    """
    assert _found(actors, text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Die russische Opposition", "RUS-OPP"),
        ("Die Opposition in Russland", "RUS-OPP"),
        ("Das türkische Gericht", "TUR-JUD"),
        ("Ein Gericht in Moskau", "RUS-JUD"),
        ("Die französische Staatsanwaltschaft", "FRA-JUD"),
        ("Das Bundesverfassungsgericht", "DEU-JUD"),
        ("Russische Demonstranten", "RUS-CIV"),
        ("Zwei Afghanen", "AFG-CIV"),
        ("Der ehemalige russische Präsident", "RUS-CIV"),
        ("Der Ex-US-Präsident", "USA-CIV"),
        ("Die schottische Regierung", "GBR-REG"),
        ("Der Wiener Bürgermeister", "AUT-REG"),
        ("Die „New York Times“", "USA-MED"),
        ("Die „Zeit“", "DEU-MED"),
        ("Der deutsche Konzern", "DEU-BUS"),
        ("Volkswagen", "DEU-BUS"),
        ("Syrische Rebellen", "SYR-REB"),
        ("Prorussische Separatisten", "UKR-REB"),
        ("Der Sprecher der Hamas", "PSE-REB"),
        ("Die Taliban", "AFG-REB"),
        ("Die Hisbollah", "LBN-REB"),
        ("Die PKK", "TUR-REB"),
        ("Der Islamische Staat", "ISIL"),
        ("Al-Qaida", "ALQ"),
        ("Der bayerische Ministerpräsident", "DEU-REG"),
        ("Der deutsche Ministerpräsident", "DEU-REG"),
        ("Der polnische Ministerpräsident", "POL"),
    ],
)
def test_roles_have_their_suffix(actors: Actors, text: str, code: str) -> None:
    """Opposition, courts, people, media, companies, regions and armed groups are not the state
    itself.
    """
    assert codes(actors.find(f"{text} warnte.")) == (code,)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Die Europäische Union", "EU"),
        ("Der Europäische Gerichtshof", "EU"),
        ("Die Vereinten Nationen", "UN"),
        ("Der UN-Sicherheitsrat", "UN"),
        ("Die Nato", "NATO"),
        ("Die OSZE", "OSCE"),
        ("Der Internationale Währungsfonds", "IMF"),
        ("Die IAEA", "IAEA"),
        ("Der Internationale Strafgerichtshof", "ICC"),
        ("Die Afrikanische Union", "AU"),
        ("Die Arabische Liga", "ARABLEAGUE"),
        ("Die G7", "G7"),
        ("Amnesty International", "NGO"),
        ("Human Rights Watch", "NGO"),
        ("Das Rote Kreuz", "NGO"),
        ("Ärzte ohne Grenzen", "NGO"),
        ("Der Papst", "CHURCH"),
    ],
)
def test_organisations_have_one_code(actors: Actors, name: str, code: str) -> None:
    """Each organisation of the label standard is found by its German name."""
    assert codes(actors.find(f"{name} warnte.")) == (code,)


@pytest.mark.parametrize(
    ("text", "date", "expected"),
    [
        ("Merkel warnte.", "2003-05-01", ("DEU-OPP",)),
        ("Merkel warnte.", "2015-05-01", ("DEU",)),
        ("Merkel warnte.", "2023-05-01", ("DEU-CIV",)),
        ("Bush warnte.", "1991-01-17", ("USA",)),
        ("Bush warnte.", "1999-01-17", ("USA-CIV",)),
        ("Bush warnte.", "2003-03-20", ("USA",)),
        ("Bush warnte.", "2012-03-20", ("USA-CIV",)),
        ("Stoltenberg warnte.", "2010-01-01", ("NOR",)),
        ("Stoltenberg warnte.", "2020-01-01", ("NATO",)),
        ("Tusk warnte.", "2016-01-01", ("EU",)),
        ("Tusk warnte.", "2024-06-01", ("POL",)),
        ("Macron warnte.", "2010-01-01", ()),
        ("Die SPD warnte.", "2003-01-01", ("DEU-GOVPARTY",)),
        ("Die SPD warnte.", "2011-01-01", ("DEU-OPP",)),
        ("Die CDU warnte.", "2023-01-01", ("DEU-OPP",)),
        ("Die CDU warnte.", "2015-01-01", ("DEU-GOVPARTY",)),
        ("Benedikt XVI. warnte.", "2008-01-01", ("CHURCH",)),
    ],
)
def test_the_date_tells_who_somebody_is(actors: Actors, text: str, date: str, expected: tuple[str, ...]) -> None:
    """Offices and parties change: before, during and after a term, father and son, government and
    opposition.
    """
    assert codes(actors.find(text, date)) == expected


def test_without_a_date_the_latest_office_counts(actors: Actors) -> None:
    """A sentence without a date is read as today's."""
    assert codes(actors.find("Stoltenberg traf Merz.")) == ("NOR", "DEU")


def test_a_date_may_be_a_month_or_a_time(actors: Actors) -> None:
    """A month means its first day, a time its day; anything that is not ISO is refused."""
    assert codes(actors.find("Merkel warnte.", "2005-11")) == ("DEU-OPP",)
    assert codes(actors.find("Merkel warnte.", "2005-11-22T08:00")) == ("DEU",)
    with pytest.raises(UserError, match=r"the date is '22\.11\.2005'; expected YYYY-MM-DD"):
        actors.find("Merkel warnte.", "22.11.2005")


def test_a_surname_that_is_a_word_needs_an_office(actors: Actors) -> None:
    """Nobody is named in "Kurz vor der Wahl", somebody in "Außenminister Kurz"."""
    assert _found(actors, "Kurz vor der Wahl warnte Außenminister Kurz.", "2015-12-01") == [("Außenminister", "AUT"), ("Kurz", "AUT")]


def test_another_first_name_is_another_person(actors: Actors) -> None:
    """Christine Merkel is not Angela Merkel."""
    assert actors.find("Christine Merkel warnte.", "2015-01-01") == []


def test_an_article_carries_its_persons_on(actors: Actors) -> None:
    """A person introduced with an office is then found by the surname alone, but not before."""
    text = [
        "Kowaltschenko schweigt.",
        "Der georgische Verteidigungsminister Lewan Kowaltschenko drohte.",
        "Später lenkte Kowaltschenko ein.",
    ]
    assert [codes(mentions) for mentions in actors.article(text)] == [(), ("GEO",), ("GEO",)]


def test_an_introduction_may_follow_the_name(actors: Actors) -> None:
    """An office after the name, "X, der russische Minister", introduces X as well."""
    text = ["Oleg Rjabuschkin, der russische Energieminister, drohte.", "Rjabuschkins Drohung verhallte."]
    assert [codes(mentions) for mentions in actors.article(text)] == [("RUS",), ("RUS",)]


def test_the_headline_introduces_too(actors: Actors) -> None:
    """A person introduced in the headline is known in the article."""
    assert codes(actors.article(["Obermoser widersprach."], headline="SPÖ-Klubobmann Karl Obermoser droht")[0]) == ("AUT-GOVPARTY",)


def test_an_article_knows_its_person_better_than_the_table(actors: Actors) -> None:
    """A namesake introduced by the article hides the person in the table."""
    text = ["Der kanadische Botschafter Tom Obama kam.", "Obama lobte die Küche."]
    assert [codes(mentions) for mentions in actors.article(text, "2012-01-01")] == [("CAN",), ("CAN",)]


def test_a_party_in_brackets_says_who_somebody_is(actors: Actors) -> None:
    """The name "Häupl (SPÖ)" is one actor; an unknown person has the code of the party."""
    assert codes(actors.find("Bürgermeister Michael Häupl (SPÖ) kam.", "2015-01-01")) == ("AUT-REG",)
    assert [codes(m) for m in actors.article(["Karl Obermoser (FPÖ) kam.", "Obermoser ging."], "2015-01-01")] == [
        ("AUT-OPP",),
        ("AUT-OPP",),
    ]


def test_a_role_without_a_state_has_the_article_s(actors: Actors) -> None:
    """Government, opposition and court belong to the state that the article is about."""
    text = ["In Polen wird gestritten.", "Die Opposition verließ den Saal, die Regierung blieb.", "Ein Gericht prüft das."]
    assert [codes(mentions) for mentions in actors.article(text)] == [("POL",), ("POL-OPP", "POL"), ("POL-JUD",)]


def test_a_role_alone_takes_no_state_from_two(actors: Actors) -> None:
    """In a single sentence with two states, the government could be that of either."""
    assert codes(actors.find("Die Regierung vermittelt zwischen Polen und Litauen.")) == ("POL", "LTU")


def test_a_name_of_several_states_is_the_article_s(actors: Actors) -> None:
    """The Bundesregierung is Germany's, or Austria's in an article about Austria."""
    assert [codes(m, places=False) for m in actors.article(["In Österreich wird gestritten.", "Die Bundesregierung schweigt."])] == [
        (),
        ("AUT",),
    ]
    assert codes(actors.find("Die Bundesregierung schweigt.")) == ("DEU",)


def test_the_president_of_something_else_is_not_the_state(actors: Actors) -> None:
    """A university has a president too."""
    assert codes(actors.article(["Polen wählt.", "Der Präsident der Universität warnte."])[1]) == ()


def test_codes_leave_places_out_where_an_actor_is_named() -> None:
    """By default, places count only if nothing else is named."""
    place, actor = Mention(0, 6, "Moskau", "RUS", "capital", place=True), Mention(9, 15, "Merkel", "DEU", "person")
    assert codes([place, actor]) == ("DEU",)
    assert codes([place]) == ("RUS",)
    assert codes([place, actor], places=True) == ("RUS", "DEU")
    assert codes([place], places=False) == ()


def test_heads_name_what_a_mention_is_about(actors: Actors) -> None:
    """The head is the noun after an adjective, the last part of a compound, or the office."""
    mentions = actors.find("Die russische Gaspolitik, die Nordkorea-Frage, der türkische Außenminister.")
    assert [mention.head for mention in mentions] == ["Gaspolitik", "Frage", "Außenminister"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "der",
                "russische",
                "und",
                "Präsident",
                "der Hamas",
                "US-",
                "in",
                "Paris",
                "Hilton",
                "Merkels",
                "(SPÖ)",
                "Ex-",
                "–",
                ",",
                "Kongo",
                "minister",
                "Außen",
                "\n",
                "’",
                "🙂",
            ]
        )
    ).map(" ".join)
    | st.text(max_size=40)
)
def test_mentions_are_in_order_and_say_what_stands_there(text: str) -> None:
    """For any text, spans are ordered, do not overlap, match their text, and have a valid kind and
    code.
    """
    from haltung.actors.tables import is_code

    for mentions in (Actors.load().find(text, "2015-01-01"), *Actors.load().article([text, text], headline=text)):
        assert all(text[mention.start : mention.end] == mention.text for mention in mentions)
        assert all(one.end <= other.start for one, other in itertools.pairwise(mentions))
        assert all(mention.kind in KINDS and is_code(mention.code) for mention in mentions)
