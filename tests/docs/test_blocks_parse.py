"""Blocks of the documentation that are not Python: bench files are benches, commands have a parser, targets exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import PAGES, ROOT, Block, blocks, commands, named
from tl_robust.cli.parser import parse
from tl_robust.config import load
from tl_robust.registry import load_plugin

SHELL = ("", "bash", "sh", "shell", "console")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md"]
LINES = {
    named(page): [line for block in blocks(page) if block.language in SHELL for line in commands(block)]
    for page in TEXTS
}
BENCHES = [
    pytest.param(page, block, id=f"{named(page)}:{block.line}")
    for page in PAGES
    for block in blocks(page)
    if block.language == "yaml"
]


def test_there_are_commands_and_bench_files() -> None:
    assert sum(map(len, LINES.values())) > 100
    assert len(BENCHES) > 2


@pytest.mark.parametrize("page", [page for page, lines in LINES.items() if lines])
def test_commands_are_such_that_there_are(page: str) -> None:
    for line in LINES[page]:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert [word for word in words[1:] if "=" not in word and word not in TARGETS] == [], line
            continue
        command, *arguments = words[1:]
        if command not in ("--help", "--version", "count-rows"):  # the last is a recipe of CONTRIBUTING.md
            parse([command, *(argument for argument in arguments if argument != "...")])


def test_targets_that_sentences_name_exist() -> None:
    named_in = {(named(page), target) for page in TEXTS for target in re.findall(r"`make ([a-z-]+)", page.read_text())}
    assert len(named_in) > 20
    assert [(page, target) for page, target in named_in if target not in TARGETS] == []


@pytest.mark.parametrize(("page", "block"), BENCHES)
def test_a_bench_file_can_be_read(page: Path, block: Block, tmp_path: Path) -> None:
    """With the plugins that the same page writes above it; any other YAML is well formed."""
    content = yaml.safe_load(block.code)
    if not isinstance(content, dict) or "axes" not in content:
        return
    for folder in content.get("plugins", []):
        (tmp_path / folder).mkdir()
    for written in blocks(page):
        if written.language == "python" and written.file and (tmp_path / written.file).parent.is_dir():
            (tmp_path / written.file).write_text(written.code)
            load_plugin(tmp_path / written.file)
    path = tmp_path / (block.file or "bench.yaml")
    path.write_text(block.code)
    assert load(path, []).bench.axes.pair
