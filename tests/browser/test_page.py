"""The report as a reader has it: with a mouse, with a keyboard, on a phone, in the dark, with a screen reader."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tl_robust.bench.plan import make_plan
from tl_robust.bench.runner import run
from tl_robust.claims.effects import Finding
from tl_robust.config import load
from tl_robust.nodes.store import Store
from tl_robust.results.names import interval
from tl_robust.results.table import Row, summary
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report

pytestmark = pytest.mark.browser
Visit = Callable[..., Any]
LOOKS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
SMALL = [
    "axes.seed=[0]", "axes.attack=[fgsm]", "eps=[0,8/255,64/255]", "data.train_limit=400", "data.test_limit=150",
    "recipe.epochs=1", "recipes={}", "fast=[fold]", "data.cache=", "workers=1", "trainer={accelerator: cpu}",
]  # fmt: skip
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
FINDINGS = [
    Finding("H1", "White-box accuracy is higher.", "KDD 2020", pair, "fgsm linf", decision, effect, effect - 0.1,
            effect + 0.1, "share", 0.04, 1, 150, "One seed says little of others, and the interval is wide.")
    for pair in ("", "rendered_syn → optdigits")
    for decision, effect in (("supported", 0.2), ("refuted", -0.2), ("undecided", 0.05))
]  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """The page, and the rows it shows."""
    folder = tmp_path_factory.mktemp("bench")
    config = load(Path(__file__).parents[2] / "experiments" / "embedded.yaml", [f"results={folder}", *SMALL])
    finished = run(make_plan(config.bench), config.bench, Store(folder / "store"))
    assert not finished.failures
    rows = summary(finished.results)
    failures = [{"node": "an attack", "cause": "RuntimeError: out of luck", "trace": ""}]
    views = Views(
        folder, "embedded", finished.results, rows, findings=FINDINGS, failures=failures, pictures=finished.pictures,
        seconds=finished.seconds, text=config.text,
    )  # fmt: skip
    page, _ = report.write(views)
    return page, rows


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that keeps what it logs."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install '.[browser]'")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as opened:
        yield opened


@pytest.fixture
def visit(browser: Any, made: tuple[Path, list[Row]]) -> Callable[..., Any]:
    """Open the page in a width and color scheme, with every chart drawn and, if asked, everything unfolded."""

    def opened(width: int = 1200, scheme: str = "light", unfolded: bool = False) -> Any:
        color = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", color)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(made[0].as_uri())
        drawn = "return [...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('svg.marks'))"
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(browser, 60).until(lambda _: browser.execute_script(drawn))
        if unfolded:
            browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
        return browser

    return opened


def requests(browser: Any) -> list[str]:
    """Addresses that the browser asked for since the page was opened."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_opens_in_silence_and_asks_for_nothing(visit: Visit, made: tuple[Path, list[Row]], scheme, width) -> None:
    browser = visit(width, scheme, unfolded=True)
    assert browser.get_log("browser") == []
    asked = requests(browser)
    assert made[0].as_uri() in asked  # the log works
    assert [url for url in asked if not url.startswith(("data:", "blob:")) and url != made[0].as_uri()] == []


def test_hovering_shows_the_values(visit: Visit, made: tuple[Path, list[Row]]) -> None:
    from selenium.webdriver import ActionChains

    browser = visit()
    chart = browser.find_element("css selector", ".chart")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    last = chart.find_elements("css selector", ".mark-rect path")[-1]
    ActionChains(browser).move_to_element(last).perform()
    tip = browser.find_element("id", "vg-tooltip-element")
    assert tip.is_displayed()
    shown = " ".join(tip.text.split())
    assert shown.startswith("eps 64/255")
    rows = [
        row for row in made[1] if row.metric == "robust_accuracy" and row.cell.target_images == 50
    ]  # the first chart
    expected = [
        f"{interval(row)}, n {row.n}" for row in rows if row.cell.view == "black" and row.eps == pytest.approx(64 / 255)
    ]
    assert len(expected) == 3
    assert [text for text in expected if text not in shown] == []


CONTROLS = """
const found = [...document.querySelectorAll('a[href], summary, button, input, select, [tabindex="0"]')];
return found.filter((one) => one.checkVisibility({visibilityProperty: true}));
"""
FOCUS = """
const one = document.activeElement, style = getComputedStyle(one);
return [one, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0];
"""


