"""The pages of the API: one for each public package, of its docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module

from handbook import public
from handbook.roles import as_markdown


def pages() -> dict[str, str]:
    """The pages by address."""
    homes = public.homes()
    texts = {f"api/{page}.md": _page(page, homes.values()) for page in public.PAGES if page != "tl_robust"}
    return {**texts, "api/tl_robust.md": _top(homes), "api/index.md": _index()}


def anchor(name: public.Public) -> str:
    """The address of a name from another page of the API."""
    return f"{name.page}.md#{name.path}"


def _title(page: str) -> str:
    return page if page == "tl_robust" else f"tl_robust.{page}"


def first_line(value: object) -> str:
    """The first sentence of a docstring, for a list."""
    text = (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ")
    return as_markdown(text).replace("|", "\\|")


def _page(page: str, homes: Iterable[public.Public]) -> str:
    here = [name for name in homes if name.page == page]
    lines = [f"# {_title(page)}", "", first_line(import_module(f"tl_robust.{page}")), ""]
    for name in here:
        lines += [f"::: {name.path}", ""]
    return "\n".join(lines)


def _top(homes: dict[str, public.Public]) -> str:
    places = {id(name.value): name for name in homes.values()}
    lines = ["# tl_robust", "", first_line(import_module("tl_robust")), "", "| name | what it is |", "|---|---|"]
    for name in (name for name in public.names() if name.page == "tl_robust"):
        short = name.path.rpartition(".")[2]
        home = places.get(id(name.value))
        there = anchor(home) if home else f"{short}.md"
        lines.append(f"| [`{short}`]({there}) | {first_line(name.value)} |")
    return "\n".join(
        [*lines, "", "Names are imported when they are first asked for: `import tl_robust` costs nothing.", ""]
    )


def _index() -> str:
    lines = [
        "# API",
        "",
        "Made from the docstrings. What stands here is public: other names may change without a word.",
        "",
    ]
    lines += ["| package | what it has |", "|---|---|"]
    for page in public.PAGES:
        module = import_module("tl_robust" if page == "tl_robust" else f"tl_robust.{page}")
        lines.append(f"| [`{_title(page)}`]({page}.md) | {first_line(module)} |")
    return "\n".join(
        [*lines, "", "[All registered names](names.md) with their settings stand on a page of their own.", ""]
    )
