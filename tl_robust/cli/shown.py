"""What dashboards and reports of W&B show of some benches, read off their configurations: nothing need have run."""

from __future__ import annotations

from collections.abc import Sequence

from tl_robust.config import Config
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.sinks.wandb.panels import Shown
from tl_robust.threats.base import THREATS
from tl_robust.types import Outcome


def shown(configs: Sequence[Config], threat: str = "") -> list[Shown]:
    """The threats of some benches, each once, in the order in which the benches name their attacks.

    Args:
        configs: The benches.
        threat: The only threat to show; all where empty.

    Raises:
        UnknownNameError: No attack of these benches is of this threat.
    """
    threats = list(dict.fromkeys(method.threat for config in configs for method in config.bench.axes.attack))
    if threat and threat not in threats:
        raise UnknownNameError("threat of these benches", threat, threats)
    return [_shown(configs, name) for name in ([threat] if threat else threats)]


def defended(configs: Sequence[Config]) -> bool:
    """Whether some bench has a defense, so that there is a card."""
    return any(defense is not None for config in configs for defense in config.bench.axes.defense)


def same_project(configs: Sequence[Config]) -> None:
    """Check that the runs of some benches can be shown beside each other.

    Raises:
        ConfigError: Two have the same name, or their runs go to different projects.
    """
    names = [config.bench.name for config in configs]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ConfigError(f"bench {twice[0]!r} was given twice: runs are told apart by the names of their benches.")
    places = list(dict.fromkeys((config.wandb.entity, config.wandb.project) for config in configs))
    if len(places) > 1:
        told = ", ".join("/".join(filter(None, place)) for place in places)
        raise ConfigError(
            f"a dashboard shows the runs of one W&B project, and these benches have {told}: give the same "
            "wandb.project and wandb.entity, for example wandb.project=NAME."
        )


def _shown(configs: Sequence[Config], threat: str) -> Shown:
    grid, views, several = set[float](), list[str](), False
    for axes in (config.bench.axes for config in configs):
        methods = [method for method in axes.attack if method.threat == threat]
        grid |= {x for method in methods for x in method.x}
        views += [view for method in methods for view in ([method.view] if method.view else axes.view)]
        places = (axes.pair, axes.network, methods, axes.target_images, axes.defense)
        several |= bool(methods) and any(len(axis) > 1 for axis in places)
    crafted = issubclass(THREATS[threat].record, Outcome)
    return Shown(THREATS[threat].face, sorted(grid), list(dict.fromkeys(views)), several, crafted)
