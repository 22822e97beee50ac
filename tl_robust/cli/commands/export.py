"""Write a bench's cells as files that others can read: a leaderboard folder of one JSON a cell.

example: tl-robust export embedded --samples
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load
from tl_robust.errors import ConfigError

if TYPE_CHECKING:
    from tl_robust.nodes.models import Model
    from tl_robust.nodes.training import Training
    from tl_robust.results.entry import Submitter
    from tl_robust.results.leaderboard import Origin
    from tl_robust.threats.base import PlannedCell


def arguments(parser: argparse.ArgumentParser) -> None:
    bench_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to (results/BENCH/leaderboard)")
    parser.add_argument("--submitter", default="", metavar="NAME", help="who computed them, as a leaderboard names you")
    parser.add_argument("--contact", default="", metavar="TEXT", help="where to reach you, for example an address")
    parser.add_argument("--paper", default="", metavar="TEXT", help="title or address of the paper")
    parser.add_argument("--samples", action="store_true", help="also every sample's classes, to compute metrics again")


def run(parsed: argparse.Namespace, console: Console) -> int:
    """Run the command; returns the exit code: 1 where some cells have no result."""
    from tl_robust.cli import session
    from tl_robust.results import leaderboard

    submitter = _submitter(parsed)
    config = load(parsed)
    finished = session.results(config)
    origins = {cell.key: _origin(place, cell) for place, cell in enumerate(config.plan.cells)}
    folder = parsed.out or config.results / config.bench.name / "leaderboard"
    paths = leaderboard.write(
        folder, [(item, origins[item.key]) for item in finished.results], parsed.samples, submitter
    )
    size = sum(path.stat().st_size for path in paths) / 1e6
    console.print(f"{len(paths)} cells in {folder}, {size:.1f} MB; read them with tl-robust merge.", soft_wrap=True)
    if others := {path.name for path in folder.glob("*.json")} - {path.name for path in paths}:
        console.print(f"{len(others)} other files lie in {folder}: they are not of this bench as it is now.")
    if finished.missing:
        console.print(f"{len(finished.missing)} cells have no result and no file: run the bench again.")
    return 1 if finished.missing else 0


def _submitter(parsed: argparse.Namespace) -> Submitter | None:
    from tl_robust.results.entry import Submitter
    from tl_robust.results.strangers import fault

    submitter = Submitter(parsed.submitter.strip(), parsed.contact.strip(), parsed.paper.strip())
    if not submitter.stated():
        return None
    if not submitter.name:
        raise ConfigError("--contact and --paper are those of a submitter: add --submitter NAME.")
    if wrong := fault(submitter.stated()):
        raise ConfigError(f"--submitter, --contact and --paper must be plain texts of one line, but {wrong}.")
    return submitter


def _origin(place: int, planned: PlannedCell) -> Origin:
    from tl_robust.results.leaderboard import Origin

    play, scene = planned.play, planned.scene
    images = scene.surrogate.origin().get("images")
    return Origin(place, play.beside_keys, protocol(planned), images, scene.test.images("test").fingerprint)


def protocol(planned: PlannedCell) -> str:
    """Digest of all that makes a cell's numbers but its seed, 16 hex digits: cells of other seeds have the same."""
    from tl_robust.seeding import digest

    models = (planned.play.surrogate, planned.victim)
    return digest([planned.play.protocol, *(_without_seeds(model).key for model in models)])[:16]


def _without_seeds(model: Model) -> Model:
    """The model as it would be if every training under it, and every half of its images, had the same seed."""

    def unseeded(training: Training, _: str) -> Training:
        draw = training.data.draw
        data = replace(training.data, draw=replace(draw, seed=0)) if draw else training.data
        return replace(training, seed=0, data=data)

    return model.mapped(unseeded)
