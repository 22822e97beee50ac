"""Show every registered name, or those of one kind with their settings.

example: tl-robust list backdoor
"""

from __future__ import annotations

import argparse
import inspect
import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tl_robust.registry import kinds, names_in, registry, settings_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", default="", help="show this kind with settings and their defaults: backdoor")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli.parser import own_commands  # it imports this module's package

    if parsed.kind:
        _one_kind(parsed.kind, parsed.json, console)
        return 0
    names = {kind: names_in(package) for kind, package in kinds().items()} | {"command": sorted(own_commands())}
    names = dict(sorted(names.items()))
    if parsed.json:
        print(json.dumps(names))  # noqa: T201
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    for kind, known in names.items():
        table.add_row(kind, ", ".join(known))
    console.print(table)
    return 0


def _one_kind(kind: str, as_json: bool, console: Console) -> None:
    known = registry(kind)
    settings = {name: settings_of(known[name]) for name in known.names()}
    words = {name: what_it_is(known[name]) for name in known.names()}
    terms = {name: terms_of(known[name]) for name in known.names()}
    if as_json:
        facts = {
            name: {"settings": settings[name], "what": words[name], "terms": terms[name]} for name in known.names()
        }
        print(json.dumps(facts, default=str))  # noqa: T201
        return
    heads = (kind, *["settings and their defaults"] * any(settings.values()), "what it is")
    table = Table(*heads, box=None, pad_edge=False)
    for name, own in settings.items():
        shown = ", ".join(f"{key}={_shown(value)}" for key, value in own.items())
        what = "\n".join([words[name], *(f"{who}: {text}" for who, text in terms[name].items())])
        table.add_row(*map(Text, (name, *[shown] * (len(heads) > 2), what)))
    console.print(table)


def _shown(value: object) -> str:
    return value or "''" if isinstance(value, str) else str(value)


def terms_of(item: object) -> dict[str, str]:
    """What others call it, by who does."""
    face = getattr(item, "face", item)  # a threat says it there
    return dict(getattr(item, "TERMS", getattr(face, "terms", {})))


def what_it_is(item: object) -> str:
    """The first paragraph of what its author says, of the item or of a function that it is made of."""
    own = {} if inspect.isclass(item) else getattr(item, "__dict__", {})
    made_of = [function.__doc__ for function in own.values() if inspect.isfunction(function)]
    said = [own.get("doc"), own.get("says"), *made_of, item.__doc__]
    return " ".join(inspect.cleandoc(next(filter(None, said), "")).partition("\n\n")[0].split())
