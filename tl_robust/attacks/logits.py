"""What logits say of a sample: its class, how far its label is from another class, and whether the attack has won.

A model that may refuse (``rejects``) has one logit more than classes, the last: the image is refused where it is the
largest. In a record both a refusal and logits that are not finite are class -1, "no prediction", but the attacker is
not served by both. Here, where the logits are at hand, they are told apart: a model whose logits are not finite has
lost the image, as it always had, while a refusal is an answer of the defender and never a success of the attack.

Axes: N samples, L logits.
"""

import torch
from torch import Tensor


def predicted(logits: Tensor, rejects: bool = False) -> Tensor:
    """The class of the largest logit, int64 ``[N]``; -1, no prediction, where one is not finite or it is a refusal."""
    classes = logits.argmax(1)
    none = ~finite_rows(logits)
    return classes.masked_fill(none | (classes == logits.shape[1] - 1) if rejects else none, -1)


def finite_rows(logits: Tensor) -> Tensor:
    """Bool ``[N]``: all logits of a sample are finite."""
    return logits.isfinite().all(1)


def fooled(logits: Tensor, label: Tensor, rejects: bool = False, finite: Tensor | None = None) -> Tensor:
    """Bool ``[N]``: another class than ``label`` has the largest logit, or a logit is not finite.

    Args:
        logits: ``[N,L]``.
        label: int64 ``[N]``.
        rejects: The last logit is a refusal, which fools nobody.
        finite: What :func:`finite_rows` says of the logits, where that is known.
    """
    classes = logits.argmax(1)
    wrong = classes != label
    if rejects:
        wrong &= classes != logits.shape[1] - 1
    return wrong | ~(finite_rows(logits) if finite is None else finite)


def margin(logits: Tensor, label: Tensor, rejects: bool = False) -> Tensor:
    """Largest logit of another class minus that of ``label``, ``[N]``: above 0 where the attack has won.

    A refusal stands on the label's side: another class must exceed both.
    """
    own = logits.gather(1, label[:, None]).squeeze(1)
    if rejects:
        own, logits = torch.maximum(own, logits[:, -1]), logits[:, :-1]
    return logits.scatter(1, label[:, None], -torch.inf).amax(1) - own
