"""The navigation: made from the pages that are there, in a stated order, so that a new page edits no list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

# Sections in order, each with patterns of pages in order. A page goes where the first pattern fits; within a pattern
# pages are sorted by address, an index before the others. A page that nothing fits stands in the last section.
ORDER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Start", (
        "index.md", "start.md", "install.md", "own-pair.md", "own-*.md", "python.md", "examples/*", "gallery.md",
    )),
    ("Threats", ("threats/index.md", "threats/evasion.md", "threats/*", "attacks.md", "attacks/*", "metrics.md")),
    ("Defenses", ("defenses/index.md", "defenses/*")),
    ("Audit", ("audit.md", "audit/*", "price.md", "lineage.md")),
    ("Reading results", (
        "reading/index.md", "reading/curves.md", "reading/survival.md", "reading/exposure.md", "reading/card.md",
        "reading/trust.md", "reading/claims.md", "reading/quote.md", "reading/*", "statistics.md", "glossary.md",
    )),
    ("Benches", ("benches.md", "benches/*", "cluster.md", "gpu.md")),
    ("Sharing", ("wandb.md", "leaderboard.md", "leaderboard/*")),
    ("Extending", ("recipes.md", "plugins.md", "architecture.md")),
    ("Names and API", ("api/names.md", "api/index.md", "api/*")),
    ("Project", ("changelog.md", "release.md", "security.md")),
)  # fmt: skip
REST = "More"


def nav(texts: Mapping[str, str]) -> list[dict[str, list[Any]]]:
    """Sections with their pages, as mkdocs wants them.

    Args:
        texts: Markdown of all pages by address, a path in docs/ with forward slashes.
    """
    left = sorted(texts, key=lambda address: (not address.endswith("index.md"), address))
    sections: dict[str, list[str]] = {}
    for title, patterns in ORDER:
        for pattern in patterns:
            fitting = [address for address in left if fnmatchcase(address, pattern)]
            sections.setdefault(title, []).extend(fitting)
            left = [address for address in left if address not in fitting]
    sections[REST] = left
    return [
        {title: [_entry(address, texts[address]) for address in pages]} for title, pages in sections.items() if pages
    ]


def _entry(address: str, text: str) -> Any:
    return {title_of(text): address} if title_of(text) else address


def title_of(text: str) -> str:
    """A short title for the navigation: what the first heading has before a colon, without signs of code."""
    heading = re.search(r"^# (.+)$", text, flags=re.MULTILINE)
    return re.sub(r"^Bench (?=`)|`|: .*", "", heading[1]) if heading else ""
