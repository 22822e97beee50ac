"""The documentation as a reader has it: wide and on a phone, light and dark, with its search, from a disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.test_page import LOOKS, browser, requests
from tests.docs.built_site import build

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.browser
Opened = Callable[..., Any]
KINDS = [  # one page of each kind: text, tables and code, generated names, API, sources, pages of the root
    "index", "start", "python", "benches", "benches/backdoor", "threats/backdoors", "defenses/pgd_at", "api/names",
    "api/attacks", "api/tl_robust", "recipes", "architecture", "glossary", "source/tl_robust/attacks/named/pgd.py",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    made = build(folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def opened(browser: Any, site: Path) -> Opened:
    def open_page(name: str, width: int = 1280, scheme: str = "light") -> Any:
        color = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", color)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get((site / f"{name}.html").as_uri())
        return browser

    return open_page


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_opens_in_silence_scrolls_no_page_sideways_and_has_no_barrier(
    opened: Opened, name: str, scheme: str, width: int
) -> None:
    page = opened(name, width, scheme)
    assert page.get_log("browser") == []
    asked = requests(page)
    assert any(url.startswith("file:") for url in asked)  # the log works
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.execute_script("return document.scrollingElement.scrollWidth") <= width
    page.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    page.set_script_timeout(180)  # the page of all names is long
    found = page.execute_async_script("const done = arguments[0]; axe.run(document).then(done)")
    assert len(found["passes"]) > 10
    barriers = {one["id"]: one["nodes"][0]["html"] for one in found["violations"]}
    assert barriers == {}


def test_a_missing_page_says_where_to_go_on(browser: Any, site: Path) -> None:
    """As a server shows it, whose root is the site."""
    from selenium.webdriver.support.ui import WebDriverWait

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        browser.get(f"http://127.0.0.1:{server.server_port}/404.html")
        WebDriverWait(browser, 30).until(lambda page: page.find_elements("css selector", "article a"))
        links = [link.get_attribute("href") for link in browser.find_elements("css selector", "article a")]
        shown = browser.execute_script("return getComputedStyle(document.querySelector('.md-header')).position")
        server.shutdown()
    assert shown == "sticky"  # its style was found
    paths = [urlsplit(link).path.lstrip("/") for link in links]
    assert len(paths) >= 4
    assert [path for path in paths if not (site / path).is_file()] == []


def test_light_and_dark_follow_the_system_and_the_switch(opened: Opened) -> None:
    color = "return getComputedStyle(document.body).getPropertyValue('--md-default-bg-color').trim()"
    light, dark = (opened("index", scheme=scheme).execute_script(color) for scheme in ("light", "dark"))
    assert light != dark
    page = opened("index", scheme="dark")
    page.execute_script("document.querySelector('label[for=__palette_1]:not([hidden])').click()")
    assert page.execute_script(color) == light  # chosen by hand
    page.execute_script("localStorage.clear()")


@pytest.mark.parametrize("name", ["index", "api/attacks"])
@pytest.mark.parametrize("width", [390, 1280])
def test_search_finds_from_a_disk(opened: Opened, name: str, width: int) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    page = opened(name, width)
    page.execute_script("document.getElementById('__search').click()")
    field = page.find_element("css selector", "input.md-search__input")
    WebDriverWait(page, 20).until(lambda _: field.is_displayed())
    field.send_keys("survival")
    results = (
        "return [...document.querySelectorAll('.md-search-result__link')].map((link) => [link.href, link.textContent])"
    )
    WebDriverWait(page, 20).until(lambda _: page.execute_script(results))
    found = page.execute_script(results)
    assert any("survival" in text.lower() for _, text in found)
    assert all(Path(href.removeprefix("file://").partition("#")[0].partition("?")[0]).is_file() for href, _ in found)
    assert page.get_log("browser") == []
    page.get(found[0][0])
    assert "survival" in page.execute_script("return document.body.innerText").lower()
