"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tl_robust.errors import ConfigError, TLRobustError, UnknownNameError

if TYPE_CHECKING:
    from tl_robust.config import Config

BENCHES = Path("experiments")
HELP = {
    "run": "run a bench: train, attack, judge, write tables and report",
    "plan": "show what would run and what is done",
    "report": "write tables and report again from the store",
    "profiles": "run a bench under the profiles kdd20 and default and show the differences",
    "list": "show every registered name",
    "check-pair": "check the data of a pair",
    "doctor": "show versions, devices, data and the state of the store",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0: done; 1: some cells failed or a check did not pass; 2: bad input; 130: stopped by Ctrl-C.
    """
    parser = _parser()
    parsed, rest = parser.parse_known_args(arguments)
    if any(item.startswith("-") for item in rest) or (rest and not hasattr(parsed, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # overrides after an option: argparse stops collecting there
        parsed.overrides += rest
    for name in list(os.environ):  # Lightning would take these for its own cluster and log nothing
        if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            del os.environ[name]
    # no markup: names and messages may hold brackets
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False, highlight=False)
    try:
        return int(COMMANDS[parsed.command](parsed, console))
    except TLRobustError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        again = " ".join(["tl-robust", *(arguments if arguments is not None else sys.argv[1:])])
        print(f"\nstopped: what was finished is kept; go on with: {again}", file=sys.stderr)  # noqa: T201
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tl-robust", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in ("run", "plan", "report", "profiles"):
            command.add_argument("bench", help=f"a YAML file, the name of one in {BENCHES}/, or auto")
        if name == "check-pair":
            command.add_argument("pair", help="source-target, or a registered pair")
            command.add_argument("--bench", help="bench file with the space and the domains that it declares")
        if name == "doctor":
            command.add_argument("--results", default="results", help="folder of results (results)")
        elif name != "list":
            command.add_argument("overrides", nargs="*", metavar="key=value", help="for example data.root=../data")
        if name in ("plan", "list"):
            command.add_argument("--json", action="store_true", help="print JSON")
        if name == "report":
            command.add_argument("--figure", type=Path, help="also draw the curves into this .svg or .png file")
        if name in ("run", "profiles"):
            command.add_argument("--plain", action="store_true", help="lines instead of progress bars")
        if name == "run":
            command.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)
    return parser


def _load(parsed: argparse.Namespace) -> Config:
    from tl_robust.config import load

    if parsed.bench == "auto":
        import torch

        parsed.bench = "digits" if torch.cuda.is_available() else "embedded"
        why = "a CUDA device is present" if torch.cuda.is_available() else "no CUDA device is present"
        print(f"No bench was named: {parsed.bench}, since {why}.")  # noqa: T201
    return load(_path(parsed.bench), parsed.overrides)


def _path(bench: str) -> Path:
    if Path(bench).suffix in (".yaml", ".yml"):
        return Path(bench)
    known = {file.stem: file for file in BENCHES.glob("*.yaml")}
    if bench not in known:
        raise UnknownNameError(f"bench (a .yaml file, or a name in {BENCHES}/)", bench, known)
    return known[bench]


def _run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust import session

    config = _load(parsed)
    if parsed.helper:
        threading.Thread(target=session.end_with_parent, daemon=True).start()
        session.help_out(config)
        return 0
    finished = session.run(config, console, parsed.plain, [parsed.bench, *parsed.overrides])
    session.write(config, finished, console, publish=True)
    return 0


def _profiles(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust import session
    from tl_robust.sinks import difference, table

    given, summaries, settings = parsed.overrides, {}, {}
    for profile in ("kdd20", "default"):
        parsed.overrides = [*given, f"profile={profile}"]
        parsed.overrides.append(f"name={_load(parsed).bench.name}.{profile}")
        config = _load(parsed)
        finished = session.run(config, console, parsed.plain, [parsed.bench, *parsed.overrides])
        session.write(config, finished, console, publish=False)
        summaries[profile], settings[profile] = table.summary(finished.results), config.settings
    for part in difference.tables(summaries, settings):
        console.print(part)
    return 0


def _report(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust import session
    from tl_robust.sinks import report, table

    config = _load(parsed)
    finished = session.gather(config)
    if not finished.results:
        raise ConfigError(f"no cell of bench {config.bench.name!r} is in {config.results / 'store'}: run it first.")
    if parsed.figure:
        report.figure(table.summary(finished.results), parsed.figure)
    session.write(config, finished, console, publish=False)
    return 0


def _plan(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.bench.plan import make_plan
    from tl_robust.bench.store import Store

    config = _load(parsed)
    plan, store = make_plan(config.bench), Store(config.results / "store")
    counts = plan.counts(store)
    if parsed.json:
        print(json.dumps(counts))  # noqa: T201
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("done", "training", "classes", "images", "epochs", "key"):
        table.add_column(title, no_wrap=True)
    for model in plan.trainings:
        done, origin = "yes" if store.has("weights", model.key) else "", model.origin()
        images, epochs = (str(origin.get(name, "-")) for name in ("images", "epochs"))
        table.add_row(done, str(model), f"{len(model.labels)}", images, epochs, model.key[:12])
    console.print(table)
    console.print(
        f"{counts['cells']} cells, {counts['done']} done; {counts['trainings']} unique trainings; "
        f"{counts['craft_groups']} unique craft groups.",
    )
    return 0


def _list(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.attacks import ATTACKS
    from tl_robust.attacks.objectives import OBJECTIVES
    from tl_robust.attacks.rules import RULES
    from tl_robust.attacks.tricks import TRICKS
    from tl_robust.data.domain import DOMAINS
    from tl_robust.data.pair import PAIRS
    from tl_robust.data.space import SPACES
    from tl_robust.metrics import METRICS
    from tl_robust.models import NETWORKS
    from tl_robust.registry import Registry
    from tl_robust.strategies import STRATEGIES
    from tl_robust.trust import CHECKS

    registries: list[Registry[Any]] = [
        ATTACKS, OBJECTIVES, RULES, TRICKS, DOMAINS, METRICS, NETWORKS, PAIRS, SPACES, STRATEGIES, CHECKS
    ]  # fmt: skip
    names = {registry.kind: registry.names() for registry in registries}
    if parsed.json:
        print(json.dumps(names))  # noqa: T201
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    for kind, known in names.items():
        table.add_row(kind, ", ".join(known))
    console.print(table)
    return 0


def _check_pair(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.config import load_settings
    from tl_robust.data.check import check_pair
    from tl_robust.data.pair import get_pair

    settings, space = load_settings(parsed.overrides, _path(parsed.bench) if parsed.bench else None, parsed.pair)
    pair = get_pair(parsed.pair, space, settings)(settings)
    sheet = check_pair(pair)
    table = Table(box=None, pad_edge=False, show_header=False)
    for line in sheet:
        table.add_row("ok" if line.passed else "FAILED", line.check, line.found)
    console.print(table)
    return 0 if all(line.passed for line in sheet) else 1


def _doctor(parsed: argparse.Namespace, console: Console) -> int:
    import torch

    from tl_robust.bench.provenance import commit, device_name, versions
    from tl_robust.bench.store import Store
    from tl_robust.sinks.wandb_sink import WandbSettings, resolve_mode

    devices = [torch.device("cuda", place) for place in range(torch.cuda.device_count())] or [torch.device("cpu")]
    store = Store(Path(parsed.results) / "store")
    damaged = [error for error in store.check() if error]
    facts = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "commit": commit() or "not a git checkout",
        "devices": ", ".join(map(device_name, devices)),
        "Weights & Biases": resolve_mode(WandbSettings()),
        f"store {store.root}": f"{sum(1 for _ in store.check())} entries, {len(damaged)} damaged",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for fact, value in facts.items():
        table.add_row(fact, value)
    console.print(table)
    for error in damaged:
        console.print(f"damaged: {error}; the next run computes it again", soft_wrap=True)
    return 1 if damaged else 0


COMMANDS = {
    "run": _run,
    "plan": _plan,
    "report": _report,
    "profiles": _profiles,
    "list": _list,
    "check-pair": _check_pair,
    "doctor": _doctor,
}


if __name__ == "__main__":
    sys.exit(main())
