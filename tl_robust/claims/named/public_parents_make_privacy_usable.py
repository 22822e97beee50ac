"""Differential privacy with and without a public parent."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import UNDEFENDED, Comparisons, Place, Side
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.memory import TARGET, needs
from tl_robust.claims.victims import FULL
from tl_robust.metrics import METRICS

Privacy = tuple[float, float]  # epsilon and delta


@claim(
    "Under differential privacy of the same epsilon and delta, fine-tuning a public model keeps more accuracy than "
    "training from scratch.",
    "Tramèr and Boneh, ICLR 2021",
    id="D5",
    of="membership",
)
def public_parents_make_privacy_usable(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How much higher ``cohort_accuracy`` is with FineTune after the last epoch, at each epsilon and delta.

    What else the defense is set to, such as its learning rate, may differ. Where both strategies were run with several
    such settings, the most accurate of each stands for it.
    """
    needs(
        comparisons, place, lambda where: bool(_claimed(comparisons, where)),
        "strategies scratch and finetune under differential privacy of the same epsilon and delta "
        "(axes.strategy=[scratch,finetune], axes.defense=[{name: dp, epsilon: 3}], axes.attack=[rmia])",
    )  # fmt: skip
    return [_gain(comparisons, place, privacy, *sides) for privacy, sides in _claimed(comparisons, place).items()]


def _gain(comparisons: Comparisons, place: Place, privacy: Privacy, tuned: list[Side], scratch: list[Side]) -> Effect:
    name = f"accuracy at epsilon {privacy[0]:g} and delta {privacy[1]:g}, FineTune over Scratch"
    if len(tuned) != len(scratch):
        counts = f"{len(tuned)} and {len(scratch)} settings of the defense"
        raise MissingError(
            f"at epsilon {privacy[0]:g} finetune and scratch have {counts}: the best of each stands for it, so both "
            "need as many."
        )
    more, less = (max(sides, key=lambda side: _accuracy(comparisons, place, side)) for sides in (tuned, scratch))
    return comparisons.compare(place, "cohort_accuracy", TARGET, more, less, name, last=True)


def _claimed(comparisons: Comparisons, place: Place) -> dict[Privacy, tuple[list[Side], list[Side]]]:
    """FineTune and Scratch by what their defense claims, where both claim it."""
    found: dict[Privacy, tuple[list[Side], list[Side]]] = {}
    for side in comparisons.sides(place, TARGET):
        if side.defense != UNDEFENDED and side.strategy in (FULL, "scratch"):
            epsilon, delta = comparisons.results(place, side, TARGET)[0].outcome.claim.tolist()
            if epsilon > 0:
                found.setdefault((epsilon, delta), ([], []))[side.strategy == "scratch"].append(side)
    return {privacy: sides for privacy, sides in sorted(found.items()) if all(sides)}


def _accuracy(comparisons: Comparisons, place: Place, side: Side) -> float:
    """Accuracy after the last epoch, on average over seeds."""
    results = comparisons.results(place, side, TARGET)
    return sum(float(METRICS["cohort_accuracy"](result.outcome)[-1]) for result in results) / len(results)
