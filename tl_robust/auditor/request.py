"""What a user asks of an audit, as he writes it, and the settings that it has where he says nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Entry = str | Mapping[str, Any]
"""A file, a folder, torchvision's name of weights; or a mapping as below ``checkpoints:`` of a bench file.

In an audit a mapping may have ``name``, what readers call the model: else it is called as its file or folder is.
"""

TRANSFER: tuple[Entry, ...] = ("fgsm", "mi", "di")
STRONG: Entry = {"name": "strong", "steps": 40, "targets": 2, "queries": 300}


@dataclass(frozen=True)
class Request:
    """An audit as it is asked for.

    Attributes:
        model: What is audited. A folder that holds a LoRA adapter alone is merged into ``parent``.
        data: A folder of images (``CLASS/IMAGE``, or ``test/CLASS/IMAGE`` and perhaps ``train/CLASS/IMAGE``), or a
            domain as in bench files, such as ``npz:photos`` or ``mnist``; or a mapping with one of them as ``from`` and
            ``classes``, their names in label order.
        parent: The public model that it was made of; empty where none is declared.
        decoys: Models of the same kind that it was not made of.
        network: Of files that do not say themselves which network they hold, a name or a mapping with a name.
        classes: Names of the model's classes in the order of its logits, where its files do not say them.
        train: Images that the model was trained on, in the form of ``data``; empty: ``data``'s own training split where
            it is a folder with one, else none.
        space: What the images are made to be; empty: squares as large as they are.
        root: Folder of domains that are not folders.
        images: At most so many test images, a fixed random part with the share of each class; 0: all.
        eps: Sizes of evasion, in [0,1] pixel units; the largest is in force.
        norm: Of evasion: ``linf`` or ``l2``.
        transfer: Attacks from the parent and the decoys, of which the worst case counts.
        strong: The attack on the model itself.
        stated: Share of right answers that the owner states; NaN where none.
        reference: A file ``.npz`` with an array ``logits [R,L]``: what his own pipeline gives for the first R images.
        despite: Locks whose failure is written down and does not stop the audit.
        seed: Of all draws.
        results: Folder of results, whose store keeps what was computed.
        workers: Processes that share the work; 0: one a CPU core, at most 4.
        accelerator: Of the Lightning Trainer.
        plugins: Folders of plugin files, such as of the network of the model, or of a lock.
    """

    model: Entry
    data: Entry
    parent: Entry = ""
    decoys: tuple[Entry, ...] = ()
    network: Entry = ""
    classes: tuple[str, ...] = ()
    train: Entry = ""
    space: Entry = ""
    root: Path = Path("data")
    images: int = 500
    eps: tuple[float, ...] = (8 / 255,)
    norm: str = "linf"
    transfer: tuple[Entry, ...] = field(default=TRANSFER)
    strong: Entry = field(default_factory=lambda: STRONG)
    stated: float = math.nan
    reference: str = ""
    despite: tuple[str, ...] = ()
    seed: int = 0
    results: Path = Path("results")
    workers: int = 0
    accelerator: str = "auto"
    plugins: tuple[Path, ...] = ()
