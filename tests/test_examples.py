"""The examples: each runs in time, and says what its page says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "examples"
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
SECONDS = 120.0  # of one core
BYTES = 60_000  # of a figure


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_maker", ROOT / "experiments" / "examples.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


MAKER = _maker()
SCRIPT = """# seeds: 0

# %% [markdown]
# # A title
#
# Some words.

# %%
import matplotlib.pyplot as plt


def twice(x):
    return 2 * x


print("accuracy", twice(0.25), "of", 10)
plt.subplots(num="A figure")

# %%
print(__name__)
"""


def test_every_script_has_a_page_and_every_page_a_script() -> None:
    assert len(SCRIPTS) >= 3
    assert {page.stem for page in PAGES.glob("*.md")} == {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_page_is_of_the_script_as_it_stands(script: Path) -> None:
    """Whoever changes a script must run it again."""
    page = (PAGES / f"{script.stem}.md").read_text()
    first, *cells = MAKER.cells_of(script.read_text())
    assert not first.code, "a script starts with its title"
    assert page.startswith(first.text.splitlines()[0])
    for cell in (first, *cells):
        shown = (
            f"```python\n{cell.text}\n```"
            if cell.code
            else cell.text.partition("\n\n")[2]
            if cell is first
            else cell.text
        )
        assert shown in page, f"make examples: {cell.text[:60]}"
    for name in ("versions", "seeds", "device", "commit", "time"):
        assert re.search(rf"^\| {name} \| \S", page, flags=re.MULTILINE), name
    assert "What may be quoted" in page
    figures = re.findall(r"!\[(.+)\]\((.+)\)", page)
    assert sorted(name for _, name in figures) == sorted(path.name for path in PAGES.glob(f"{script.stem}-*"))
    for label, name in figures:
        assert len(label.split()) > 3, "says what is seen"
        assert (PAGES / name).stat().st_size < BYTES


def test_cells_are_run_one_after_the_other_and_what_they_say_is_kept(tmp_path: Path) -> None:
    script = tmp_path / "made.py"
    script.write_text(SCRIPT)
    files, seconds = MAKER.made(script)
    text = files["made.md"]
    assert set(files) == {"made.md", "made-1.svg"}
    assert text.startswith("# A title\n")
    assert "\n\ndef twice(x):" in text, "blank lines of code stay"
    assert "```\n\n```text\naccuracy 0.5 of 10\n```\n\n![A figure](made-1.svg)\n" in text
    assert "```text\n__main__\n```" in text
    assert 0 < seconds < SECONDS
    again, _ = MAKER.made(script)
    assert again["made-1.svg"] == files["made-1.svg"]


def test_a_script_that_fails_writes_no_page(tmp_path: Path) -> None:
    script = tmp_path / "made.py"
    script.write_text(SCRIPT + "\n# %%\nraise ValueError('no such thing')\n")
    with pytest.raises(SystemExit, match=r"(?s)made\.py ended with exit code 1.*no such thing"):
        MAKER.made(script)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("accuracy 0.512", "accuracy 0.560", True),
        ("accuracy 0.512", "accuracy 0.712", False),
        ("falls to 54.0 %", "falls to 68.1 %", True),
        ("falls to 54.0 %", "falls to 70.1 %", False),
        ("1.000 [0.398, 1.000], n = 4", "0.800 [0.194, 0.994], n = 4", True),
        ("1.000 [0.898, 1.000], n = 4", "0.800 [0.694, 0.994], n = 4", False),
        ("index 1.311", "index 1.531", True),
        ("index 1.311", "index 1.631", False),
        ("n = 300", "n = 301", False),
        ("eps 8/255", "eps 16/255", False),
        ("took 2.0 s", "took 51.3 s", True),
        ("[-4.7, 20.6]", "[-1.7, 24.6]", True),
        ("[-4.7, 20.6]", "[-4.7]", False),
        ("a  green", "a green", True),
        ("green", "amber", False),
        ("green", "green\nmore", False),
    ],
)
def test_pages_are_compared_within_a_tolerance(old: str, new: str, same: bool) -> None:
    def page(text: str) -> str:
        return f"# Title\n\n| commit | {len(text)} |\n| time | {len(text)} s of one core |\n\n{text}\n"

    assert (not list(MAKER.differences(page(old), page(new)))) == same


@pytest.mark.docs
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_runs_in_time_and_says_what_its_page_says(script: Path) -> None:
    files, seconds = MAKER.made(script)
    assert seconds < SECONDS
    page = f"{script.stem}.md"
    assert list(MAKER.differences((PAGES / page).read_text(), files[page])) == []
    assert set(files) == {path.name for path in PAGES.glob(f"{script.stem}[-.]*")}
