"""Read leaderboard files of one or several folders and write tables, a report and a leaderboard of them.

example: tl-robust merge results/embedded/leaderboard results/other/leaderboard --out results/all
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from tl_robust.cli.commands.base import plugin_folders
from tl_robust.errors import ResultsError
from tl_robust.registry import load_plugins


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("places", nargs="+", type=Path, metavar="FOLDER", help="leaderboard folders or files")
    plugin_folders(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where tables, report and leaderboard go"
    )


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust import __version__ as version
    from tl_robust import claims
    from tl_robust.cli.terminal import accuracy_tables, claim_line
    from tl_robust.nodes.provenance import commit
    from tl_robust.results import leaderboard
    from tl_robust.results.names import grouped
    from tl_robust.sinks.base import Views, sentences_of_sinks
    from tl_robust.sinks.report.board_data import brief_commit

    folder = parsed.out
    if (folder / "config.yaml").exists():
        raise ResultsError(f"{folder} has the results of a bench, and they would be lost: choose another --out.")
    for plugins in parsed.plugins:
        load_plugins(plugins)
    board = leaderboard.read(parsed.places, mark=True)
    summary, results = board.summary, board.results
    made_by = f"tl_robust {version} {brief_commit(commit())}".rstrip()
    name = folder.resolve().name
    benches = grouped(results, lambda result: result.cell.bench)
    findings = {bench: claims.decide(members) for bench, members in benches.items()}
    decided = next(iter(findings.values())) if len(findings) == 1 else ()  # a report's claims are about one bench
    views = Views(folder, name, results, summary, board.rows, decided, program=made_by, board=board)
    broken = list[str]()
    sentences = list(sentences_of_sinks(views, broken))
    for table in accuracy_tables(summary):
        console.print(table)
    for bench, found in findings.items():
        console.print(f"{bench}: " * (len(findings) > 1) + claim_line(found), soft_wrap=True, markup=False)
    if unknown := sorted(set().union(*(entry.unknown for entry in board.entries))):
        console.print(f"Left out, since no such metric is registered here: {', '.join(unknown)}.", soft_wrap=True)
    for sentence in leaderboard.sentences(board):
        console.print(sentence, soft_wrap=True, markup=False)
    if missing := len(board.entries) - len(results):
        console.print(
            f"{missing} of {len(board.entries)} cells came without samples: their metrics are as stated, their means "
            "over seeds have approximate intervals; claims and some sections of the report need samples and lack them.",
            soft_wrap=True,
        )
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)
    return 1 if broken or any(entry.wrong for entry in board.aside) else 0
