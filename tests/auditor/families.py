"""A small family of trained networks as files: a public parent, a child that was made of it, and unrelated models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import models
from tl_robust.auditor.request import Request
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

NETWORK = {"name": "dtn", "width": 0.05}
CLASSES = ("ant", "bee", "crab", "dove", "eel")


@dataclass(frozen=True)
class Family:
    """Where the files lie, and what is in them."""

    folder: Path
    test: ImageSet
    train: ImageSet
    networks: dict[str, nn.Module]

    def request(self, **changes: object) -> Request:
        """An audit of the child, with all that is there."""
        known: dict[str, object] = {
            "model": str(self.folder / "child.safetensors"),
            "parent": str(self.folder / "parent.safetensors"),
            "decoys": tuple(str(self.folder / f"decoy{place}.safetensors") for place in range(2)),
            "network": NETWORK,
            "data": "npz:patterns",
            "root": self.folder,
            "eps": (16 / 255, 32 / 255),
            "transfer": ("fgsm", {"name": "mi", "steps": 3}),
            "strong": {"name": "pgd", "steps": 3},
            "results": self.folder / "results",
            "workers": 1,
            "accelerator": "cpu",
        }
        return Request(**known | changes)  # type: ignore[arg-type]


def patterns(task: str, split: str, count: int) -> ImageSet:
    """Images of five noisy patterns of a task, uint8 ``[count,3,32,32]``."""
    pattern = torch.rand(5, 3, 32, 32, generator=generator("family", task))
    noise = torch.rand(count, 3, 32, 32, generator=generator("family", task, split))
    labels = torch.arange(count) % 5
    return ImageSet(((0.25 * pattern[labels] + 0.75 * noise) * 255).to(torch.uint8), labels)


def trained(images: ImageSet, seed: int, start: dict[str, Tensor] | None = None, steps: int = 120) -> nn.Module:
    """A network that learned these images, from random weights or from others'."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = models.get("dtn", (3, 32, 32), 5, width=0.05)
        if start is not None:
            network.load_state_dict(start)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        pixels = images.images.float() / 255
        for _ in range(steps):
            batch = torch.randint(len(images), (64,))
            optimizer.zero_grad()
            cross_entropy(network(pixels[batch]), images.labels[batch]).backward()
            optimizer.step()
    return network.eval()


def write_npz(path: Path, images: ImageSet) -> None:
    """A split in the layout ``npz``."""
    np.savez(path, images=images.images.permute(0, 2, 3, 1).numpy(), labels=images.labels.numpy())


def made(folder: Path) -> Family:
    """Train all of them, and write their files."""
    train, test = patterns("own", "train", 300), patterns("own", "test", 100)
    parent = trained(patterns("public", "train", 300), 0)
    networks = {
        "parent": parent,
        "child": trained(train, 1, parent.state_dict()),
        **{f"decoy{place}": trained(patterns(f"other {place}", "train", 300), 2 + place) for place in range(2)},
    }
    for name, network in networks.items():
        save_file(network.state_dict(), folder / f"{name}.safetensors")
    for split, images in (("train", train), ("test", test)):
        write_npz(folder / f"patterns_{split}.npz", images)
    return Family(folder, test, train, networks)
