"""An audit as one call from Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tl_robust.auditor.conduct import conduct
from tl_robust.auditor.options import request_of
from tl_robust.auditor.request import STRONG, TRANSFER, Entry
from tl_robust.engines.processes import Processes

if TYPE_CHECKING:
    from tl_robust.audit.record import Audit
    from tl_robust.engines.observer import Observer

Given = Entry | PathLike[str]


def audit(
    model: Given,
    data: Given,
    *,
    parent: Given = "",
    decoys: Sequence[Given] = (),
    network: Entry = "",
    classes: Sequence[str] | PathLike[str] = (),
    train: Given = "",
    space: Entry = "",
    root: str | PathLike[str] = Path("data"),
    images: int = 500,
    eps: float | str | Sequence[float | str] = (8 / 255,),
    norm: str = "linf",
    transfer: Sequence[Entry] = TRANSFER,
    strong: Entry = STRONG,
    stated: float = math.nan,
    reference: str | PathLike[str] = "",
    despite: Sequence[str] = (),
    seed: int = 0,
    results: str | PathLike[str] = Path("results"),
    workers: int = 0,
    accelerator: str = "auto",
    plugins: Sequence[str | PathLike[str]] = (),
    observer: Observer | None = None,
) -> Audit:
    """Audit a fine-tuned model against its public parent, as ``tl-robust audit`` does, and give back the record.

    What was computed is kept below ``results``, so that a second call with the same files computes nothing again.

    Args:
        model: What is audited; :class:`tl_robust.auditor.request.Request` describes this and all that follows.
        data: Folder of test images, or a domain.
        parent: The public model that it was made of.
        decoys: Models of the same kind that it was not made of, with which the parent is compared.
        network: Of files that hold weights alone.
        classes: Names in the order of the model's logits, or a file with one a line.
        train: Images that it was trained on.
        space: What images are made to be.
        root: Folder of domains.
        images: At most so many test images; 0: all.
        eps: Sizes of evasion in [0,1] pixel units, as numbers or as ``"8/255"``; the largest is in force.
        norm: ``linf`` or ``l2``.
        transfer: Attacks from the parent, of which the worst counts.
        strong: The attack on the model itself.
        stated: Accuracy that its owner states.
        reference: File with logits of its own pipeline.
        despite: Locks whose failure does not stop the audit.
        seed: Of all draws.
        results: Folder of results.
        workers: Processes; 0: one a CPU core, at most 4.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        plugins: Folders of plugin files.
        observer: Hears of progress.

    Raises:
        InputError: Something that was given cannot be used; says what, and what to do.
        BenchFailedError: An attack failed.

    Example::

        from tl_robust.auditor import audit

        found = audit("mine.safetensors", "images", parent="public.safetensors", network="resnet18", eps="8/255")
        for lock in found.failed_locks:
            print(lock.reason)
        for finding in found.findings:
            print(finding.title, finding.attack, f"{finding.value:.3f} [{finding.low:.3f}, {finding.high:.3f}]")
    """
    given = {name: value for name, value in locals().items() if name != "observer"}
    return conduct(request_of(given), observer, Processes())
