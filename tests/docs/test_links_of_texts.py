"""Links between the texts of the repository, as somebody follows them who reads it without the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handbook import included, public
from tests.docs.blocks import PAGES, ROOT, named

TEXTS = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")
BUILT = {f"docs/{address}" for address in included.ORIGINS} | {f"docs/api/{page}.md" for page in public.PAGES}
BUILT |= {"docs/api/names.md", "docs/api/index.md"}  # they exist on the site alone


def anchors(path: Path) -> set[str]:
    """Anchors of a text's headings, as they are made where it is shown: small letters, no signs, hyphens."""
    text = re.sub(r"^(```+).*?^\1", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    plain = [re.sub(r"[`*\[\]]|\(.*?\)", "", title) for title in re.findall(r"^#+ (.+)$", text, flags=re.M)]
    own = re.findall(r"\{#([\w-]+)\}|<a id=\"([\w-]+)\"", text)
    return {re.sub(r"[^\w\s-]", "", title.lower()).strip().replace(" ", "-") for title in plain} | {
        a or b for a, b in own
    }


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    links: list[str] = []
    included.outside_code(
        page.read_text(encoding="utf-8"), lambda text: links.extend(a or b for a, b in LINK.findall(text)) or text
    )
    for link in links:
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        there = (page.parent / target).resolve() if target else page
        if there.is_relative_to(ROOT.resolve()) and there.relative_to(ROOT.resolve()).as_posix() in BUILT:
            continue
        assert there.exists(), link
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), link
