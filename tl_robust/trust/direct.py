"""All checks of a bench from Python, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tl_robust.attacks import Attack, evaluate
from tl_robust.attacks.problem import Model
from tl_robust.errors import ConfigError
from tl_robust.trust.base import examine, judge
from tl_robust.trust.checks.distinct_outcomes import Placed, twins
from tl_robust.types import Evidence, Outcome, Verdict

EXAMINED = 2000  # images that the checks choose theirs from


def verdicts(
    attack: Attack,
    *,
    surrogate: Model,
    victims: Mapping[str, Model],
    images: Tensor,
    labels: Tensor,
    eps: Sequence[float],
    seed: int = 0,
    batch_size: int = 256,
    same_labels: bool = True,
    outcomes: Mapping[str, Outcome] | None = None,
) -> dict[str, Verdict]:
    """Whether the numbers of :func:`tl_robust.evaluate` with the same arguments are to be believed.

    Runs what a bench runs: the transfer, the same attack on each victim itself, an examination of every model on 64
    samples, and all checks (``tl-robust list``).

    Args:
        attack: For example ``attacks.get("pgd")``.
        surrogate: Any callable from images in [0,1] to logits.
        victims: Name to model; for the white-box view name the surrogate itself.
        images: ``[N,C,H,W]`` floating point in [0,1], or uint8.
        labels: True classes, int64 ``[N]``.
        eps: Sizes in [0,1] pixel units.
        seed: Seed of the attack's random draws and of the choice of samples.
        batch_size: Images at a time.
        same_labels: The surrogate names classes as ``labels`` do. If not, its own predictions stand for them.
        outcomes: What ``evaluate`` gave for these arguments, to be weighed without being crafted again.

    Returns:
        One :class:`Verdict` a victim: ``level`` and ``reasons``.

    Raises:
        ConfigError: Inputs of another form, or outcomes of other victims, labels or eps.

    Example:
        >>> import torch
        >>> from tl_robust import attacks, trust
        >>> x = torch.eye(4).repeat(50, 1).view(200, 1, 2, 2)
        >>> verdicts = trust.verdicts(
        ...     attacks.get("fgsm"), surrogate=lambda x: x.flatten(1).softmax(1), victims={"b": lambda x: x.flatten(1)},
        ...     images=x, labels=x.flatten(1).argmax(1), eps=[0, 0.6],
        ... )
        >>> verdicts["b"].level, verdicts["b"].reasons[0]
        ('red', 'The surrogate gives probabilities, not logits: take the softmax off its end.')
    """
    asked: dict[str, Any] = {"images": images, "labels": labels, "eps": eps, "seed": seed, "batch_size": batch_size}
    if outcomes is None:
        outcomes = evaluate(attack, surrogate=surrogate, victims=victims, same_labels=same_labels, **asked)
    _check(outcomes, victims, labels, eps)
    names = {id(model): name for name, model in victims.items()} | {id(surrogate): "the surrogate"}
    own = {
        key: evaluate(attack, surrogate=model, victims={"": model}, **asked)[""]
        for key, model in {id(victim): victim for victim in victims.values() if victim is not surrogate}.items()
    }
    examined = torch.arange(len(images))[:: max(1, len(images) // EXAMINED)][:EXAMINED]
    seen = {}
    for key, model in {id(model): model for model in (*victims.values(), surrogate)}.items():
        parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
        device = images.device if parameter is None else parameter.device
        pixels, known = images[examined].to(device), labels[examined].to(device)
        pixels = pixels if pixels.is_floating_point() else pixels.to(torch.float32).div_(255)
        own_labels = known if same_labels or model is not surrogate else None
        seen[key] = examine(model, pixels, own_labels, eps, attack.norm, sample_id=examined.to(device), seed=seed)
    cells = [
        Placed({"victim": name}, name, "", "", names[id(victims[name])], False, outcome)
        for name, outcome in outcomes.items()
    ]
    return {
        name: judge(Evidence(
            outcome, {"white": own.get(id(victims[name]), outcome)}, seen[id(surrogate)], seen[id(victims[name])],
            attack.ITERATES, others,
        ))
        for (name, outcome), others in zip(outcomes.items(), twins(cells), strict=True)
    }  # fmt: skip


def _check(outcomes: Mapping[str, Outcome], victims: Mapping[str, Model], labels: Tensor, eps: Sequence[float]) -> None:
    sizes = torch.tensor([float(value) for value in eps], dtype=torch.float64)
    for name in victims.keys() | outcomes.keys():
        outcome = outcomes.get(name)
        if outcome is None or name not in victims or not torch.equal(outcome.label, labels.cpu()):
            raise ConfigError(
                f"outcomes must be those of evaluate for these victims and labels: {name!r} has others or is missing."
            )
        if not torch.equal(outcome.eps, sizes):
            raise ConfigError(
                f"outcomes[{name!r}] has eps {outcome.eps.tolist()}, not {sizes.tolist()}: evaluate again."
            )
