"""What the W&B dashboard of one or several benches shows, as plain values: no library, no network.

``workspace`` makes a W&B workspace of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tl_robust.sinks.wandb import panels
from tl_robust.sinks.wandb.panels import CLEAN, LEVELS, Lines, Shown, at_key
from tl_robust.sinks.wandb.session import WandbSettings

COLUMNS = 4  # of the run table: values of the headline metric, spread over the axis
MIXED = "Step"  # W&B's own axis, where threats have several


def spec(
    benches: Sequence[str], settings: WandbSettings, shown: Sequence[Shown], defended: bool = False, only: str = ""
) -> dict[str, Any]:
    """The dashboard of some benches.

    Args:
        benches: Their names; only their runs are shown.
        settings: Project and entity.
        shown: Their threats.
        defended: They have defenses, so that there is a defense card.
        only: The name of the threat that was asked for; empty where all are shown.

    Returns:
        JSON-able: ``name``, ``entity``, ``project``, ``axis``, ``threats``, ``only``, ``runs`` (filter, group_by,
        columns) and ``sections`` of panels, each with its ``kind``: ``line``, ``bar``, ``scatter``, ``media`` or
        ``table``.
    """
    lines = {part.face.threat: Lines.of(part, len(benches), len(shown)) for part in shown}
    clean = next(iter(lines.values())).whole
    sections = {"Overview": panels.of_overview(any(part.crafted for part in shown), clean)}
    for part in shown:
        by = lines[part.face.threat]
        sections[part.title] = [*panels.of_threat(part, by), *panels.of_wholes(part, by)]
        sections[f"{part.face.name}: {part.face.charts_title or 'charts'}"] = panels.of_charts(part, by)
    sections |= {"Defense card": panels.of_card()} if defended else {}
    sections["Trust"] = panels.of_trust()
    axes = {part.face.axis for part in shown}
    return {
        "name": f"{', '.join(benches)}: {only or 'robustness'}",
        "entity": settings.entity,
        "project": settings.project,
        "axis": axes.pop() if len(axes) == 1 else MIXED,
        "threats": [part.face.threat for part in shown],
        "only": only,
        "runs": {
            "filter": {"bench": benches[0] if len(benches) == 1 else list(benches)},
            "group_by": _groups(benches, shown, defended),
            "columns": _columns(benches, shown),
        },
        "sections": [{"name": name, "open": True, "panels": members} for name, members in sections.items() if members],
    }


def keys(of: Mapping[str, Any]) -> set[str]:
    """All keys of runs that a dashboard reads, with ``config:`` or ``summary:`` where it is one of these."""
    runs = of["runs"]
    read_keys = {f"config:{name}" for name in (*runs["filter"], *runs["group_by"])} | set(runs["columns"])
    return read_keys | panels.keys_of(panel for section in of["sections"] for panel in section["panels"])


def _groups(benches: Sequence[str], shown: Sequence[Shown], defended: bool) -> list[str]:
    several = len(benches) > 1 or any(part.several for part in shown)
    groups = ["bench"] * (len(benches) > 1) + ["threat"] * (len(shown) > 1)
    groups += ["pair", "network", "attack"] if several else []
    return [*groups, "view", *["defense"] * defended, "start"]


def _columns(benches: Sequence[str], shown: Sequence[Shown]) -> list[str]:
    """Of the run table: where a run stands, its clean accuracy, each threat at some places of its axis, and trust."""
    values = [
        key
        for part in shown
        for key in (*filter(part.told_in, part.face.whole), *_places(part, max(1, COLUMNS // len(shown))))
    ]
    config = ["bench"] * (len(benches) > 1) + ["threat"] * (len(shown) > 1)
    config += ["pair", "attack", "view", "defense", "start", "seed"]
    keys = dict.fromkeys((CLEAN, *values, "trust", LEVELS))
    return [*(f"config:{name}" for name in config), *(f"summary:{name}" for name in keys)]


def _places(part: Shown, count: int) -> list[str]:
    """Keys of the headline at some values of the axis, the last among them."""
    face = part.face
    attacked = sorted({x for x in part.grid if x != face.baseline})
    last = len(attacked) - 1
    steps = [round(place * last / (count - 1)) for place in range(count)] if count > 1 else [last]
    return (
        [at_key(face, attacked[step]) for step in dict.fromkeys(steps)]
        if attacked
        else [face.headline] * (face.told == "last")
    )
