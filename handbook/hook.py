"""The events of mkdocs, which mkdocs.yml names: adds the pages that are made at build time, and mends links."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # the sources that stand beside this file are the ones that are documented

from mkdocs.structure.files import File, Files  # noqa: E402

from handbook import api, catalogue, facts, included, navigation, sources  # noqa: E402


def on_startup(command: str, dirty: bool) -> None:
    """Let a build print warnings alone: with ``--quiet`` mkdocs would not count them, and ``--strict`` do nothing."""
    if command == "build":
        logging.getLogger("mkdocs").setLevel(logging.WARNING)


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, then state the navigation from all that is there."""
    made = {**included.pages(), **api.pages(), **catalogue.pages()}
    for address, text in made.items():
        files.append(File.generated(config, address, content=text))
    config.nav = navigation.nav({file.src_uri: file.content_string for file in files.documentation_pages()})
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fill in what a page includes, and turn links that leave docs/ into links to pages of the site."""
    origin = included.ORIGINS.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    text, wanted = included.mended(included.filled(facts.replaced(markdown, origin), origin), origin, page.file.src_uri)
    for path in wanted:
        address = sources.address(path)
        if files.get_file_from_path(address) is None:
            files.append(File.generated(config, address, content=sources.page(path)))
    return text
