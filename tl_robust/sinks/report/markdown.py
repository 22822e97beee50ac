"""The report as Markdown, for places that show no page: a repository, a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tl_robust.sinks.report.blocks import Block, Drawings, Fold, Measured, Panels, Points, Table, Text, Why
from tl_robust.text import plain


def document(title: str, facts: Sequence[str], sections: Sequence[tuple[str, list[Block]]], figure: str) -> str:
    """``report.md``.

    Args:
        title: Name of the bench.
        facts: Sentences below it.
        sections: Title and blocks of each.
        figure: What stands in place of the charts of the first section, as Markdown; nothing where it is empty.
    """
    parts = [f"# {escaped(title)}", *map(escaped, facts)]
    for place, (heading, blocks) in enumerate(sections):
        shown = [_block(block) for block in blocks]
        if figure and place == 0:
            first = next(
                (index for index, block in enumerate(blocks) if isinstance(block, Panels | Drawings)), len(blocks)
            )
            shown[first : first + 1] = [[figure]]  # one figure for all charts of the answer
        texts = [text for block in shown for text in block]
        parts += [f"## {heading}", *texts] if texts else []
    return plain("\n\n".join(parts) + "\n")


def _block(block: Block) -> list[str]:
    if isinstance(block, Points):
        return ["\n".join(f"- {escaped(item)}" for item in block.items)]
    if isinstance(block, Text):
        return [text for text in (f"### {escaped(block.heading)}" * bool(block.heading), escaped(block.text)) if text]
    if isinstance(block, Fold):
        return [text for inside in block.blocks for text in _block(inside)]
    if not isinstance(block, Table) or not block.brief:
        return []
    lines = [block.head, ["---"] * len(block.head), *([_words(item) for item in row] for row in block.body)]
    return [escaped(block.title), "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)]


def _words(item: str | Why | Measured) -> str:
    if isinstance(item, Why):
        return f"{item.text} {item.more}"
    return item if isinstance(item, str) else item.text


def escaped(text: str) -> str:
    """No Markdown or HTML of its own, on one line."""
    return re.sub(r"([\\`*<|]|(?<=\])\()", r"\\\1", " ".join(text.split()))
