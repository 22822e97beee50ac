"""A model that gives no finite logits predicts nothing."""

import torch
from torch import Tensor

from tl_robust.trust.base import check, measured, worst
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``clean [S]`` and ``noise [S]``, bool: a logit is not finite for the clean image; for a noise image beside it.

    Noise images lie within eps 1 in Linf: what fits training images alone may overflow there. ``rejects [1]``, true, of
    models that may refuse an image, and of no others.
    """
    noise = subject.ask(subject.noise("linf", 1.0, 0))
    found = {"clean": ~subject.logits.isfinite().all(1), "noise": ~noise.isfinite().all(1)}
    return found | ({"rejects": torch.tensor([True])} if subject.rejects else {})


@check(measure)
def finite_logits(evidence: Evidence) -> Verdict:
    """Red where surrogate or victim gives one clean, adversarial or noise image logits that are not finite.

    Such an image has no prediction (a class of -1), and an attack gets no gradient from it. The usual reasons are a
    training that diverged and half precision that overflows. Carlini et al., "On evaluating adversarial robustness",
    2019; Pintor et al., "Indicators of attack failure", NeurIPS 2022 (unavailable gradients). A refusal is class -1,
    too: where a model may refuse, only what the examined images gave counts.
    """
    outcome, verdicts = evidence.outcome, []
    refusing = any(each and "finite_logits/rejects" in each.seen for each in (evidence.surrogate, evidence.victim))
    for who, clean, adversarial in (
        ("The surrogate", outcome.clean_a, outcome.adv_a),
        ("The victim", outcome.clean_b, outcome.adv_b),
    ) * (not refusing):
        missing = {"clean": int((clean < 0).sum()), "adversarial": int((adversarial < 0).sum())}
        for kind, count in missing.items():
            if count:
                total = (clean if kind == "clean" else adversarial).numel()
                verdicts.append(Verdict("red", (_reason(who, count, total, kind),)))
    for model in measured(evidence, "finite_logits", judging=True):
        for kind in ("clean", "noise"):
            if count := int(model[kind].sum()):
                verdicts.append(Verdict("red", (_reason(model.who, count, len(model[kind]), f"examined {kind}"),)))
    return worst(verdicts)


def _reason(who: str, count: int, total: int, kind: str) -> str:
    return f"{who} gives logits that are not finite for {count} of {total} {kind} images: no prediction."
