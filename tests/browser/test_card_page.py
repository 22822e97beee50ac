"""The defense card as a reader has it: on paper, on a phone, in the dark, with a screen reader."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_page import IN_SIGHT, LOOKS, browser, requests
from tests.sinks.card_made import DEFENSES, card, changed
from tl_robust.results.card import Card
from tl_robust.results.columns import COLUMNS
from tl_robust.sinks.report import card_page
from tl_robust.types import Verdict

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.browser
WHOLE = """
const lines = (one) => new Set([...one.getClientRects()].map((box) => Math.round(box.top))).size;
return [...document.querySelectorAll('.measured strong, .measured small, .effect span')]
    .filter((one) => one.checkVisibility() && lines(one) > 1).map((one) => one.textContent);
"""
HIDDEN = """
return [...document.querySelector('table.measures').querySelectorAll('tbody th, tbody td')]
    .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent);
"""
WHY = (
    "Nothing stands around the network, so that its own gradient is right.",
    "A margin does not fade where temperature has made the student of {} sure of all that it says.",
    "Black box: the attacker makes a B of his own, as the defender did, from A.",
)
Opened = Callable[..., Any]


def full(made: Card) -> Card:
    """The card with as much below its table as a real one has."""
    for place, name in enumerate(DEFENSES[1:7]):
        found = Verdict(
            "amber", (f"An attack without a budget leaves {place} of 60 samples right, or so {name} says.",)
        )
        made = changed(made, name, "shadow", trust=found)
        made = changed(made, name, "black", effect=None, decision="undecided", why=f"3 cells of {name} are red.")
    known = [tuple(why.format(line.defense) for why in WHY) for line in made.lines]
    lines = zip(made.lines, known, strict=True)
    return replace(made, lines=tuple(replace(line, known=why) for line, why in lines))


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Cards of 15 defenses at two sizes: alone, and of two strategies."""
    folder = tmp_path_factory.mktemp("cards")
    one = [full(card()), card(eps=32 / 255)]
    for name, shown in {"one": one, "two": [*one, card(strategy="scratch")]}.items():
        card_page.write(shown, folder / f"{name}.html", ["Bench defenses, run of 2026-11-30, 3 seeds (0, 1, 2)."])
    return {name: folder / f"{name}.html" for name in ("one", "two")}


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Opened:
    def open_page(name: str = "one", width: int = 1280, scheme: str = "light", unfolded: bool = False) -> Any:
        color = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", color)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(pages[name].as_uri())
        if unfolded:
            browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
        return browser

    return open_page


def printed(browser: Any) -> tuple[int, tuple[float, float]]:
    """Pages, and the size of one in points."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    boxes = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    width, height = boxes[0]
    return len(re.findall(rb"/Type\s*/Page\b", pdf)), (float(width), float(height))


def test_fifteen_defenses_are_two_printed_pages(opened: Opened) -> None:
    assert len(DEFENSES) == 16
    count, (width, height) = printed(opened())
    assert count == 2
    assert (width, height) == (pytest.approx(842, abs=1), pytest.approx(595, abs=1))  # A4 landscape
    assert printed(opened("two"))[0] == 4
    assert printed(opened(unfolded=True))[0] > 2  # what is open is printed


def test_on_paper_it_is_dark_on_white(opened: Opened) -> None:
    page = opened(scheme="dark")
    dark = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (dark, paper) == ("rgb(21, 25, 30)", "rgb(255, 255, 255)")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_number_interval_or_decision_is_broken_over_lines(opened: Opened, width: int) -> None:
    page = opened(width=width, unfolded=True)
    assert page.execute_script(WHOLE) == []
    assert page.execute_script(HIDDEN) == []


def test_a_wide_screen_shows_the_whole_table(opened: Opened) -> None:
    page = opened()
    box = "const box = document.querySelector('.scroll'); return [box.scrollWidth, box.clientWidth]"
    needed, there = page.execute_script(box)
    assert needed <= there


def test_a_phone_shows_a_card_for_each_defense(opened: Opened) -> None:
    page = opened(width=390)
    table = page.find_element("css selector", "table.measures")
    boxes = [line.rect for line in table.find_elements("css selector", "tbody tr")]
    assert len(boxes) == len(DEFENSES)
    assert max(box["x"] + box["width"] for box in boxes) <= 390
    second = table.find_elements("css selector", "tbody tr")[1]
    fields = second.find_elements("xpath", "*")
    tops = [field.rect["y"] for field in fields]
    assert tops == sorted(set(tops))  # each on a line of its own
    assert fields[1].text.split("\n") == ["34.3 % [31.2, 37.2]", "-24.1 [-26.2, -21.9] ✖ harms"]
    said = "return getComputedStyle(arguments[0], '::before').content"
    titles = ["defense", *(column.title.replace(" %", "\xa0%") for column in COLUMNS), "trust"]
    assert [field.get_attribute("data-label") for field in fields] == titles
    assert all(page.execute_script(said, field) not in ("none", "normal") for field in fields)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_opens_in_silence_scrolls_no_page_sideways_and_has_no_barrier(
    opened: Opened, pages: dict[str, Path], scheme: str, width: int
) -> None:
    page = opened("two", width, scheme, unfolded=True)
    assert page.get_log("browser") == []
    asked = requests(page)
    assert pages["two"].as_uri() in asked  # the log works
    assert [url for url in asked if not url.startswith("data:") and url != pages["two"].as_uri()] == []
    assert page.execute_script("return document.scrollingElement.scrollWidth") <= width
    if width < 500:
        assert page.execute_script(IN_SIGHT) == []
    page.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.execute_async_script("const done = arguments[0]; axe.run(document).then(done)")
    assert len(found["passes"]) > 15
    assert [one["id"] for one in found["violations"] if one["impact"] not in ("minor", "moderate")] == []
