"""Small random models in the official layouts of timm, transformers and peft, written by these libraries themselves."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

CLASSES = ("cat", "dog", "emu", "fox", "gnu")


def images(height: int, width: int, count: int = 2, seed: int = 0) -> Tensor:
    """Smooth random images with edges, uint8 ``[N,3,H,W]``."""
    given = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 6, generator=given)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (255 * (smooth + 0.1 * (torch.rand(smooth.shape, generator=given) - 0.5)).clamp(0, 1)).round().byte()


def pictures(pixels: Tensor) -> list[Any]:
    """Pillow's images of uint8 ``[N,3,H,W]``."""
    from PIL import Image

    return [Image.fromarray(np.ascontiguousarray(one.permute(1, 2, 0).numpy())) for one in pixels]


def quiet(work: Any, *arguments: Any, **settings: Any) -> Any:
    """What ``work`` returns; the libraries warn about things of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work(*arguments, **settings)


def transformers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers")


def vit(seed: int = 0, **settings: Any) -> Any:
    """A small ViT of transformers in eval mode."""
    library = transformers()
    torch.manual_seed(seed)
    config = library.ViTConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        id2label=dict(enumerate(CLASSES)), label2id={name: place for place, name in enumerate(CLASSES)}, **settings,
    )  # fmt: skip
    model = library.ViTForImageClassification(config)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return model.eval()


def hf_folder(folder: Path, model: Any, **processor: Any) -> Any:
    """Written by the library; its image processor is returned."""
    library = transformers()
    quiet(model.save_pretrained, folder)
    steps = {"size": {"height": 32, "width": 32}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}
    made = library.ViTImageProcessor(**(steps | processor))
    quiet(made.save_pretrained, folder)
    return made


def changed(path: Path, **entries: Any) -> None:
    """Change entries of a JSON file; None removes one."""
    said = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
