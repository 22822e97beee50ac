"""What a way through a guard promises: nearly the guard's logits, with a gradient that reaches the images.

Axes: N images, L logits.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tl_robust import attacks
from tl_robust.attacks.oracle import Oracle
from tl_robust.attacks.through import THROUGH
from tl_robust.attacks.through.base import Through
from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.contracts.networks import net, pixels
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Guard, Link


def cases(named: Named) -> Iterator[tuple[str, Through]]:
    """The way with its own settings."""
    yield "", THROUGH[named.name]()


CONTRACTS = Contracts("way through a guard", cases)
shared(CONTRACTS)


def _guard() -> Guard:
    return Guard(net(torch.float64).requires_grad_(False), [Link(lambda images: 0.5 + 0.9 * (images - 0.5))])


@CONTRACTS
def gives_the_logits_of_a_smooth_guard(through: Through) -> None:
    """Around a guard that can be differentiated its logits are those of the guard, the same again."""
    guard, (images, _) = _guard(), pixels(torch.float64)
    model = _of(through, guard)
    logits, again = model(images), model(images)
    shape = list(guard(images).shape)
    demand(list(logits.shape) == shape, f"logits {shape}", list(logits.shape), "ask guard.chain with the images")
    demand(torch.equal(logits, again), "the same logits again", "others", "draw by a number that is fixed")
    classes = float((logits.argmax(1) == guard(images).argmax(1)).double().mean())
    demand(
        classes >= 0.5, "the classes of the guard for most images", f"{classes:.0%} of them", "ask the guard's links"
    )


@CONTRACTS
def lets_the_gradient_reach_the_images(through: Through) -> None:
    """Its logits have a finite gradient with respect to every image."""
    images, labels = pixels(torch.float64)
    images.requires_grad_()
    loss = torch.nn.functional.cross_entropy(_of(through, _guard())(images), labels)
    (gradient,) = torch.autograd.grad(loss, images)
    reached = bool(gradient.isfinite().all()) and float(gradient.flatten(1).abs().amax(1).min()) > 0
    demand(reached, "a finite gradient of every image", "none", "round, detach and index nothing on the way")


@CONTRACTS
def leaves_success_to_the_guard(through: Through) -> None:
    """An attack through it keeps its budget, and the guard is left as it was."""
    images, labels = pixels(torch.float64)
    guard = _guard()
    state = {key: value.clone() for key, value in guard.state_dict().items()}
    try:
        found = attacks.get("pgd", steps=3)(guard, images, labels, [8 / 255], through=through.title)[0]
    except ConfigError as error:
        raise NotAskedError(f"It does not go around such a guard ({str(error).rstrip('.')}).") from error
    far = float((found - images).abs().max())
    demand(far <= 8 / 255 + 1e-7, "images within eps", f"changes of {far:.3g}", "leave images to the attack")
    kept = all(torch.equal(value, state[key]) for key, value in guard.state_dict().items())
    demand(kept, "the guard's state to stay", "another", "change nothing of it")


def _of(through: Through, guard: Guard) -> Oracle:
    try:
        return Oracle.of(through.of(guard))
    except ConfigError as error:
        raise NotAskedError(f"It does not go around such a guard ({str(error).rstrip('.')}).") from error
