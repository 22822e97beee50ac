"""``report.html``, one page that opens without a network, with its Markdown twin ``report.md`` and ``curves.svg``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tl_robust.files import write_atomically
from tl_robust.seeding import digest
from tl_robust.sinks.base import Views, sink
from tl_robust.sinks.report import page

PAGES = ("report.html", "report.md", "curves.svg")
STAMP = ".report"  # what the pages were made of, and what they were: a second run need not make them again


@sink(after=("tables",), files=(*PAGES, STAMP))
def report(views: Views) -> Iterator[str]:
    """Make the pages, unless a run finds those that it would make."""
    pages = [views.folder / name for name in PAGES]
    source = _source(views)
    if not views.publish or _content(views.folder / STAMP) != _stamp(source, pages):
        page.write(views)
        if all(path.is_file() for path in pages):  # a figure that could not be drawn is tried again the next time
            write_atomically(views.folder / STAMP, _stamp(source, pages))
    yield f"Report: {pages[0]}"


def _source(views: Views) -> str:
    """A digest of all that the pages show; their numbers are those of the tables, which are written already."""
    provenance = [result.provenance for result in views.results]
    facts = [views.text, list(views.failures), views.program, provenance, sorted(views.pictures), dict(views.seconds)]
    sentences = [[str(finding) for finding in views.findings], list(views.notes)]
    numbers = [(views.folder / name).read_text() for name in ("table.csv", "summary.csv")]
    return digest([facts, sentences, numbers])


def _stamp(source: str, pages: Sequence[Path]) -> bytes:
    """Changes with what pages are made of, and with any damage to them."""
    hashes = [hashlib.sha256(content).hexdigest() for content in map(_content, pages) if content is not None]
    return digest([source, hashes]).encode()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
