"""Count the numbers of a bench that has run.

example: tl-robust count-rows embedded
"""

from tl_robust.cli.commands.base import bench_arguments, load
from tl_robust.results import table


def arguments(parser):
    bench_arguments(parser)
    parser.add_argument("--metric", help="count those of this metric only")


def run(parsed, console):  # gives the exit code
    config = load(parsed)
    rows = table.read(config.results / config.bench.name / "table.csv")
    console.print(len([row for row in rows if parsed.metric in (None, row.metric)]))
    return 0
