"""What commands share: a bench and its overrides on the command line."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tl_robust.errors import UnknownNameError

if TYPE_CHECKING:
    from tl_robust.config import Config

BENCHES = Path("experiments")


def bench_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``bench`` and ``key=value`` overrides."""
    parser.add_argument("bench", help=f"a YAML file, the name of one in {BENCHES}/ or in the package, or auto")
    overrides(parser)


def overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``key=value`` overrides."""
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="for example data.root=../data")


def plugin_folders(parser: argparse.ArgumentParser) -> None:
    """Add ``--plugins``: what a bench file says under ``plugins:``, for commands that read files of others."""
    what = "a folder of plugin files (threats, metrics, networks, ...); may be given several times"
    parser.add_argument("--plugins", action="append", default=[], type=Path, metavar="FOLDER", help=what)


def prepare(parsed: argparse.Namespace) -> None:
    """Import what a command with a bench needs, a quarter faster than it would come by itself.

    torch and Lightning make a million objects and hardly any garbage, which Python's collector would look through again
    and again, now and later.
    """
    if not hasattr(parsed, "overrides"):
        return
    gc.disable()
    try:
        importlib.import_module("tl_robust.config")
        gc.freeze()
    finally:
        gc.enable()


def load(parsed: argparse.Namespace) -> Config:
    """The bench that was named, with its overrides.

    Raises:
        InputError: No such bench, or a wrong key or value in it.
    """
    from tl_robust.config import load

    name_bench(parsed)
    return load(path(parsed.bench), parsed.overrides)


def name_bench(parsed: argparse.Namespace) -> None:
    """Where the bench is ``auto``, choose one and say why; what the user overrides comes after what is chosen."""
    if parsed.bench != "auto":
        return
    import torch

    from tl_robust.bench.choice import choose, missing_domains
    from tl_robust.config import load
    from tl_robust.data.network import can_fetch

    card, root, missing, fetchable = "", "", list[str](), False
    if torch.cuda.is_available() and "trainer.accelerator=cpu" not in parsed.overrides:
        bench = load(path("digits"), parsed.overrides).bench
        card, root, missing = torch.cuda.get_device_name(), bench.data.root, missing_domains(bench)
        forbidden = any(item.startswith("data.download=") for item in parsed.overrides) and not bench.data.download
        fetchable = not forbidden and all(map(can_fetch, missing))
    choice = choose(card, root, missing, fetchable)
    parsed.bench, parsed.overrides = choice.bench, [*choice.overrides, *parsed.overrides]
    print(choice.why, file=sys.stderr if getattr(parsed, "json", False) else sys.stdout)


def path(bench: str) -> Path:
    """The file of a bench: one in ``experiments/`` of this folder is taken before one that came with the package.

    Raises:
        UnknownNameError: Neither a YAML file nor a name of a bench.
    """
    if Path(bench).suffix in (".yaml", ".yml"):
        return Path(bench)
    known, packaged = benches(), _in(_packaged())
    if bench not in known:
        kind = f"bench (a .yaml file, a name in {BENCHES}/ of this folder, or one that comes with the package)"
        raise UnknownNameError(kind, bench, known)
    if bench in packaged and not known[bench].samefile(packaged[bench]):
        note = f"Bench {bench}: {known[bench]} of this folder is used, not the file of this name in the package."
        print(note, file=sys.stderr)  # noqa: T201
    return known[bench]


def benches() -> dict[str, Path]:
    """Files of all benches that have a name: those of the package, before them those of this folder."""
    return _in(_packaged()) | _in(BENCHES)


def _in(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in folder.glob("*.yaml")}


def _packaged() -> Path:
    """Folder of the benches that come with the package: inside it when installed, beside it in a checkout."""
    package = Path(__file__).parents[2]
    inside, beside = package / BENCHES, package.parent / BENCHES
    return beside if not inside.is_dir() and (package.parent / "pyproject.toml").is_file() else inside
