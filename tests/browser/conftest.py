"""A report of a small real bench, and a browser that opens it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tl_robust.bench.plan import make_plan
from tl_robust.bench.runner import run
from tl_robust.bench.store import Store
from tl_robust.claims.base import Finding
from tl_robust.config import load
from tl_robust.sinks import report
from tl_robust.sinks.table import Row, summary

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
    page, _ = report.write(
        folder, "embedded", finished.results, rows, config.text, failures, FINDINGS, finished.pictures, finished.seconds
    )
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