@pytest.mark.parametrize("unfolded", [False, True])
def test_a_keyboard_reaches_every_control_in_sight(visit: Visit, unfolded: bool) -> None:
    from selenium.webdriver import ActionChains, Keys

    browser = visit(unfolded=unfolded)
    controls = browser.execute_script(CONTROLS)
    assert len(controls) > 20
    reached, unseen = [], []
    for _ in controls:
        ActionChains(browser).send_keys(Keys.TAB).perform()
        element, outlined = browser.execute_script(FOCUS)
        reached.append(element)
        unseen += [] if outlined else [element.get_attribute("outerHTML")[:200]]
    missed = [one.get_attribute("outerHTML")[:200] for one in controls if one not in reached]
    assert missed == []
    assert unseen == []
    assert reached[0].get_attribute("class") == "skip"


def test_the_skip_link_and_the_folds_work_with_keys(visit: Visit) -> None:
    from selenium.webdriver import ActionChains, Keys

    browser = visit()
    keys = ActionChains(browser)
    keys.send_keys(Keys.TAB, Keys.ENTER).perform()
    assert browser.current_url.endswith("#main")
    fold = browser.find_element("css selector", "main details > summary")
    browser.execute_script("arguments[0].focus()", fold)
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert fold.find_element("xpath", "..").get_attribute("open")


def test_charts_can_be_saved_with_keys(visit: Visit) -> None:
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.support.ui import WebDriverWait

    browser = visit()
    browser.execute_script("document.querySelector('.chart summary').focus()")
    ActionChains(browser).send_keys(Keys.ENTER, Keys.TAB).perform()
    link = browser.switch_to.active_element
    assert link.get_attribute("textContent") == "Save as SVG"
    WebDriverWait(browser, 10).until(lambda _: link.get_attribute("href").startswith("blob:"))


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_axe_finds_no_barrier(visit: Visit, scheme: str, width: int) -> None:
    browser = visit(width, scheme, unfolded=True)
    browser.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    run = "const done = arguments[0]; axe.run(document).then(done, (error) => done({violations: [{id: `${error}`}]}))"
    report = browser.execute_async_script(run)
    found = report["violations"]
    assert len(report.get("passes", [])) > 20  # it looked
    serious = [
        (one["id"], one.get("impact"), [node["html"][:200] for node in one.get("nodes", [])][:3])
        for one in found
        if one.get("impact") not in ("minor", "moderate")
    ]
    assert serious == []


def test_the_answer_stands_in_words_above_its_charts(visit: Visit) -> None:
    browser = visit()
    places = """return ['h1', '#s0 .points', '#s0 .chart', '#s0 .scroll'].map((one) =>
        document.querySelector(one).getBoundingClientRect().top)"""
    found = browser.execute_script(places)
    assert found == sorted(found)
    assert found[2] < 900  # the first chart is in sight without scrolling
    words = browser.find_element("css selector", "#s0").text
    assert "Black box at eps" in words
    assert "A is the public source model" in words


