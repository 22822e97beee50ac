"""The risk sheet as a reader has it: on one sheet of paper, on a phone, in the dark, with a screen reader."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.audit.made_audit import NOTHING, RED, audit, price
from tests.browser.test_card_page import printed
from tests.browser.test_page import LOOKS, browser, requests
from tests.sinks.test_audit_page import POLICY, decisions, full, full_decisions
from tl_robust.sinks.report import audit_page

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.browser
Opened = Callable[..., Any]
BROKEN = """
const lines = (one) => new Set([...one.getClientRects()].map((box) => Math.round(box.top))).size;
return [...document.querySelectorAll('td strong, td small, td > span, .verdicts strong, .points li span')]
    .filter((one) => one.checkVisibility() && lines(one) > 1).map((one) => one.textContent);
"""


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sheets")
    usual = audit(price=price(trust=RED))
    found = {name: folder / f"{name}.html" for name in ("usual", "full", "nothing")}
    audit_page.write(usual, found["usual"], decisions(usual), POLICY)
    audit_page.write(full(), found["full"], full_decisions(), POLICY)
    audit_page.write(audit(**NOTHING), found["nothing"])
    return found


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Opened:
    def open_page(name: str = "usual", width: int = 1280, scheme: str = "light") -> Any:
        color = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", color)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(pages[name].as_uri())
        return browser

    return open_page


@pytest.mark.parametrize("name", ["usual", "full", "nothing"])
def test_it_is_one_printed_page_of_a4(opened: Opened, name: str) -> None:
    count, (width, height) = printed(opened(name))
    assert count == 1
    assert (width, height) == (pytest.approx(595, abs=1), pytest.approx(842, abs=1))


def test_on_paper_it_is_dark_on_white(opened: Opened) -> None:
    page = opened(scheme="dark")
    dark = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (dark, paper) == ("rgb(21, 25, 30)", "rgb(255, 255, 255)")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_number_interval_or_mark_is_broken_over_lines(opened: Opened, width: int) -> None:
    assert opened(width=width).execute_script(BROKEN) == []


@pytest.mark.parametrize("name", ["usual", "full"])
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_opens_in_silence_scrolls_no_page_sideways_and_has_no_barrier(
    opened: Opened, pages: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    page = opened(name, width, scheme)
    assert page.get_log("browser") == []
    asked = requests(page)
    assert pages[name].as_uri() in asked  # the log works
    assert [url for url in asked if not url.startswith("data:") and url != pages[name].as_uri()] == []
    assert page.execute_script("return document.scrollingElement.scrollWidth") <= width
    page.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.execute_async_script("const done = arguments[0]; axe.run(document).then(done)")
    assert len(found["passes"]) > 15
    assert [one["id"] for one in found["violations"] if one["impact"] not in ("minor", "moderate")] == []
