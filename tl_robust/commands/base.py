"""What commands share: a bench and its overrides on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tl_robust.errors import UnknownNameError

if TYPE_CHECKING:
    from tl_robust.config import Config

BENCHES = Path("experiments")


def bench_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``bench`` and ``key=value`` overrides."""
    parser.add_argument("bench", help=f"a YAML file, the name of one in {BENCHES}/, or auto")
    overrides(parser)


def overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``key=value`` overrides."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example data.root=../data")


def load(parsed: argparse.Namespace) -> Config:
    """The bench that was named, with its overrides.

    Raises:
        InputError: No such bench, or a wrong key or value in it.
    """
    from tl_robust.config import load

    if parsed.bench == "auto":
        import torch

        parsed.bench = "digits" if torch.cuda.is_available() else "embedded"
        why = "a CUDA device is present" if torch.cuda.is_available() else "no CUDA device is present"
        print(f"No bench was named: {parsed.bench}, since {why}.")  # noqa: T201
    return load(path(parsed.bench), parsed.overrides)


def path(bench: str) -> Path:
    """The file of a bench.

    Raises:
        UnknownNameError: Neither a YAML file nor a name in ``experiments/``.
    """
    if Path(bench).suffix in (".yaml", ".yml"):
        return Path(bench)
    known = {file.stem: file for file in BENCHES.glob("*.yaml")}
    if bench not in known:
        raise UnknownNameError(f"bench (a .yaml file, or a name in {BENCHES}/)", bench, known)
    return known[bench]
