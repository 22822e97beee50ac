"""What models may say of samples, and inferences as their papers write them: loops, and densities of scipy."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_robust.inference import Inference, Seen, Told
from tl_robust.inference.scoring import scored
from tl_robust.types import Exposure, Signals

CLASSES = 5


def halves(pairs: int, samples: int, seed: int = 0) -> Tensor:
    """Bool ``[2 pairs, samples]`` by fair coins; 2i and 2i + 1 are complements."""
    heads = torch.randint(2, (pairs, samples), generator=torch.Generator().manual_seed(seed)).bool()
    return torch.stack([heads, ~heads], 1).flatten(0, 1)


def signals(member: Tensor, learned: float, tests: int = 40, seed: int = 0) -> list[Signals]:
    """Random logits; those of the label are larger by ``learned`` where the model learned from the sample."""
    draws = torch.Generator().manual_seed(seed)
    label, test_label = (torch.arange(count) % CLASSES for count in (member.shape[1], tests))
    hardness = torch.randn(len(label), CLASSES, generator=draws)
    said = []
    for inside in member:
        logits = hardness + torch.randn(len(label), CLASSES, generator=draws)
        logits[torch.arange(len(label)), label] += learned * inside
        tested = torch.randn(tests, CLASSES, generator=draws)
        said.append(
            Signals(
                sample_id=torch.arange(len(label)), epochs=torch.tensor([1.0]).double(), label=label,
                logits=logits[None], test_label=test_label, test_logits=tested[None],
            )
        )  # fmt: skip
    return said


def exposed(inference: Inference, member: Tensor, said: list[Signals], parent: Signals | None = None) -> Exposure:
    canary = torch.zeros(member.shape[1], dtype=torch.bool)
    return scored(inference, said, (), parent or said[0], member, canary)


def seen(samples: int = 30, shadows: int = 10, population: int = 25, scale: float = 2.0, seed: int = 0) -> Seen:
    """One victim with shadows that learned from halves."""
    draws = torch.Generator().manual_seed(seed)
    inside = halves(shadows // 2, samples, seed)
    label, other = (torch.arange(count) % CLASSES for count in (samples, population))

    def told(labels: Tensor, *several: int) -> Told:
        return Told(scale * torch.randn(*several, len(labels), CLASSES, generator=draws), labels)

    return Seen(told(label), told(label), told(label, shadows), inside, told(other), told(other, shadows))
