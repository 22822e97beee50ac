"""How many processes share a bench's work where the bench file does not say."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from tl_robust.bench.spec import Bench
from tl_robust.data.space import get_space
from tl_robust.models import build
from tl_robust.registry import Component

MOST = 4
SMALL = 10_000_000  # parameters; a larger network keeps a GPU busy alone, so that others beside it only take its memory
EACH = 2 * 2**30  # bytes of a process: CUDA context, workspaces of libraries, images, activations of a small network
COPIES = 8  # of every parameter: weights, gradient, momentum, best epoch, and the models that one attack judges
SHARE = 0.8  # of the free memory: the rest is for whatever else runs on the card


@dataclass(frozen=True)
class Workers:
    """Processes that share the work.

    Attributes:
        count: How many, at least 1.
        why: One sentence for the user; empty on the CPU.
    """

    count: int
    why: str = ""


def default_workers(bench: Bench, items: int) -> Workers:
    """One a CPU core, at most 4; on a CUDA device as many as its free memory holds, see :func:`sharing`.

    Args:
        bench: The bench.
        items: Things to compute: more processes than that are of no use.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if bench.trainer.get("accelerator") == "cpu" or not torch.cuda.is_available():
        return Workers(max(1, min(MOST, cores, items)))
    if bench.trainer.get("devices", 1) not in (1, "1"):
        return Workers(1, "1 process: trainer.devices gives it several devices.")
    free, _ = torch.cuda.mem_get_info()
    return sharing(torch.cuda.get_device_name(), free, _parameters(bench), cores, items)


def sharing(card: str, free: int, parameters: int, cores: int, items: int = MOST) -> Workers:
    """How many processes share one card.

    Small networks leave a GPU idle between their kernels, and several processes fill the gaps.

    Args:
        card: Its name.
        free: Bytes of its memory that are free.
        parameters: Of the largest network.
        cores: CPU cores: each process keeps one busy.
        items: Things to compute.
    """
    size = f"the largest network has {parameters / 1e6:.1f} million parameters"
    if parameters > SMALL:
        return Workers(1, f"1 process on {card}: {size}, which keeps it busy.")
    each = EACH + 4 * COPIES * parameters
    count = max(1, min(MOST, cores, items, int(SHARE * free) // each))
    what = "1 process on" if count == 1 else f"{count} processes share"
    return Workers(
        count,
        f"{what} {card}: {size}, {free / 2**30:.1f} GiB are free, a process takes up to {each / 2**30:.1f} GiB, "
        f"{cores} CPU cores (workers=N sets another number).",
    )


def _parameters(bench: Bench) -> int:
    """Parameters of the largest network of a bench, with ten classes."""
    spaces = {pair.space for pair in bench.axes.pair}
    networks: Iterable[Component] = (*bench.axes.network, *(model.network for model in bench.checkpoints.values()))
    with torch.device("meta"):  # parameters are counted, so no memory is needed
        built = [build(network, get_space(space).image_shape, 10) for network in networks for space in spaces]
    return max(sum(parameter.numel() for parameter in network.parameters()) for network in built)
