"""The blocks of code of the documentation, as a reader would copy them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^\n`]*)\n(?P<code>.*?)^ *(?P=fence) *$", re.M | re.S
)
_FILE = re.compile(r"\s*# (?P<path>[\w/.-]+\.(?:py|yaml))\b")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: As its fence says; empty where it says nothing.
        code: What stands in it.
        line: Where it begins, from 1.
        file: The file that it is, where its first line is a comment with a path: ``# plugins/scans.py``.
    """

    language: str
    code: str
    line: int
    file: str


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        language = (fence["info"].split() or [""])[0].strip("{}.")
        code = re.sub(rf"^{fence['indent']}", "", fence["code"], flags=re.M)
        file = _FILE.match(code)
        found.append(Block(language, code, text.count("\n", 0, fence.start()) + 1, file["path"] if file else ""))
    return found


def named(page: Path) -> str:
    """How a test calls a page."""
    return page.relative_to(ROOT).as_posix()


def commands(block: Block) -> list[str]:
    """The lines of a block that call ``tl-robust`` or ``make``, lines that go on after a backslash joined."""
    lines = block.code.replace("\\\n", " ").splitlines()
    stripped = [re.sub(r"^\s*(\$ )?(srun )?(\.venv/bin/)?", "", line) for line in lines]
    return [line for line in stripped if re.match(r"(tl-robust|make) ", line)]
