"""The leaderboard as a reader has it: filters, keyboard, links, paper, a phone, the dark, no script, 5,000 rows."""

from __future__ import annotations

import base64
import csv
import io
import re
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_page import LOOKS, browser, requests
from tests.sinks.board_made import HOSTILE, entry, large, seeds
from tl_robust.results.leaderboard import Board
from tl_robust.sinks.report import board_page

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.browser
Opened = Callable[..., Any]
TRUSTED = """
return [...document.querySelectorAll('#board tbody tr')].filter((row) => row.checkVisibility())
    .map((row) => [row.querySelector('th').firstChild.textContent, row.classList.contains('outcast')]);
"""
TIMED = """
const box = document.querySelector(arguments[0]), start = performance.now();
box.value = arguments[1];
box.dispatchEvent(new Event(box.matches('select') ? 'change' : 'input', { bubbles: true }));
document.body.offsetHeight;
return performance.now() - start;
"""


def small() -> Board:
    """Every kind of row: ranked, tied, amber, red, of one seed, and of all hostile names."""
    few: dict[str, Any] = {"half": 0.01}
    about = {"contact": "north@example.org", "paper": "https://example.org/paper.pdf"}
    cells = [
        *seeds(0.7, strategy="scratch", about=about, **few),
        *seeds(0.3, **few),
        *seeds(0.29, submitter="South", folder="south", protocol="1" * 16, **few),
        *seeds(0.5, strategy="common_init", level="amber", reasons=["Few steps.", "Many steps."], **few),
        *seeds(0.89, strategy="masked", level="red", reasons=["Gradients are masked."], **few),
        entry(0.8, strategy="lucky"),
    ]
    cells += [
        entry(submitter=name, source=name, strategy=name, attack=name, about={"paper": name, "contact": name})
        for name in HOSTILE
    ]
    return Board(tuple(cells))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("boards")
    for name, board in {"small": small(), "large": large(5000)}.items():
        board_page.write(board, folder / f"{name}.html", name, "tl_robust 1")
    return {name: folder / f"{name}.html" for name in ("small", "large")}


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Opened:
    def open_page(name: str = "small", width: int = 1280, scheme: str = "light", address: str = "") -> Any:
        color = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", color)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(pages[name].as_uri() + address)
        return browser

    return open_page


def strategies(page: Any) -> list[str]:
    return [name for name, _ in page.execute_script(TRUSTED)]


def choose(page: Any, name: str, text: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("css selector", f"select[name={name}]")).select_by_visible_text(text)


def test_filters_show_what_fits_and_the_address_keeps_them(opened: Opened) -> None:
    page = opened()
    everything = len(strategies(page))
    choose(page, "pair", "a → b")
    choose(page, "trust", "amber")
    assert set(strategies(page)) == {"common_init"}
    assert page.find_element("id", "count").text == f"2 of {everything} rows"
    choose(page, "trust", "all")
    choose(page, "submitter", "South")
    page.find_element("css selector", "input[name=q]").send_keys("FINETUNE")
    assert strategies(page) == ["finetune"] * 2
    address = page.execute_script("return location.hash")
    assert opened(address=address).execute_script("return location.hash") == address
    assert strategies(page) == ["finetune"] * 2
    page.find_element("css selector", "button[type=reset]").click()
    assert len(strategies(page)) == everything
    assert page.execute_script("return location.hash") == ""


@pytest.mark.parametrize(
    "address",
    [
        "#trust=<img src=x onerror=alert(1)>",
        "#trust=nothing&sort=__proto__&down=1",
        "#%E0%A4%A",
        "#q=%3Cscript%3E",
        "#x",
    ],
)
def test_an_address_that_someone_made_up_does_no_harm(opened: Opened, address: str) -> None:
    page = opened(address=address)
    assert page.get_log("browser") == []
    assert len(strategies(page)) >= (1 if address.startswith("#q=") else 12)
    assert page.title == "Leaderboard: small"


def test_columns_sort_by_keyboard_and_red_rows_stay_last(opened: Opened) -> None:
    from selenium.webdriver.common.keys import Keys

    page = opened(address="#pair=a+%E2%86%92+b&place=eps+16%2F255")
    assert strategies(page) == ["scratch", "common_init", "finetune", "finetune", "lucky", "masked"]
    head = page.find_element("css selector", "th[data-sort=value]")
    button = head.find_element("tag name", "button")
    for direction, order in (
        ("ascending", ["finetune", "finetune", "common_init", "scratch", "lucky", "masked"]),
        ("descending", ["lucky", "scratch", "common_init", "finetune", "finetune", "masked"]),
    ):
        button.send_keys(Keys.ENTER)
        assert head.get_attribute("aria-sort") == direction
        assert strategies(page) == order
    assert len(page.find_elements("css selector", "[aria-sort]")) == 1
    assert "sort=value&down=1" in page.execute_script("return location.hash")
    assert page.switch_to.active_element == button
    page.find_element("css selector", "th[data-sort=rank] button").send_keys(Keys.SPACE)
    assert strategies(page)[0] == "scratch"
    assert strategies(page)[-1] == "masked"
    struck = page.find_elements("css selector", "tr.on.outcast td s")
    assert [item.is_displayed() for item in struck] == [True]


def test_reasons_open_on_demand(opened: Opened) -> None:
    page = opened(address="#trust=amber")
    fold = page.find_element("css selector", "tr.on details:has(> summary.amber)")
    assert "Many steps." not in fold.text
    fold.find_element("tag name", "summary").click()
    assert "Many steps." in fold.text


