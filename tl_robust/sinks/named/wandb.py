"""Runs of Weights & Biases: one for each cell, and one for the whole bench with tables, charts, report and weights."""

from __future__ import annotations

from collections.abc import Iterator

from tl_robust.sinks.base import Problem, Views, sink
from tl_robust.sinks.wandb import overview, runs
from tl_robust.sinks.wandb.grids import grids
from tl_robust.sinks.wandb.session import WandbSettings


@sink(after=("tables", "report", "card"))
def wandb(views: Views) -> Iterator[str]:
    """Publish the runs after a bench has run; a report that is written again publishes nothing."""
    if not views.publish:
        return
    settings = WandbSettings(**views.settings["wandb"])
    cells = runs.publish(views.results, views.settings, views.folder, settings, faces=views.faces)
    yield f"Weights & Biases ({cells.mode}): {cells.folder}"
    yield from map(Problem, cells.problems)
    pictures = grids(views.results, views.pictures, views.faces)
    yield from map(Problem, overview.publish_overview(views, settings, pictures).problems)
