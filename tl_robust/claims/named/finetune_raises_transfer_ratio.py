"""Transfer ratio after fine-tuning and without it."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.effects import Effect
from tl_robust.claims.record import Place, Record


@claim(
    "`transfer_ratio` is higher with FineTune than with Scratch at every eps.",
    "KDD 2020, abstract",
    every=True,
    id="H3",
)
def finetune_raises_transfer_ratio(record: Record, place: Place) -> list[Effect]:
    """The difference at each eps at which both ratios are known."""
    return [ratio_gain(record, place)]


def ratio_gain(record: Record, place: Place, metric: str = "transfer_ratio") -> Effect:
    """How much higher a ratio is with FineTune than with Scratch."""
    return record.compare(place, metric, "black", "finetune", "scratch", f"{metric}, FineTune over Scratch")
