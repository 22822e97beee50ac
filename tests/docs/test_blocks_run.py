"""Every Python block of the documentation runs, those of one page in order with the names of those before."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, blocks, named
from tl_robust.registry import load_plugin

pytestmark = [
    pytest.mark.docs,
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*number of training batches"),
]
# Pages of examples are made of scripts, which tests/test_examples.py runs.
OTHERS = [page for page in PAGES if page.parent.name != "examples"]
HAVING = [page for page in OTHERS if any(block.language == "python" for block in blocks(page))]


@pytest.mark.parametrize("page", HAVING, ids=named)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that begins with the comment of a path is that file: a plugin, which is imported."""
    module = types.ModuleType("page_of_the_documentation")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where dataclasses look for annotations
    for block in (block for block in blocks(page) if block.language == "python"):
        if block.file:
            path = tmp_path / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code)
            load_plugin(path)
        else:
            exec(compile(re.sub(r"\A\n*", "", block.code), f"{named(page)}:{block.line}", "exec"), vars(module))


def test_pages_have_python() -> None:
    assert len(HAVING) > 2
