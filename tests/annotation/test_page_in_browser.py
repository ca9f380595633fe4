"""The annotation page in a real browser: labelling by keyboard, on a phone, and judging."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import page_visits
from annotated import Process, answer, rows, served, work, write

pytestmark = pytest.mark.system("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with page_visits.chromium() as browser:
        yield browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the corpus."""
    write(tmp_path)
    return tmp_path


def visit(browser: Browser, address: str, **options: Any) -> Page:
    """Open the page; ``complaints`` collects the errors that occur on it."""
    seen = page_visits.Visit(browser, address, **options)
    seen.page.complaints = seen.complaints  # type: ignore[attr-defined]
    return seen.page


def press(page: Page, *keys: str) -> None:
    """Press keys in sequence, each once the page is ready."""
    for key in keys:
        expect(page.locator("main:not([aria-busy])")).to_be_attached()
        page.keyboard.press(key)


def leave(page: Page) -> None:
    """End the visit; check that there were no errors and no text was interpreted as markup."""
    assert page.complaints == []  # type: ignore[attr-defined]
    assert page.title() != "evil"
    assert page.locator("img, main script").count() == 0
    page.context.close()


def test_a_person_labels_by_keyboard_alone(browser: Browser, folder: Path) -> None:
    """Labels, dyads, a typed name and a comment; undo, skip, reload, and the end."""
    path = folder / "anna.jsonl"
    with served(work(folder, "anna")) as address:
        page = visit(browser, address)
        expect(page.locator(".here")).to_contain_text("Die USA haben Russland")
        expect(page.get_by_role("heading", name="Artikel")).to_contain_text("<script>")
        # Topic, two themes, stance, dyad.
        press(page, "1", "2", "1", "ArrowDown", "1", "1", "2", "Enter")
        expect(page.locator("#count")).to_have_text("1 von 8 beantwortet")
        (row,) = rows(path)
        assert (row["topic"], row["stance"], row["themes"]) == ("security", "warning", ["energy", "migration"])
        assert row["dyads"] == [{"source": "USA", "target": "RUS", "stance": "warning"}]
        # The undone answer is shown again and can be changed: another dyad, with a typed name.
        press(page, "Backspace")
        expect(page.locator("#count")).to_have_text("0 von 8 beantwortet")
        expect(page.locator("[data-group=dyads] .pair")).to_have_text("USA → RUS")
        assert rows(path) == []
        press(page, "ArrowUp", "#", "1", ".")
        page.keyboard.type("NATO")
        press(page, "Enter", "Escape", "+")
        page.keyboard.type("unsicher +-")
        press(page, "Enter")
        expect(page.locator("#count")).to_have_text("1 von 8 beantwortet")
        (row,) = rows(path)
        assert (row["comment"], row["dyads"]) == ("unsicher +-", [{"source": "USA", "target": "NATO", "stance": "warning"}])
        # An incomplete answer is not sent; a skip needs no labels.
        expect(page.locator(".here")).to_contain_text("<script>")
        press(page, "2", "Enter")
        expect(page.locator("#announcement")).to_have_text("Noch offen: Haltung")
        press(page, "-")
        expect(page.locator("#count")).to_have_text("1 von 8 beantwortet, 1 übersprungen")
        # Looking at other sentences saves nothing; a reload shows the next unanswered one.
        press(page, "ArrowRight", "ArrowRight")
        expect(page.locator(".article > .hint")).to_contain_text("Satz 5 von 8")
        page.reload()
        expect(page.locator(".article > .hint")).to_contain_text("Satz 3 von 8")
        for _ in range(6):
            # Neutral sentences have no dyads.
            press(page, "2", "ArrowDown", "3", "Enter")
        expect(page.get_by_role("heading", name="Fertig")).to_be_visible()
        page.keyboard.press("Tab")
        page.get_by_role("button", name="Übersprungene ansehen").press("Enter")
        expect(page.locator(".here")).to_contain_text("China")
        press(page, "3", "ArrowDown", "2", "Enter")
        expect(page.locator("#count")).to_have_text("8 von 8 beantwortet")
        assert (len(rows(path)), rows(path)[-1]["topic"]) == (8, "other")
        leave(page)