IN_SIGHT = """return [...document.querySelectorAll('.cards th, .cards td, .cards details p')].filter((one) => {
    const box = one.getBoundingClientRect(); return box.width > 0 && (box.left < 0 || box.right > innerWidth);
}).map((one) => one.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_verdicts_and_reasons_without_scrolling_sideways(visit: Visit, width: int) -> None:
    browser = visit(width, unfolded=True)
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
    shown = browser.execute_script("return [...document.querySelectorAll('.cards')].map((one) => one.innerText)")
    assert any("supported" in text and FINDINGS[0].reason in text for text in shown)
    assert any("amber" in text or "green" in text for text in shown)
    assert browser.execute_script(IN_SIGHT) == []
    held = (
        "return [...document.querySelectorAll('.cards')].every((one) => one.scrollWidth <= one.parentNode.clientWidth)"
    )
    assert browser.execute_script(held)


PATIENCE = 2000  # milliseconds, of page.js
BLANK = "return [...document.querySelectorAll('.chart')].filter((one) => !one.querySelector('svg.marks path')).length"


def test_all_charts_are_there_when_the_page_is_loaded(made: tuple[Path, list[Row]], browser: Any) -> None:
    counted = f"addEventListener('load', () => {{ window.seen = [(() => {{ {BLANK} }})(), performance.now()] }})"
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": counted})
    browser.get("about:blank")  # a driver may take a page that it left at the same address for the new one
    browser.get(made[0].as_uri())
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    blank, milliseconds = browser.execute_script("return window.seen")
    assert browser.execute_script("return document.querySelectorAll('.chart').length") > 3
    if milliseconds < PATIENCE:  # on a slower machine the page counts as loaded before, which is meant
        assert blank == 0


def test_a_print_draws_what_was_not_drawn_and_unfolds(visit: Visit) -> None:
    browser = visit()
    browser.execute_script("for (const one of document.querySelectorAll('.chart')) one.replaceChildren()")
    assert browser.execute_script(BLANK) > 3
    folds = "return [...document.querySelectorAll('main details')].filter((one) => !one.closest('.chart') && !one.open)"
    folded = len(browser.execute_script(folds))
    assert folded > 3
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(BLANK) == 0
    assert browser.execute_script(folds) == []
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert len(browser.execute_script(folds)) == folded


CUT = """const wide = arguments[0];
return [...document.querySelectorAll('main *')].filter((one) => !one.closest('svg, .chart')).filter((one) => {
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    const scrolls = /auto|scroll|hidden/.test(style.overflowX) && one.scrollWidth > one.clientWidth + 1;
    return scrolls || (box.width > 0 && box.right > wide + 1);
}).map((one) => one.outerHTML.slice(0, 200))"""


def test_on_paper_nothing_is_cut_or_scrolls(visit: Visit) -> None:
    browser = visit(703)  # the width of A4 between its margins
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(CUT, 703) == []
    assert not browser.find_element("css selector", "nav").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pdf_shows_every_chart_on_white(visit: Visit, tmp_path: Path, scheme: str) -> None:
    printed = visit(scheme=scheme).execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    path = tmp_path / "report.pdf"
    path.write_bytes(base64.b64decode(printed))
    if not shutil.which("pdftoppm"):
        pytest.skip("pdftoppm (poppler-utils) is not installed")
    subprocess.run(["pdftoppm", "-r", "40", "-png", str(path), str(tmp_path / "page")], check=True)
    pages = sorted(tmp_path.glob("page*.png"))
    assert len(pages) > 3
    lines = 0
    for page in pages:
        with Image.open(page) as picture:
            assert picture.convert("L").getpixel((2, 2)) > 250
            reds = [
                count
                for count, (r, g, b) in picture.convert("RGB").getcolors(1 << 20) or []
                if r > 180 > 120 > b and g < 140
            ]
            lines += sum(reds) > 20  # the line of the second strategy
    assert lines >= 2


@pytest.mark.parametrize("unfolded", [False, True])
def test_a_phone_scrolls_tables_and_not_the_page(visit: Visit, unfolded: bool) -> None:
    browser = visit(360, unfolded=unfolded)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    wide = """return [...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll, pre, svg') &&
        one.getBoundingClientRect().right > 361).map((one) => one.outerHTML.slice(0, 200))"""
    assert browser.execute_script(wide) == []


def test_headings_are_in_order_and_name_their_sections(visit: Visit) -> None:
    browser = visit(unfolded=True)
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map((one) => +one.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    titles = [one.text for one in browser.find_elements("css selector", "h2")]
    assert titles[:4] == ["The answer", "Failures", "Transferability", "Claims"]
    assert {"Lineage: who helps the attacker", "Pictures", "Cost", "How each number was made"} <= set(titles)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_looks_like_something(
    visit: Visit, tmp_path_factory: pytest.TempPathFactory, scheme: str, width: int
) -> None:
    browser = visit(width, scheme)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})["data"]
    path = tmp_path_factory.mktemp("shots") / f"{scheme}_{width}.png"
    path.write_bytes(base64.b64decode(shot))
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        ground = picture.convert("RGB").getpixel((1, 1))
        colors = len(picture.convert("RGB").resize((60, 400)).getcolors(24_000) or [])
    assert (sum(ground) < 200) == (scheme == "dark")
    assert colors > 100
