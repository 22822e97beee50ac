"""Texts that stand elsewhere in the repository and are read on the site, and links between both."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORIGINS = {  # pages of the site, and the file that they are made from
    "architecture.md": "ARCHITECTURE.md",
    "changelog.md": "CHANGELOG.md",
    "recipes.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
ADDRESSES = {origin: address for address, origin in ORIGINS.items()} | {"README.md": "index.md"}
_CODE = re.compile(r"(?ms)^ *(```+|~~~+).*?^ *\1 *$|(`+)(?!`).+?(?<!`)\2(?!`)")
_LINK = re.compile(r"(?P<before>\]\(|^\[[^\]\n]+\]:[ ]+|\b(?:href|src)=\")(?P<target>[^)\s\"]+)", flags=re.MULTILINE)
_INCLUDE = re.compile(r"^<!-- include: (?P<path>\S+) -->$", flags=re.MULTILINE)
_LANGUAGES = {".yaml": "yaml", ".py": "python", ".txt": "text", ".json": "json", ".sh": "bash"}


def pages() -> dict[str, str]:
    """The texts of the root that are pages of the site, by address; those that are there."""
    texts = {address: ROOT / origin for address, origin in ORIGINS.items()}
    return {address: path.read_text(encoding="utf-8") for address, path in texts.items() if path.is_file()}


def filled(markdown: str, origin: str) -> str:
    """Put files in the place of lines such as ``<!-- include: ../../experiments/digits.yaml -->``, as blocks of code.

    On a page that is read without the site such a line shows nothing; a link to the file should stand above it.

    Args:
        markdown: Text of a page.
        origin: The file that it stands in, from the root of the repository; paths are relative to it.

    Raises:
        FileNotFoundError: No such file.
    """

    def block(line: re.Match[str]) -> str:
        path = ROOT / posixpath.normpath(posixpath.join(posixpath.dirname(origin), line["path"]))
        text = path.read_text(encoding="utf-8").rstrip("\n")
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
        return f"{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text}\n{fence}"

    return _INCLUDE.sub(block, markdown)


def mended(markdown: str, origin: str, address: str) -> tuple[str, list[str]]:
    """Turn links that are right in the repository into links that are right on the site.

    A link within docs/ stays. One to a text of the root goes to its page, one to a source file to its view, and one to
    a folder becomes a link to nothing but its text.

    Args:
        markdown: Text of a page.
        origin: The file that it stands in, from the root of the repository; its links are relative to it.
        address: Its page, from docs/.

    Returns:
        The text, and the source files that are linked.
    """
    wanted: list[str] = []

    def link(found: re.Match[str]) -> str:
        target, mark, anchor = found["target"].partition("#")
        if not target or re.match(r"[a-z][a-z0-9+.-]*:|/", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        there = ADDRESSES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if there is None and (ROOT / path).is_file():
            wanted.append(path)
            there, mark, anchor = f"source/{path}.html", mark, re.sub(r"^L(\d+)$", r"line-\1", anchor)
        if there is None:
            return found[0]
        return f"{found['before']}{posixpath.relpath(there, posixpath.dirname(address) or '.')}{mark}{anchor}"

    return outside_code(markdown, lambda text: _LINK.sub(link, text)), wanted


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Apply a change to a text, but not to its blocks and words of code."""
    parts, end = [], 0
    for code in _CODE.finditer(markdown):
        parts += [change(markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, change(markdown[end:])])
