"""The page of a backdoor as a reader has it: its floor under the pointer, and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_page import IN_SIGHT, LOOKS, Visit, browser, requests, visit
from tests.sinks.stamped_made import result
from tl_robust.results.names import interval
from tl_robust.results.table import Row, summary
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report

__all__ = ["browser", "visit"]  # fixtures
pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """The page, and the rows it shows."""
    cells = [
        result(**cell, defense=defense)
        for cell in ({}, {"strategy": "finetune(mode=probe)", "hits": (75, 75, 74)})
        for defense in ("none", "random_removal", "fine_pruning(share=0.5)")
    ]
    rows = summary(cells)
    page, _ = report.write(Views(tmp_path_factory.mktemp("bench"), "backdoor", cells, rows, text="name: backdoor\n"))
    return page, rows


def test_hovering_shows_the_floor_beside_attack_success(visit: Visit, made: tuple[Path, list[Row]]) -> None:
    from selenium.webdriver import ActionChains

    opened = visit()
    chart = opened.find_element("css selector", ".chart")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    ActionChains(opened).move_to_element(chart.find_elements("css selector", ".mark-rect path")[-1]).perform()
    shown = " ".join(opened.find_element("id", "vg-tooltip-element").text.split())
    last = {(row.cell, row.metric): interval(row) for row in made[1] if row.eps == 4}
    for cell in dict.fromkeys(row.cell for row in made[1]):
        success, floor = (last[cell, metric] for metric in ("attack_success", "false_trigger"))
        assert f"{success}, n 75; false_trigger {floor}, n 75" in shown


def test_the_floor_is_drawn_thin(visit: Visit) -> None:
    opened = visit()
    widths = """return [...document.querySelector('.chart').querySelectorAll('.mark-line path')].map((one) =>
        +one.getAttribute('stroke-width'))"""
    assert sorted(opened.execute_script(widths)) == [1.2] * 6 + [2] * 6


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_opens_in_silence_and_scrolls_no_page_sideways(
    visit: Visit, made: tuple[Path, list[Row]], scheme: str, width: int
) -> None:
    opened: Any = visit(width, scheme, unfolded=True)
    assert opened.get_log("browser") == []
    assert [url for url in requests(opened) if not url.startswith(("data:", "blob:", made[0].as_uri()))] == []
    assert opened.execute_script("return document.scrollingElement.scrollWidth") <= width
    if width < 500:
        assert opened.execute_script(IN_SIGHT) == []
