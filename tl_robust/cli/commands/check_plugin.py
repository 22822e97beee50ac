"""Ask the suite's contracts of the files of a plugin folder.

example: tl-robust check-plugin plugins --only my_attack
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tl_robust.contracts.sheet import Line

STYLES = {"passed": "green", "broken": "red", "not asked": "dim", "unread": "red"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of plugin files")
    what = "the file of this name alone, without .py; may be given several times"
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=what)
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="data sets (data.root), for domains and pairs")
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="that one file may take (120)")
    parser.add_argument("--all", action="store_true", help="show every contract, those that are kept too")
    parser.add_argument("--json", action="store_true", help="print the sheet as JSON")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.contracts.folder import check_folder
    from tl_robust.errors import ConfigError

    if not 0 < parsed.limit < float("inf"):
        raise ConfigError(f"--limit must be above 0 seconds, got {parsed.limit}.")
    sheet: list[Line] = []
    for lines in check_folder(parsed.folder, parsed.only, parsed.root, parsed.limit):
        sheet += lines
    if parsed.json:
        known = {"counts": _counts(sheet), "lines": [line.written() for line in sheet]}
        print(json.dumps(known, indent=1))  # noqa: T201
    else:
        console.print(_table(sheet if parsed.all else _short(sheet)))
        console.print(_summary(sheet), soft_wrap=True)
    states = {line.state for line in sheet}
    return 2 if "unread" in states else 1 if "broken" in states else 0


def _short(sheet: Sequence[Line]) -> list[Line]:
    """What is kept as one line for each object; what is broken or was not asked as one for each sentence on it."""
    from tl_robust.contracts.sheet import Line

    short: list[Line] = []
    for key in dict.fromkeys((line.file, line.kind, line.name) for line in sheet):
        own = [line for line in sheet if (line.file, line.kind, line.name) == key]
        kept = sum(line.state == "passed" for line in own)
        if kept:
            short.append(Line(*key, f"{kept} of {len(own)} contracts", "passed"))
        bad = [line for line in own if line.state in ("broken", "unread")]
        for alike in _alike(bad):
            names = [line.contract for line in alike]
            what = names[0] if len(names) == 1 else f"{len(names)} contracts: {', '.join(names)}"
            short.append(Line(*key, what, alike[0].state, alike[0].says))
        for alike in _alike([line for line in own if line.state == "not asked"]):
            what = alike[0].contract if len(alike) == 1 else f"{len(alike)} contracts"
            short.append(Line(*key, what, "not asked", alike[0].says))
    return short


def _alike(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines that say the same of the same state together, in the order of the first of them."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.state, line.says), []).append(line)
    return list(groups.values())


def _table(sheet: Sequence[Line]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("", "file", "kind", "name", "contract"):
        table.add_column(title, overflow="fold")
    for line in sheet:
        state = Text(line.state, STYLES[line.state])
        table.add_row(state, *map(_plain, (line.file, line.kind, line.name, line.contract)))
        if line.says:
            table.add_row("", "", "", "", _plain(line.says, "dim"))
    return table


def _plain(text: str, style: str = "") -> Text:
    from tl_robust.text import plain

    return Text(plain(text), style)


def _summary(sheet: Sequence[Line]) -> str:
    count = _counts(sheet)
    files = len({line.file for line in sheet})
    unread = f"; {count['unread']} not read" if count["unread"] else ""
    told = f"{count['passed']} contracts passed, {count['broken']} broken, {count['not asked']} not asked"
    return f"{files} file{'s' * (files != 1)}: {told}{unread}."


def _counts(sheet: Sequence[Line]) -> dict[str, int]:
    return {state: sum(line.state == state for line in sheet) for state in STYLES}
