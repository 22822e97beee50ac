"""A network is attacked and judged in eval mode."""

import torch
from torch import Tensor, nn

from tl_robust.trust.base import check, measured, worst
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Record, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``training [1]``, int64: how many submodules are in train mode though ``eval()`` was called on the model."""
    modules = subject.model.modules() if isinstance(subject.model, nn.Module) else ()
    return {"training": torch.tensor([sum(module.training for module in modules)])}


@check(measure, of=Record)
def eval_mode(evidence: Evidence) -> Verdict:
    """Red where a part of surrogate or victim stays in train mode though ``eval()`` was called.

    Dropout and BatchNorm then answer otherwise than in use. The flag of AutoAttack (Croce and Hein, ICML 2020, public
    code). A network behind a plain function cannot be looked into: ``repeatable`` and ``batch_free`` ask it.
    """
    return worst([
        Verdict("red", (
            f"{model.who} has {int(model['training'])} submodules that stay in train mode when eval() is called.",
        ))
        for model in measured(evidence, "eval_mode", judging=True)
        if int(model["training"])
    ])  # fmt: skip
