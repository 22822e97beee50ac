"""The page of all registered names: what they are, their settings, what others call them, and where they stand."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from handbook import public, sources
from handbook.roles import as_markdown
from tl_robust.cli.commands.list import terms_of, what_it_is
from tl_robust.registry import settings_of
from tl_robust.types.terms import words

ADDRESS = "api/names.md"


def pages() -> dict[str, str]:
    """The page by its address."""
    return {ADDRESS: "\n".join(_lines())}


def anchor(kind: str, name: str) -> str:
    """The anchor of a name on its page: ``attack-pgd``."""
    return f"{kind.replace(' ', '-')}-{name}"


def place(item: Any) -> tuple[str, int]:
    """File, from the root of the repository, and line of a registered object."""
    function = item if inspect.isclass(item) or inspect.isfunction(item) else _behind(item)
    module = sys.modules[function.__module__ if function is not None else item.__module__]
    path = Path(str(module.__file__)).resolve().relative_to(sources.ROOT.resolve()).as_posix()
    return path, inspect.getsourcelines(function)[1] if function is not None else 1


def _behind(item: Any) -> Any:
    candidates = [value for name, value in vars(item).items() if inspect.isfunction(value)]
    return candidates[0] if candidates else None


def _lines() -> Iterator[str]:
    yield "# All registered names"
    yield ""
    yield "A name is what a bench file, an override or `get` takes. `tl-robust list KIND` prints the same."
    for kind, entries in groupby(public.registered(), key=lambda entry: entry[0]):
        yield f"\n## {kind[0].upper() + kind[1:]} {{#{kind.replace(' ', '-')}}}\n"
        for _, name, item in entries:
            yield f"### {name} {{#{anchor(kind, name)}}}\n"
            yield as_markdown(what_it_is(item))
            yield from _facts(item)


def _facts(item: Any) -> Iterator[str]:
    path, line = place(item)
    yield ""
    if settings := settings_of(item):
        yield f"- Settings: {', '.join(f'`{key}={_shown(default)}`' for key, default in settings.items())}"
    for who, text in terms_of(item).items():
        if text:
            yield f"- {who}: {', '.join(words(text))}"
    yield f"- Source: [{path}, line {line}](../../{path}#L{line})"  # as in the repository: hook.py makes it a view
    yield ""


def _shown(value: object) -> str:
    return repr(value) if not isinstance(value, str) else value or '""'
