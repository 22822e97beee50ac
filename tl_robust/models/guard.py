"""A network with a defense around it, which is itself a function of images in [0,1] to logits.

Axes: N samples, C channels, H height, W width, L logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

Change = Callable[[Tensor], Tensor]
Ask = Callable[[nn.Module, Tensor], Tensor]
"""How a link is asked about images: plainly, or as an attacker who knows the guard would."""


def refusing(logits: Tensor, excess: Tensor, rejects: bool) -> Tensor:
    """Logits with a last one that is the largest where ``excess`` is above 0, which refuses the image.

    Args:
        logits: ``[N,L]``.
        excess: ``[N]``, how far what is judged lies beyond a threshold.
        rejects: The last of the logits is a refusal already; then the larger one counts.
    """
    classes, inner = (logits[:, :-1], logits[:, -1:]) if rejects else (logits, logits[:, :0])
    alarm = classes.amax(1) + excess
    return torch.cat([classes, torch.cat([inner, alarm[:, None]], 1).amax(1, keepdim=True)], 1)


class Link(nn.Module):
    """A plain function of images as a link of a guard.

    Args:
        function: Images ``[N,C,H,W]`` to images.
        stand_in: What an attacker differentiates in place of a function without a useful gradient. None stands for the
            identity.
    """

    def __init__(self, function: Change, stand_in: Change | None = None) -> None:
        super().__init__()
        self.function = function
        if stand_in is not None:
            self.stand_in = stand_in

    def forward(self, images: Tensor) -> Tensor:
        """The changed images."""
        return self.function(images)


class Guard(nn.Module):
    """Links that change the images, the network, and what becomes of its logits. A guard may stand around a guard.

    A defense that changes images is a link or several; one that judges answers overrides :meth:`after`. Whatever a
    guard draws at random it draws when it is fitted and keeps in buffers, so that it answers the same whenever it is
    asked and whatever else is in the batch.

    Args:
        network: What is defended.
        links: Modules of images ``[N,C,H,W]`` to images, in the order in which they are applied. A link without a
            useful gradient may have a method ``stand_in(images)``, and a link that draws at random has
            ``anew(images, number)``: see ``attacks/through``.

    Attributes:
        rejects: Whether :meth:`after` adds a last logit, which means that the image is refused.
    """

    rejects: bool = False

    def __init__(self, network: nn.Module, links: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.network, self.links = network, nn.ModuleList(links)
        self.rejects = self.rejects or getattr(network, "rejects", False) is True

    @property
    def classifier(self) -> nn.Module:
        """The network's last layer."""
        return self.network.get_submodule("classifier")

    @property
    def blocks(self) -> Iterable[nn.Module]:
        """The network's blocks."""
        blocks: Iterable[nn.Module] = self.network.blocks  # type: ignore[assignment]
        return blocks

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N,L]`` of images ``[N,C,H,W]`` in [0,1]."""
        return self.chain(images, lambda link, inputs: link(inputs))

    def chain(self, images: Tensor, ask: Ask) -> Tensor:
        """Logits where ``ask`` calls every link, also those of a guard inside this one, at what reaches that link."""
        changed = images
        for link in self.links:
            changed = ask(link, changed)
        return self.after(self.inside(changed, ask), images)

    def inside(self, images: Tensor, ask: Ask) -> Tensor:
        """Logits of the network inside, at images that have come through this guard's links."""
        logits: Tensor = self.network.chain(images, ask) if isinstance(self.network, Guard) else self.network(images)
        return logits

    def after(self, logits: Tensor, images: Tensor) -> Tensor:
        """What the guard answers where the network says ``logits``; ``images`` are those before any link."""
        return logits
