"""The page of membership as a reader has it: curves that are drawn with chance and with what is too few."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_page import BLANK, CONTROLS, FOCUS, IN_SIGHT, LOOKS, Visit, browser, requests, visit
from tests.sinks.exposure_made import AUDITED, CELLS, DECAY
from tl_robust.results.table import Row, summary
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report

__all__ = ["browser", "visit"]  # fixtures
pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """The page, and the rows it shows."""
    cells = [*CELLS, *DECAY, AUDITED[0]]
    rows = summary(cells)
    page, _ = report.write(Views(tmp_path_factory.mktemp("bench"), "membership", cells, rows, text="axes: {}\n"))
    return page, rows


def named(chart: Any) -> str:
    """What a chart says to those who do not see it."""
    return str(chart.find_element("css selector", "[aria-label]").get_attribute("aria-label"))


def chart(opened: Any, label: str) -> Any:
    """The first chart with these words in its label, scrolled into sight."""
    found = next(one for one in opened.find_elements("css selector", ".chart") if label in named(one))
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    return found


def hovered(opened: Any, point: Any) -> str:
    from selenium.webdriver import ActionChains

    ActionChains(opened).move_to_element(point).perform()
    tip = opened.find_element("id", "vg-tooltip-element")
    return " ".join(tip.text.split()) if tip.is_displayed() else ""


def test_every_chart_is_drawn(visit: Visit) -> None:
    opened = visit()
    assert opened.execute_script(BLANK) == 0
    labels = [named(one) for one in opened.find_elements("css selector", ".chart")]
    for words in ("ROC curves of", "every attack", "retention_of_source over epochs", "auc over epochs"):
        assert [label for label in labels if words in label], (words, labels)


def test_roc_charts_have_the_line_of_chance_and_a_gray_where_there_is_too_little(visit: Visit) -> None:
    opened = visit()
    drawn = chart(opened, "ROC curves of src → tgt, rmia, target")
    (gray,) = (one.rect for one in drawn.find_elements("css selector", ".mark-rect path"))
    dashes = [one.get_attribute("stroke-dasharray") for one in drawn.find_elements("css selector", ".mark-line path")]
    assert dashes.count("3,3") == 1
    places = [one.rect for one in drawn.find_elements("css selector", ".mark-symbol path")]
    middles = [place["x"] + place["width"] / 2 for place in places]
    assert gray["width"] > 5
    assert min(middles) == pytest.approx(gray["x"] + gray["width"], abs=2)  # curves begin where it ends


def test_hovering_a_roc_curve_shows_rates_with_their_ends(visit: Visit) -> None:
    opened = visit()
    drawn = chart(opened, "ROC curves of src → tgt, rmia, target")
    shown = hovered(opened, drawn.find_elements("css selector", ".mark-symbol path")[6])
    assert all(words in shown for words in ("strategy", "non-members called", "members called", "from", "to")), shown
    assert shown.count("%") == 4


def test_hovering_a_dot_shows_the_exposure_of_one_attack(visit: Visit, made: tuple[Path, list[Row]]) -> None:
    opened = visit()
    drawn = chart(opened, "auc of every attack")
    texts = [hovered(opened, point) for point in drawn.find_elements("css selector", ".mark-symbol path")]
    rows = [row for row in made[1] if row.metric == "auc" and row.cell.view == "target"]
    assert len(texts) == len(rows)
    for row in rows:
        assert [text for text in texts if row.cell.attack in text and f"{100 * row.value:.1f}%" in text], (row, texts)


def test_the_decay_is_drawn_above_the_line_of_chance(visit: Visit) -> None:
    opened = visit()
    drawn = chart(opened, "auc over epochs")
    rule = drawn.find_element("css selector", ".mark-rule line").rect["y"]
    points = [one.rect["y"] for one in drawn.find_elements("css selector", ".mark-symbol path")]
    assert len(points) == 6
    assert max(points) < rule


def test_a_keyboard_reaches_every_control(visit: Visit) -> None:
    from selenium.webdriver import ActionChains, Keys

    opened = visit()
    controls, reached = opened.execute_script(CONTROLS), []
    for _ in controls:
        ActionChains(opened).send_keys(Keys.TAB).perform()
        element, outlined = opened.execute_script(FOCUS)
        assert outlined
        reached.append(element)
    assert [one for one in controls if one not in reached] == []


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_opens_in_silence_scrolls_no_page_sideways_and_has_no_barrier(
    visit: Visit, made: tuple[Path, list[Row]], scheme: str, width: int
) -> None:
    opened = visit(width, scheme, unfolded=True)
    assert opened.get_log("browser") == []
    assert [url for url in requests(opened) if not url.startswith(("data:", "blob:", made[0].as_uri()))] == []
    assert opened.execute_script("return document.scrollingElement.scrollWidth") <= width
    if width < 500:
        assert opened.execute_script(IN_SIGHT) == []
    opened.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = opened.execute_async_script("const done = arguments[0]; axe.run(document).then(done)")
    assert len(found["passes"]) > 20
    assert [one["id"] for one in found["violations"] if one["impact"] not in ("minor", "moderate")] == []
