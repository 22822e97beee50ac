"""Pictures of real reports for the documentation: docs/gallery/*.png.

    python experiments/gallery.py [--only NAME ...] [--workers N]

Runs four small benches (few seeds; a run that is in the store is not made again), a defense card and an audit of one of
their models, opens the pages in chromium, and keeps parts of them as pictures. Needs the extra browser, chromium and
chromedriver. The commands are those that docs/gallery.md shows; results are in results/gallery_*.
"""

import argparse
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from tl_robust.cli import main as command

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "gallery"
MOST, ALL = 120_000, 1_000_000  # bytes of a picture, and of all
WIDTH, PAD = 1100, 14  # of the window, and around a picture, in pixels
DRAWN = 2.0  # seconds that a page may take to draw a part
BENCHES = {
    "embedded": ["axes.attack=[fgsm]", "axes.seed=[0,1,2]"],
    "backdoor": ["axes.attack=[patch]", "axes.seed=[0,1,2]"],
    "membership": [
        "axes.attack=[loss,calibrated,rmia,{name: rmia, knowledge: recipe},{name: rmia, side: source, pairs: 3}]",
        "axes.strategy=[scratch,finetune,{name: finetune, mode: probe}]",
    ],
    "defenses": ["axes.defense=[none,{name: fgsm_rs, eps: 16/255},distill,squeeze]"],
}
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--window-size={WIDTH},4000")


@dataclass(frozen=True)
class Shot:
    """A picture of a part of a page.

    Attributes:
        page: Below results/.
        section: What its heading begins with; empty: the page from its top.
        height: At most, from the heading, in pixels.
    """

    page: str
    section: str
    height: int


SHOTS = {
    "answer": Shot("gallery_embedded/report.html", "The answer", 900),
    "claims": Shot("gallery_embedded/report.html", "Claims", 620),
    "lineage": Shot("gallery_embedded/report.html", "Lineage", 520),
    "pictures": Shot("gallery_embedded/report.html", "Pictures", 620),
    "survival": Shot("gallery_backdoor/report.html", "The answer", 900),
    "stamped": Shot("gallery_backdoor/report.html", "Stamped pictures", 560),
    "exposure": Shot("gallery_membership/report.html", "mnist5k → optdigits, rmia(pairs=3)", 575),
    "roc": Shot("gallery_membership/report.html", "ROC curves", 560),
    "card": Shot("gallery_defenses/card.html", "", 1100),
    "audit": Shot("gallery_audit/risk.html", "", 1300),
}


def run(arguments: list[str]) -> None:
    """A command of the suite; the script ends where it fails."""
    print("tl-robust", *arguments, flush=True)
    if code := command(arguments):
        sys.exit(code)


def audit() -> None:
    """The audit of a fine-tuned model of ``embedded``, with its parent and three models that it was not made of."""
    run(["export", "results/gallery_embedded/config.yaml"])
    files = sorted(Path("results/gallery_embedded/leaderboard").glob("*.json"))
    cells = [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def made(strategy: str, seed: int) -> dict[str, str]:
        wanted = {"strategy": strategy, "seed": seed, "view": "black", "target_images": 1197}
        (cell,) = (cell for cell in cells if wanted.items() <= cell["cell"].items())
        keys = {who: cell["provenance"][who]["key"] for who in ("surrogate", "victim")}
        return {who: f"results/store/weights/{key}/model.safetensors" for who, key in keys.items()}

    model, decoys = made("finetune", 0), [made("finetune", 1), made("finetune", 2), made("common_init", 0)]
    run([
        "audit", model["victim"], "--parent", model["surrogate"],
        *(text for decoy in decoys for text in ("--decoy", decoy["surrogate"])),
        "--network", "{name: dtn, width: 0.25}", "--data", "optdigits", "--space", "digits", "--eps", "32/255",
        "--stated", "0.97", "--out", "results/gallery_audit",
    ])  # fmt: skip


def opened(folder: str) -> Any:
    """A browser; its profile is in ``folder``."""
    from selenium import webdriver

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        sys.exit("error: the gallery needs chromium and chromedriver (Debian: apt install chromium chromium-driver).")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


FIND = """
const heads = [...document.querySelectorAll('section h2, section h3')].filter(
    head => head.textContent.trim().startsWith(arguments[0]));
const part = arguments[0] ? heads[0]?.closest('section') : document.body;
const top = box => Math.max(0, Math.floor(box.getBoundingClientRect().top - part.getBoundingClientRect().top) - 8);
return part ? [part, arguments[0] ? top(heads[0]) : 0] : null;
"""


def taken(browser: Any, shots: dict[str, Shot]) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of pictures."""
    for name, shot in shots.items():
        browser.get((ROOT / "results" / shot.page).as_uri())
        browser.execute_script(FIND, shot.section)
        time.sleep(DRAWN)  # what is scrolled to is drawn then
        found = browser.execute_script(FIND, shot.section)
        if found is None:
            sys.exit(f"error: results/{shot.page} has no section {shot.section!r}: name it anew in SHOTS.")
        part, top = found
        image = Image.open(io.BytesIO(part.screenshot_as_png)).convert("RGB")
        image = image.crop((0, top, image.width, min(image.height, top + shot.height)))
        image = ImageOps.expand(image, PAD, "white")
        data = io.BytesIO()
        image.quantize(96, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(data, "png", optimize=True)
        yield name, data.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(SHOTS), choices=list(SHOTS), help="only these pictures")
    parser.add_argument("--workers", default="0", help="processes; 0: as many as fit (0)")
    parsed = parser.parse_args()
    shots = {name: SHOTS[name] for name in parsed.only}
    pages = {shot.page.partition("/")[0].removeprefix("gallery_") for shot in shots.values()}
    for bench, settings in BENCHES.items():
        if bench in pages or (bench == "embedded" and "audit" in pages):
            run(["run", bench, f"name=gallery_{bench}", *settings, f"workers={parsed.workers}"])
    if "audit" in pages:
        audit()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        browser = opened(folder)
        try:
            for name, data in taken(browser, shots):
                if len(data) > MOST:
                    sys.exit(f"error: picture {name} has {len(data):,} bytes, at most {MOST:,}: make its part smaller.")
                (OUT / f"{name}.png").write_bytes(data)
                print(f"docs/gallery/{name}.png  {len(data):,} bytes")
        finally:
            browser.quit()
    if (total := sum(file.stat().st_size for file in OUT.glob("*.png"))) > ALL:
        sys.exit(f"error: all pictures have {total:,} bytes, at most {ALL:,}: make some smaller.")


if __name__ == "__main__":
    main()
