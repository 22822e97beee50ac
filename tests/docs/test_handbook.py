"""How the site is put together: navigation, included texts, links, and the pages of benches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.outputs import OUTPUTS, WIDTH, folded
from experiments.outputs import main as outputs
from handbook.included import filled, mended
from handbook.navigation import REST, nav, title_of
from tests.docs.blocks import ROOT

BENCHES = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))


def test_a_page_stands_in_its_section_and_an_unknown_one_in_the_last() -> None:
    texts = {
        address: f"# `{address}`: more"
        for address in ("what.md", "start.md", "index.md", "defenses/a.md", "defenses/index.md")
    }
    assert nav(texts) == [
        {"Start": [{"index.md": "index.md"}, {"start.md": "start.md"}]},
        {"Defenses": [{"defenses/index.md": "defenses/index.md"}, {"defenses/a.md": "defenses/a.md"}]},
        {REST: [{"what.md": "what.md"}]},
    ]
    assert nav({"index.md": "no heading"}) == [{"Start": ["index.md"]}]
    assert title_of("text\n\n# Bench `backdoor`\n") == "backdoor"


def test_links_of_the_repository_become_links_of_the_site() -> None:
    text = "[a](../../README.md) [b](../start.md#data) [c](../../Makefile) `[d](../start.md)` [e](https://x.org) "
    text += "[f](../../tl_robust/errors.py#L3)"
    site, sources = mended(text, "docs/benches/digits.md", "benches/digits.md")
    assert site == (
        "[a](../index.md) [b](../start.md#data) [c](../source/Makefile.html) `[d](../start.md)` [e](https://x.org) "
        "[f](../source/tl_robust/errors.py.html#line-3)"
    )
    assert sources == ["Makefile", "tl_robust/errors.py"]
    root, _ = mended("[words](docs/glossary.md) [own](tests/conftest.py)", "ARCHITECTURE.md", "architecture.md")
    assert root == "[words](glossary.md) [own](source/tests/conftest.py.html)"
    assert mended("[x](docs/nothing.md)", "README.md", "index.md")[0] == "[x](nothing.md)"  # of which mkdocs warns


def test_a_file_is_included_as_a_block() -> None:
    shown = filled("before\n<!-- include: ../../experiments/digits.yaml -->\nafter", "docs/benches/digits.md")
    assert shown == f"before\n```yaml\n{(ROOT / 'experiments' / 'digits.yaml').read_text().rstrip()}\n```\nafter"
    with pytest.raises(FileNotFoundError):
        filled("<!-- include: nothing.txt -->", "docs/start.md")


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_has_a_page_with_its_file_and_what_it_prints(name: str) -> None:
    page = (ROOT / "docs" / "benches" / f"{name}.md").read_text()
    assert f"<!-- include: ../../experiments/{name}.yaml -->" in page
    assert f"make bench BENCH={name}" in page
    assert f"](benches/{name}.md)" in (ROOT / "docs" / "benches.md").read_text()
    output = ROOT / "docs" / "benches" / f"{name}.txt"
    assert (f"<!-- include: {name}.txt -->" in page) == output.is_file()
    if output.is_file():
        text = output.read_text()
        assert text.startswith(f"$ tl-robust run {name}")
        assert re.match(r"[^\n]*\n# commit \w{12}(-dirty)?; seeds [\d, ]+; device .+\n# python 3", text)
        assert f"results/{name}/report.html" in text
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/|\.\./", text)
        assert max(map(len, text.splitlines()[3:])) <= 120


def test_every_output_is_of_a_bench_and_lines_fit() -> None:
    assert set(OUTPUTS) <= set(BENCHES)
    assert max(map(len, folded("word " * 60))) <= WIDTH
    assert folded("a   row   of a table " * 9) == [("a   row   of a table " * 9).rstrip()]


def test_outputs_says_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert outputs(["nothing"]) == 2
    assert "no output is kept of 'nothing': choose from" in capsys.readouterr().err
    assert outputs(["digits"]) == 2
    assert "digits reads MNIST and USPS: give --folder FOLDER" in capsys.readouterr().err
    assert Path.cwd().joinpath("docs").exists() is False
