"""What claims about defenses ask a bench: defended victims that were fine-tuned from A, each with its undefended twin.

That a defense removes a weakness means here: against examples of the same attacker's model (A itself, or a shadow for
which the attacker repeats what was done to B) the defended victim loses less than half of the accuracy that the
undefended one loses, on the mean over eps. Half is ours. No Scratch is asked for, since most of these defenses have
nothing to change there.
"""

from __future__ import annotations

from collections.abc import Sequence

from tl_robust.claims.comparisons import Comparisons, Place, Side
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.victims import FULL, settings_of
from tl_robust.metrics.estimate import Draws
from tl_robust.types import View

LINEAGE = ("distill", "private_origin", "reset", "renofeation")  # they change where B comes from, and nothing else
LOST = 0.05  # an undefended victim that loses less has no weakness that could be removed


def defended(
    comparisons: Comparisons, place: Place, kinds: Sequence[str], views: Sequence[View], every: bool = False
) -> list[Side]:
    """Fine-tuned victims with one of some defenses and nothing else, which stand beside their undefended twins.

    Args:
        comparisons: The results.
        place: Where.
        kinds: Names of defenses.
        views: Views in which both must have been run.
        every: Whether there must be a victim with each of these defenses, and not with any of them.

    Raises:
        MissingError: There is none; the message says what to add.
    """

    def stands(side: Side) -> bool:
        twin = Side(side.strategy)
        return all(comparisons.results(place, each, view) for each in (side, twin) for view in views)

    ran = dict.fromkeys(side for view in views for side in comparisons.sides(place, view))
    kind = {side: name for side in ran for name in kinds if _alone(side, name) and stands(side)}
    lacking = [name for name in kinds if name not in kind.values()]
    if lacking if every else not kind:
        missing, seen = (" and " if every else " or ").join(lacking), ",".join(views)
        to_add = ",".join(kinds if every else kinds[:1])
        raise MissingError(
            f"it needs fine-tuned victims with defense {missing} and without any, in the view {' and '.join(views)} "
            f"(axes.strategy=[finetune], axes.defense=[none,{to_add}], axes.view=[{seen}])."
        )
    return list(kind)


def _alone(side: Side, name: str) -> bool:
    """Whether a victim was fine-tuned, and has this defense alone. A distillation is plain and into fresh weights."""
    settings = settings_of(side.defense, name)
    if settings is None or settings_of(side.strategy, FULL) is None:
        return False
    changed = [settings.get("start", "fresh") != "fresh", not settings.get("weight", 1), settings.get("robust", False)]
    return name != "distill" or not any(changed)


def removed(comparisons: Comparisons, place: Place, view: View) -> list[Effect]:
    """Half of what each undefended victim loses in a view, less what the defended one loses; mean over eps.

    Of victims with a defense that breaks the lineage, at least one of each.

    Raises:
        MissingError: One was not run, or there is nothing to remove.
    """
    return [_half(comparisons, place, view, side) for side in defended(comparisons, place, LINEAGE, [view], every=True)]


def _half(comparisons: Comparisons, place: Place, view: View, side: Side) -> Effect:
    twin = Side(side.strategy)
    lost = comparisons.below(place, "accuracy_drop", view, twin, 0).reversed()
    if float(lost.mean.value) < LOST:
        raise MissingError(f"there is no weakness to remove: {twin} loses less than 5 points of accuracy there.")
    fewer, x = comparisons.gap(place, "accuracy_drop", view, twin, side)  # U - D
    (own,) = comparisons.below(place, "accuracy_drop", view, side, 0).draws  # -D; the mean of both is U / 2 - D
    name = f"half of what {twin} loses in the view {view} less what {side} loses"
    return Effect.of(name, Draws.average([fewer, own]), x, "share")
