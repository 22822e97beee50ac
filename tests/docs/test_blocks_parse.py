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
LINES = [
    pytest.param(line, id=f"{named(page)}:{block.line}:{place}")
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md"]
    for block in blocks(page)
    if block.language in SHELL
    for place, line in enumerate(commands(block))
]
BENCHES = [
    pytest.param(page, block, id=f"{named(page)}:{block.line}")
    for page in PAGES
    for block in blocks(page)
    if block.language == "yaml"
]


def test_there_are_commands_and_bench_files() -> None:
    assert len(LINES) > 50
    assert len(BENCHES) > 2


@pytest.mark.parametrize("line", LINES)
def test_a_command_is_one_that_there_is(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        assert [word for word in words[1:] if "=" not in word and word not in TARGETS] == []
        return
    command, *arguments = words[1:]
    if command not in ("--help", "--version", "count-rows"):  # the last is a recipe of CONTRIBUTING.md
        parse([command, *(argument for argument in arguments if argument not in ("[KIND]", "..."))])


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
