"""``haltung network``: an archive of events drawn as a page and as a series."""

from __future__ import annotations

import json
import math
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from archives import EVENTS, event, lines
from haltung import labels
from haltung.actors import tables as actors_tables
from haltung.cli import main
from haltung.errors import UserError
from haltung.events.archive.network import CLASSES, FAMILIES, layout, months, network, series
from haltung.events.archive.pages import figure, words
from haltung.events.archive.read import folded, read, select
from haltung.files import shipped

SCHEME = labels.load(shipped("configs") / "labels" / "diplomacy.yaml")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``events.jsonl`` in it, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    lines(tmp_path / "events.jsonl")
    return tmp_path


def drawn(page: Path, part: str = "data") -> Any:
    """Return the data that a page's script draws."""
    match = re.search(rf'<script type="application/json" id="{part}">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert match
    return json.loads(match[1])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command, which refuses with one sentence; return the sentence."""
    assert main(["network", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_who_is_inside_a_state_becomes_the_state() -> None:
    """Other actors do not change."""
    pairs = {(one.source, one.target) for one in folded(EVENTS[:-1])}
    assert pairs == {("USA", "RUS"), ("RUS", "USA"), ("USA", "USA"), ("FRA", "DEU")}


# ---- the network


def test_actors_are_ordered_by_their_events_with_others() -> None:
    """Events within one actor only break ties."""
    many = [event("DEU", "DEU", "criticism", f"2020-01-{day:02}") for day in range(1, 20)]
    assert network([*folded(EVENTS[:-1]), *many]).actors == ("USA", "RUS", "DEU", "FRA")


def test_the_same_events_give_the_same_positions() -> None:
    """For each selectable number of actors; positions are distinct and lie in a square."""
    names = [f"A{number:02}" for number in range(50)]
    events = [event(names[number % 50], names[(number * 7 + 1) % 50]) for number in range(300)]
    first, second = network(events), network(list(reversed(events)))
    assert first.positions == second.positions
    assert [(step, len(positions)) for step, positions in first.positions.items()] == [(10, 10), (20, 20), (40, 40), (50, 50)]
    assert all(-1 <= value <= 1 for positions in first.positions.values() for point in positions for value in point)
    assert all(len(set(positions)) == len(positions) for positions in first.positions.values())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_actors_have_positions_too(count: int) -> None:
    """Even without events between them."""
    assert len(set(layout([f"A{number}" for number in range(count)], {}))) == count


def test_an_archive_within_one_actor_says_how_to_draw_it() -> None:
    """If all events are merged into one state, there is no arrow to draw."""
    with pytest.raises(UserError, match=r"each of 1 is within one actor; inside=keep"):
        network(folded([event("DEU-OPP", "DEU")]))


def test_fewest_that_no_arrow_has_names_the_largest() -> None:
    """So that the next try succeeds."""
    with pytest.raises(UserError, match="none has min_events=9 events; the largest, USA → RUS, has 3"):
        network(folded(EVENTS[:-1]), 9)


def test_three_letters_and_a_line_tell_every_stance() -> None:
    """In both languages, since colour must not be the only cue."""
    for language in ("en", "de"):
        assert len({label.name(language)[:3] for label in SCHEME.stance.labels}) == len(SCHEME.stance)
    assert sorted(FAMILIES) == sorted(SCHEME.stance.ids)


def test_the_colours_are_those_of_the_page_of_haltung_serve() -> None:
    """Each stance except neutral has the same colour everywhere."""
    pattern = re.compile(r"\.is-(\w+) \{ --c: ([^}]*); \}")
    theme = resources.files("haltung.serving").joinpath("page", "theme.css").read_text(encoding="utf-8")
    ours = resources.files("haltung.events.archive").joinpath("assets", "page.css").read_text(encoding="utf-8")
    known = dict(pattern.findall(theme))
    colours = dict(pattern.findall(ours))
    assert {*colours} == {*SCHEME.stance.ids}
    assert {stance: colour for stance, colour in colours.items() if stance != "neutral"} == {
        stance: known[stance] for stance in colours if stance != "neutral"
    }


def test_every_actor_has_a_name_in_both_languages() -> None:
    """States from CLDR, others from our tables; an unknown code is its own name."""
    codes = ("USA", "RUS-OPP", "UN", "XYZ")
    assert list(actors_tables.names(codes, "de").values()) == ["USA", "Russland: Opposition", "Vereinte Nationen", "XYZ"]
    assert list(actors_tables.names(codes, "en").values()) == ["United States", "Russia: opposition", "United Nations", "XYZ"]
    organisations = actors_tables.names(actors_tables.ORGANISATIONS, "de")
    assert {code for code, name in organisations.items() if name == code} == {"NATO", "G7"}
    roles = [f"USA-{role}" for role in actors_tables.ROLES]
    assert not any(name.partition(": ")[2] in actors_tables.ROLES for name in actors_tables.names(roles, "de").values())


def test_every_word_exists_in_both_languages() -> None:
    """With the same placeholders."""
    english, german = words("en"), words("de")
    assert english.keys() == german.keys()
    assert {key for key in english if {*re.findall(r"\{\w+\}", english[key])} != {*re.findall(r"\{\w+\}", german[key])}} == set()
    files = [file for file in resources.files("haltung.events.archive").joinpath("assets").iterdir() if file.name.endswith((".js", ".j2"))]
    used = {key for file in files for key in re.findall(r'(?:say|counted|word)\("(\w+)"', file.read_text(encoding="utf-8"))}
    assert used - english.keys() == set()


# ---- the series


def test_months_have_no_gap() -> None:
    """Also across the turn of a year."""
    assert months(["2020-02-01", "", "2019-11-30"]) == ["2019-11", "2019-12", "2020-01", "2020-02"]


def test_a_series_counts_quad_classes_and_means_intensities(tmp_path: Path) -> None:
    """A month with articles and no event is zero, one without an article is a gap; a warning has no
    class and no intensity.
    """
    archive = read([lines(tmp_path / "e.jsonl")])
    pair = series(folded(select(archive.events)), archive, ("USA", "RUS"))
    assert tuple(pair.table.index) == ("2020-01", "2020-02", "2020-03", "2020-04", "2020-05", "2020-06")
    counts = pair.table[[*CLASSES]].to_numpy().tolist()
    assert counts == [[0, 0, 1, 1, 0], [0, 0, 1, 0, 0], [0] * 5, [1, 0, 0, 0, 1], [0] * 5, [0] * 5]
    assert pair.is_gap == (False, False, True, False, False, False)
    january = [one.intensity for one in EVENTS[:2] if one.intensity is not None]
    means = [sum(january) / 2, EVENTS[2].intensity, math.nan, EVENTS[4].intensity, math.nan, math.nan]
    assert pair.table["intensity"].tolist() == pytest.approx(means, nan_ok=True)
    assert (pair.events, sum(pair.is_gap), pair.undated) == (5, 1, 0)


def test_a_series_goes_as_far_as_since_and_until(tmp_path: Path) -> None:
    """Articles outside this period do not extend it."""
    archive = read([lines(tmp_path / "e.jsonl")])
    selected = select(archive.events, since="2020-02-01", until="2020-04-30")
    of_three = series(selected, archive, ("RUS", "USA"), "2020-02-01", "2020-04-30")
    assert tuple(of_three.table.index) == ("2020-02", "2020-03", "2020-04")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("USB", "RUS"), "pair: 'USB' is not in any selected event, did you mean 'USA'?; the most frequent are USA, RUS, FRA, DEU"),
        (("FRA", "USA"), "no selected event is between FRA and USA; name two others with pair=, or select more events"),
    ],
)
def test_a_pair_without_a_series_is_refused(tmp_path: Path, pair: tuple[str, str], message: str) -> None:
    """For an unknown code, the most similar and the most frequent ones are named."""
    archive = read([lines(tmp_path / "e.jsonl")])
    with pytest.raises(UserError, match=re.escape(message)):
        series(folded(select(archive.events)), archive, pair)


# ---- the command


def test_the_page_has_every_event_and_fetches_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data, style and script are embedded, and the security policy allows nothing else."""
    assert main(["network", "input=events.jsonl", "output=n.html", "language=de"]) == 0
    assert capsys.readouterr().out == "7 events, 6 articles, Jan 15, 2020 to Jun 1, 2020: 4 actors, written to n.html\n".replace(
        "6 articles", "7 articles"
    )
    page = (here / "n.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    data = drawn(here / "n.html")
    assert [code for code, _ in data["actors"]] == ["USA", "RUS", "DEU", "FRA"]
    assert ["RUS", "Russland"] in data["actors"]
    assert len(data["events"]) == 7
    assert "1 Ereignis des Archivs haben" in page


def test_a_text_can_not_become_a_part_of_the_page(here: Path) -> None:
    """Whatever a sentence, medium, topic or code contains."""
    evil = "</script><img src=x onerror=alert(1)>&<!--"
    lines(here / "evil.jsonl", [event(evil, "RUS", text=evil, medium=evil, topic=evil, article=evil)])
    assert main(["network", "input=evil.jsonl", "output=n.html", "pair=RUS,X", "series=s.png", "inside=keep"]) == 2
    assert main(["network", "input=evil.jsonl", "output=n.html", "inside=keep"]) == 0
    page = (here / "n.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert page.count("</script>") == 3
    assert drawn(here / "n.html")["sentences"] == [evil]


def test_inside_keep_leaves_each_a_separate_actor(here: Path) -> None:
    """The opposition is not merged into its state."""
    assert main(["network", "input=events.jsonl", "output=n.html", "inside=keep"]) == 0
    assert ["USA-OPP", "United States: opposition"] in drawn(here / "n.html")["actors"]


def test_an_archive_without_dates_is_drawn_without_a_slider(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message says so; a series of it is refused."""
    lines(here / "e.jsonl", [event("USA", "RUS", date=""), event("RUS", "USA", date="")], quiet=())
    assert main(["network", "input=e.jsonl", "output=n.html"]) == 0
    assert "no event has a date, so the page has no slider" in capsys.readouterr().err
    page = (here / "n.html").read_text(encoding="utf-8")
    assert "so there is no slider over time" in page
    assert 'type="range"' not in page
    assert "none of the 2 events between USA and RUS has a date" in refused(capsys, "input=e.jsonl", "pair=USA,RUS", "series=s.png")


def test_a_series_is_a_picture(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With or without a suffix in its name; codes may be in lower case."""
    for name in ("s.png", "t"):
        assert main(["network", "input=events.jsonl", "pair=usa,rus", f"series={name}"]) == 0
    assert (here / "s.png").read_bytes() == (here / "t.png").read_bytes()
    assert "5 events between USA and RUS in 6 months, 1 of them without an article, written to t.png" in capsys.readouterr().out


def test_what_a_series_can_not_show_is_counted_above_it(tmp_path: Path) -> None:
    """Warnings have no class, some events no date, and some months no article."""
    archive = read([lines(tmp_path / "e.jsonl", [*EVENTS, event("USA", "RUS", date="")])])
    drawn = figure(series(folded(select(archive.events)), archive, ("USA", "RUS")), "de")
    above = "1 Warnung (nicht gezeichnet) · 1 weiteres ohne Datum · 1 Monat ohne Artikel (schraffiert)"
    assert drawn.axes[0].get_title(loc="left").endswith(above)
    assert drawn.axes[0].get_ylabel() == "Ereignisse im Monat"


def test_the_same_archive_gives_the_same_files(here: Path) -> None:
    """Byte for byte, so that a changed picture means changed events."""
    arguments = ["network", "input=events.jsonl", "output=n.html", "pair=USA,RUS", "series=s"]
    assert main(arguments) == 0
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


def test_years_and_months_may_stand_for_days(here: Path) -> None:
    """2020-04 is all of April, and a year of digits alone is not parsed as a number."""
    assert main(["network", "input=events.jsonl", "output=n.html", "since=2020-04", "until=2020-04"]) == 0
    assert drawn(here / "n.html")["months"] == ["2020-04"]
    assert main(["network", "input=events.jsonl", "output=n.html", "since=2020", "until=2020"]) == 0
    assert len(drawn(here / "n.html")["events"]) == 7


def test_several_files_and_several_labels_are_given_with_commas(here: Path) -> None:
    """Hydra itself would start two runs."""
    lines(here / "more.jsonl", [event("CHN", "IND", "threat", "2020-07-01")])
    assert main(["network", "input=events.jsonl,more.jsonl", "output=n.html", "stance=threat,support"]) == 0
    assert [name for name, *_ in drawn(here / "n.html")["stances"]] == ["support", "threat"]


def test_a_date_that_can_not_be_right_is_drawn(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typo extends the calendar by centuries, which the printed dates reveal."""
    lines(here / "e.jsonl", [*EVENTS, event("USA", "RUS", date="0001-01-01")])
    assert main(["network", "input=e.jsonl", "output=n.html", "pair=USA,RUS", "series=s"]) == 0
    assert "Jan 1, 1 to Jun 1, 2020" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["input=events.jsonl"], "name what to draw: output=FILE.html"),
        (["output=n.html"], "name the archive: input=FILE"),
        (["input=event.jsonl", "output=n.html"], "event.jsonl: no such file, did you mean 'events.jsonl'?"),
        (["input=n.txt", "output=n.html"], "n.txt is not a *.jsonl file; name an archive of events"),
        (["input=empty", "output=n.html"], "empty has no archive of events; expected *.jsonl files: haltung events writes it"),
        (["input=events.jsonl", "output=n.png"], "output is 'n.png'; network and matrix are one HTML page"),
        (["input=events.jsonl", "output=nowhere/n.html"], "nowhere: no such folder"),
        (["input=events.jsonl", "output=full.html"], "full.html is a directory"),
        (["input=events.jsonl", "pair=USA,RUS"], "a series needs its two actors and its file, as in pair=USA,RUS series=FILE.png"),
        (["input=events.jsonl", "series=s.png"], "a series needs its two actors and its file"),
        (["input=events.jsonl", "series=s.pdf", "pair=USA,RUS"], "series is 's.pdf', but a series is a picture: name it FILE.png"),
        (["input=events.jsonl", "series=s.html", "pair=USA,RUS"], "output=FILE.html is a page with the sentences"),
        (["input=events.jsonl", "series=s.png", "pair=USA"], "pair is 'USA'; expected two different codes"),
        (["input=events.jsonl", "series=s.png", "pair=USA,USA"], "pair is 'USA,USA'; expected two different codes"),
        (["input=events.jsonl", "output=n.html", "since=2020-02-30"], "since is '2020-02-30'; expected YYYY-MM-DD"),
        (["input=events.jsonl", "output=n.html", "since=gestern"], "since is 'gestern'; expected YYYY-MM-DD"),
        (["input=events.jsonl", "output=n.html", "since=2021", "until=2020"], "since=2021 is after until=2020"),
        (["input=events.jsonl", "output=n.html", "min_probability=2"], "min_probability is 2"),
        (["input=events.jsonl", "output=n.html", "min_events=0"], "min_events is 0"),
        (["input=events.jsonl", "output=n.html", "inside=merged"], "inside is 'merged', did you mean 'merge'?; choose from merge, keep"),
        (["input=events.jsonl", "output=n.html", "stance=treat"], "stance is 'treat', did you mean 'threat'?"),
    ],
)
def test_a_mistake_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str], given: list[str], message: str) -> None:
    """And nothing is written."""
    (here / "empty").mkdir()
    (here / "full.html").mkdir()
    (here / "n.txt").write_text("kein Archiv", encoding="utf-8")
    before = sorted(path.name for path in here.iterdir())
    assert message in refused(capsys, *given)
    assert sorted(path.name for path in here.iterdir()) == before
