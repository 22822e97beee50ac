"""Images of four kinds and networks that tell them apart, small enough to be audited in a second."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust.models import NETWORKS, build
from tl_robust.seeding import generator

KINDS = ("ant", "bee", "cow", "dog")
NETWORK = "{name: dtn, width: 0.1, norm: group, dropout: 0}"
QUICK = ("--images", "0", "--eps", "16/255", "--transfer", "fgsm", "--strong", "fgsm", "--accelerator", "cpu")


def pixels(split: str, count: int = 10) -> tuple[Tensor, Tensor]:
    """Noisy patterns, uint8 ``[4 * count,3,8,8]``, and their labels."""
    patterns = torch.rand(4, 3, 8, 8, generator=generator("patterns"))
    labels = torch.arange(4 * count) % 4
    noise = torch.rand(4 * count, 3, 8, 8, generator=generator("noise", split))
    return ((0.6 * patterns[labels] + 0.4 * noise) * 255).to(torch.uint8), labels


def image_folder(folder: Path, split: str = "test", count: int = 10) -> Path:
    """The same as files ``KIND/NUMBER.png``."""
    images, labels = pixels(split, count)
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / KINDS[label] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return folder


def trained(seed: int, start: nn.Module | None = None, steps: int = 30) -> nn.Module:
    """A network after some steps of SGD, from scratch or from another one."""
    torch.manual_seed(seed)
    network = build(NETWORKS.component("dtn", {"width": 0.1, "norm": "group", "dropout": 0.0}), (3, 8, 8), 4)
    if start is not None:
        network.load_state_dict(start.state_dict())
    images, labels = pixels(f"train {seed}", 40)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1 if start is None else 0.02, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(network(images.float() / 255), labels).backward()
        optimizer.step()
    return network.eval()


def saved(network: nn.Module, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path)
    return path


def tiny(folder: Path) -> Path:
    """Below a folder: images in ``photos``, two public models, and three that were made of them."""
    image_folder(folder / "photos")
    for place, name in enumerate(("oak", "elm")):
        parent = trained(place)
        saved(parent, folder / f"{name}.safetensors")
        for child in range(2 - place):
            saved(trained(10 + child, parent, 5), folder / f"{name}_child{child}.safetensors")
    return folder