def test_names_are_taken_by_click_and_labels_by_touch_on_a_phone(browser: Browser, folder: Path) -> None:
    """At a width of 360 pixels nothing overflows, and one question is open at a time."""
    with served(work(folder, "anna")) as address:
        page = visit(browser, address, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
        expect(page.locator(".here")).to_be_visible()
        wide = "document.documentElement.scrollWidth"
        assert page.evaluate(wide) == 360
        page.get_by_role("button", name="Sicherheit").tap()
        expect(page.get_by_role("button", name="Sicherheit", exact=True)).to_be_hidden()
        page.get_by_role("button", name="Haltung").tap()
        page.get_by_role("button", name="Warnung").tap()
        page.locator(".here").get_by_role("button", name="Russland").tap()
        page.locator(".here").get_by_role("button", name="USA").tap()
        expect(page.locator("[data-group=dyads] .pair")).to_have_text("RUS → USA")
        assert page.evaluate(wide) == 360
        page.get_by_role("button", name="Weiter").tap()
        expect(page.locator("#count")).to_have_text("1 von 8 beantwortet")
        assert rows(folder / "anna.jsonl")[0]["dyads"] == [{"source": "RUS", "target": "USA", "stance": "warning"}]
        leave(page)


def test_a_server_that_was_killed_comes_back_and_the_page_goes_on(browser: Browser, folder: Path) -> None:
    """Neither saved answers nor the labels currently on the page are lost."""
    process = Process(folder, "anna", "output=anna.jsonl")
    page = visit(browser, process.address)
    press(page, "1", "ArrowDown", "3", "Enter")
    expect(page.locator("#count")).to_have_text("1 von 8 beantwortet")
    process.end(signal.SIGKILL)
    press(page, "2", "ArrowDown", "3", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("Der Server ist nicht zu erreichen")
    again = Process(folder, "anna", "output=anna.jsonl", f"port={process.address.rpartition(':')[2]}")
    assert again.said[0] == "1 answers so far\n"
    press(page, "Enter")
    expect(page.locator("#count")).to_have_text("2 von 8 beantwortet")
    assert [row["topic"] for row in rows(folder / "anna.jsonl")] == ["security", "economy"]
    page.context.close()
    again.end()


def test_a_second_window_is_told_that_the_first_was_quicker(browser: Browser, folder: Path) -> None:
    """It shows the first window's answer."""
    with served(work(folder, "anna")) as address:
        first, second = visit(browser, address), visit(browser, address)
        press(first, "1", "ArrowDown", "3", "Enter")
        expect(first.locator("#count")).to_have_text("1 von 8 beantwortet")
        press(second, "2", "ArrowDown", "3", "Enter")
        expect(second.get_by_role("alert")).to_contain_text("in einem anderen Fenster")
        expect(second.get_by_role("button", name="Sicherheit", exact=True)).to_have_attribute("aria-pressed", "true")
        assert [row["topic"] for row in rows(folder / "anna.jsonl")] == ["security"]
        leave(first)
        second.context.close()


def test_fifty_labels_have_two_keys_each(browser: Browser, folder: Path) -> None:
    """A letter and a digit; with the setting on, completing an answer goes to the next sentence."""
    labels = [f"label{number}" for number in range(50)]
    (folder / "labels.yaml").write_text(f"name: many\ntasks: {{code: {{labels: {json.dumps(labels)}}}}}\n", encoding="utf-8")
    with served(work(folder, "anna")) as address:
        page = visit(browser, address, locale="en-GB")
        page.get_by_text("Keys and settings").click()
        page.get_by_label("Go on without Enter").check()
        press(page, "Escape", "c", "5")
        expect(page.locator("#count")).to_have_text("1 of 8 answered")
        press(page, "a", "0")
        expect(page.locator("#count")).to_have_text("2 of 8 answered")
        assert [row["code"] for row in rows(folder / "anna.jsonl")] == ["label24", "label9"]
        page.reload()
        page.get_by_text("Keys and settings").click()
        expect(page.get_by_label("Go on without Enter")).to_be_checked()
        page.get_by_label("Single keys count").uncheck()
        press(page, "Escape", "a", "1")
        expect(page.locator("#count")).to_have_text("2 of 8 answered")
        leave(page)


def test_a_judge_settles_by_keyboard(browser: Browser, folder: Path) -> None:
    """Both answers without names, labels agreed on, and agreement; the result is complete."""
    anna, ben = work(folder, "anna"), work(folder, "ben")
    for number in range(8):
        answer(anna, number, [("USA", "RUS")])
        answer(ben, number, [("USA", "RUS")] if number != 1 else [("CHN", "TWN")], topic="economy" if number == 0 else "security")
    with served(work(folder, "judge", ("anna.jsonl", "ben.jsonl"))) as address:
        page = visit(browser, address)
        expect(page.locator("#count")).to_have_text("0 von 2 beantwortet")
        expect(page.locator("#alphas dt")).to_have_text(["Thema", "themes", "Haltung"])
        expect(page.locator("#alphas dd").first).to_contain_text("8 Sätze")
        answers = page.locator("[data-group=topic] .labels").first.locator("button span").all_text_contents()
        assert sorted(answers) == ["Sicherheit", "Wirtschaft"]
        expect(page.locator("main")).not_to_contain_text(re.compile(r"\b(anna|ben)\b"))
        press(page, str(1 + answers.index("Wirtschaft")), "Enter")
        expect(page.locator("#count")).to_have_text("1 von 2 beantwortet")
        # Every dispute needs a decision.
        press(page, "Enter")
        expect(page.locator("#announcement")).to_have_text("Noch offen: Wer gegenüber wem")
        pairs = page.locator("[data-group=dyads] .labels").first.locator("button span").all_text_contents()
        press(page, "ab"[pairs.index("CHN → TWN")], "Enter")
        expect(page.get_by_role("heading", name="Fertig")).to_be_visible()
        leave(page)
    result = {row["id"]: row for row in rows(folder / "judge.jsonl")}
    assert len(result) == 8
    assert (result["0-0"]["topic"], result["0-0"]["coder"], result["0-2"]["coder"]) == ("economy", "judge", "anna, ben")
    assert result["0-1"]["dyads"] == [{"source": "CHN", "target": "TWN", "stance": "warning"}]


def test_a_judge_sees_how_agreement_went(browser: Browser, folder: Path) -> None:
    """For each ten sentences in order of time, as plot and text; no value if α is undefined."""
    write(folder, articles=5)
    anna, ben = work(folder, "anna"), work(folder, "ben")
    for number in reversed(range(20)):
        topics = ("economy", "security")
        answer(anna, number, topic=topics[number % 2])
        answer(ben, number, topic=topics[(number + (number < 5)) % 2])
    with served(work(folder, "judge", ("anna.jsonl", "ben.jsonl"))) as address:
        page = visit(browser, address)
        topic, themes = (page.get_by_role("img", name="Im Lauf des Kodierens").nth(at) for at in (0, 1))
        expect(topic).to_have_accessible_name(re.compile(r"bis Satz 10 α 1,00, bis dahin 1,00; bis Satz 20 α 0,0\d, bis dahin 0,\d\d$"))
        expect(topic.locator("circle")).to_have_count(2)
        expect(themes.locator("circle")).to_have_count(0)
        page.locator("#agreement").screenshot(path=folder / "course.png")
        leave(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_axe_finds_no_fault(browser: Browser, folder: Path, scheme: str, width: int) -> None:
    """In every state of the page, for a coder and for a judge."""
    from axe_playwright_python.sync_playwright import Axe

    anna, ben = work(folder, "anna"), work(folder, "ben")
    for number in range(8):
        answer(anna, number, [("USA", "RUS")], comment="Warum?")
        answer(ben, number, topic="economy")
    options = {"color_scheme": scheme, "reduced_motion": "reduce", "viewport": {"width": width, "height": 800}}
    faults: list[str] = []

    def look(page: Page, state: str) -> None:
        for fault in Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]:
            faults.append(f"{state}: {fault['id']}: " + " | ".join(node["html"] for node in fault["nodes"][:3]))

    with served(work(folder, "cleo"), key="k") as address:
        page = visit(browser, address, **options)
        page.get_by_label("Schlüssel").fill("k")
        look(page, "key")
        page.keyboard.press("Enter")
        expect(page.locator(".here")).to_be_visible()
        look(page, "open")
        press(page, "1", "ArrowDown", "1", "1", "2")
        page.get_by_text("Tasten und Einstellungen").click()
        look(page, "answered")
        press(page, "Escape", *["-"] * 8)
        expect(page.get_by_role("heading", name="Fertig")).to_be_visible()
        look(page, "finished")
        page.context.close()
    with served(work(folder, "judge", ("anna.jsonl", "ben.jsonl"))) as address:
        page = visit(browser, address, **options)
        expect(page.locator(".here")).to_be_visible()
        look(page, "judge")
        press(page, "1", "Enter")
        page.context.close()
    assert faults == []
