"""The built site, as tests read it."""

from __future__ import annotations

import os
import posixpath
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]
LOADS = {  # tags and attributes that make a browser fetch something when it opens a page
    "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src",
    "object": "data", "link": "href",
}  # fmt: skip
NOT_FETCHED = {"canonical", "alternate", "next", "prev", "edit"}  # relations of <link> that only say something


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site into a folder as ``make docs`` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


@dataclass
class Page(HTMLParser):
    """What a page has and refers to.

    Attributes:
        path: The page, from the root of the site.
        ids: Its anchors.
        links: Where its links lead.
        loads: What a browser fetches to show it.
    """

    path: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {value for key in ("id", "name") if (value := given.get(key))}
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        fetched = given.get(LOADS.get(tag, ""))
        if fetched and not (tag == "link" and set(str(given.get("rel")).split()) & NOT_FETCHED):
            self.loads.append(fetched)


def read(folder: Path) -> dict[str, Page]:
    """All pages of a site by path."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        page = Page(path.relative_to(folder).as_posix())
        page.feed(path.read_text(encoding="utf-8"))
        pages[page.path] = page
    return pages


def broken(pages: dict[str, Page], folder: Path) -> list[tuple[str, str]]:
    """Links within the site that lead nowhere, each with its page."""
    wrong = []
    for page in pages.values():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            here = "" if page.path == "404.html" else posixpath.dirname(page.path)  # which is shown for any address
            there = posixpath.normpath(posixpath.join(here, unquote(parts.path))) if parts.path else page.path
            there = "index.html" if there in (".", "/") else there
            if not (folder / there.lstrip("/")).is_file() or (
                parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].ids
            ):
                wrong.append((page.path, link))
    return wrong