def test_what_is_shown_is_saved_as_csv(opened: Opened) -> None:
    page = opened()
    catch = """
    const done = arguments[0], make = URL.createObjectURL;
    URL.createObjectURL = (blob) => { blob.text().then(done); return 'data:,'; };
    HTMLAnchorElement.prototype.click = () => {};
    document.getElementById('csv').click();
    URL.createObjectURL = make;
    """
    lines = list(csv.DictReader(io.StringIO(page.execute_async_script(catch))))
    assert len(lines) == len(strategies(page))
    texts = [value for line in lines for value in line.values()]
    assert not [value for value in texts if value[:1] in "=+-@" and value[:1] and not value[1:2].isdigit()]
    assert {line["strategy"].removeprefix("'") for line in lines} >= {name for name in HOSTILE if "\u202e" not in name}
    choose(page, "trust", "red")
    lines = list(csv.DictReader(io.StringIO(page.execute_async_script(catch))))
    assert {(line["strategy"], line["rank"], line["no_rank_since"]) for line in lines} == {("masked", "nan", "red")}
    assert [float(line["value"]) for line in lines] == pytest.approx([0.895, 0.89])


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_opens_in_silence_scrolls_no_page_sideways_and_has_no_barrier(
    opened: Opened, pages: dict[str, Path], scheme: str, width: int
) -> None:
    page = opened("small", width, scheme)
    page.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.get_log("browser") == []
    assert page.title == "Leaderboard: small", "no hostile name has run"
    asked = requests(page)
    assert pages["small"].as_uri() in asked  # the log works
    own = ("data:", pages["small"].as_uri(), "about:blank")
    assert [url for url in asked if not url.startswith(own)] == []
    assert page.execute_script("return document.scrollingElement.scrollWidth") <= width
    page.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.execute_async_script("const done = arguments[0]; axe.run(document).then(done)")
    assert len(found["passes"]) > 15
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found["violations"]] == []


def test_a_wide_screen_shows_all_columns_and_a_phone_a_card_for_each_row(opened: Opened) -> None:
    page = opened(address="#pair=a+%E2%86%92+b")
    box = "const box = document.querySelector('.scroll'); return [box.scrollWidth, box.clientWidth]"
    needed, there = page.execute_script(box)
    assert needed <= there
    page = opened(width=390, address="#pair=a+%E2%86%92+b")
    rows = [row.rect for row in page.find_elements("css selector", "#board tbody tr.on")]
    assert max(row["x"] + row["width"] for row in rows) <= 390
    labels = page.find_elements("css selector", "tr.on:first-child > *")
    said = "return getComputedStyle(arguments[0], '::before').content"
    assert all(page.execute_script(said, label) not in ("none", "normal") for label in labels)


def test_on_paper_are_all_rows_that_fit_and_no_filters(opened: Opened) -> None:
    page = opened("large", address="#attack=attack1&trust=green", scheme="dark")
    assert len(strategies(page)) == board_page.AT_ONCE
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    width, height = (float(number) for number in re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)[0])
    assert (width, height) == (pytest.approx(842, abs=1), pytest.approx(595, abs=1))  # A4 landscape
    many = len(re.findall(rb"/Type\s*/Page\b", pdf))
    page = opened("large", address="#attack=attack1&network=dtn&strategy=strategy3")
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert many > 15 > 6 > len(re.findall(rb"/Type\s*/Page\b", pdf))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not page.find_element("id", "filters").is_displayed()
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_without_a_script_the_table_is_whole(opened: Opened) -> None:
    page = opened()
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page = opened("large")
        shown = "css selector", "#board tbody tr"
        assert len(page.find_elements(*shown)) == 5000
        assert page.find_elements(*shown)[-1].is_displayed()
        assert not page.find_element("id", "filters").is_displayed()
        assert "need JavaScript" in page.find_element("tag name", "noscript").text
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_five_thousand_rows_open_in_two_seconds_and_filter_in_a_tenth(opened: Opened) -> None:
    """The best of three tries counts: other programs may take the cores meanwhile."""
    tries = []
    for _ in range(3):
        opened("small")
        start = time.perf_counter()
        page = opened("large")
        tries.append(time.perf_counter() - start)
    taken = min(tries)
    assert page.find_element("id", "count").text == f"5000 of 5000 rows, the first {board_page.AT_ONCE} shown"
    assert taken < 2, f"opened in {taken:.2f} s"
    page.execute_script(TIMED, "input[name=q]", "group 3")  # the first search reads all rows
    page.execute_async_script("const done = arguments[0]; requestIdleCallback(() => done())")
    place = page.execute_script("return [...document.querySelector('select[name=trust]').options].at(-1).value")
    times = [
        min(page.execute_script(TIMED, *change) for _ in range(5))
        for change in (
            ("select[name=trust]", place), ("select[name=trust]", ""), ("input[name=q]", "strategy7"),
            ("input[name=q]", ""), ("select[name=sort]", "value"), ("select[name=sort]", "submitter"),
        )
    ]  # fmt: skip
    print(f"opened in {taken:.2f} s; filters answer in {', '.join(f'{each:.0f}' for each in times)} ms")  # noqa: T201
    assert max(times) < 100
    page.find_element("id", "more").click()
    assert len(strategies(page)) == 5000
