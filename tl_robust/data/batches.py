"""Batches of an image set: from one tensor on the device, or streamed from where the pixels lie."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from itertools import islice
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from tl_robust.data.augment import augment as augmented
from tl_robust.data.augment import augmentation
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

Batch = tuple[Tensor, Tensor, Tensor]

WINDOW = 8 << 20  # bytes of pixels that the thread gathers at a time: a thread switch for each batch would cost more
AHEAD = 2  # windows that the thread gathers before they are needed


class Batches:
    """Batches ``(images float32 [N,C,H,W] in [0,1], labels int64 [N], sample ids int64 [N])`` of an image set.

    Pixels are either resident, copied to the device as one tensor, or streamed batch by batch; the batches are the same
    both ways. A batch shares no memory with the image set, so that it may be changed. A Trainer sets the epoch through
    :attr:`sampler` and goes on within one by :meth:`state_dict`, so that a resumed fit sees the remaining batches.

    Args:
        images: All images.
        batch_size: Images in a batch of each process.
        index: Which samples are used, int64; None uses all.
        seed: Shuffle anew in each epoch with this seed, and leave out a last batch of one sample, since BatchNorm
            cannot train on it. None keeps the order and all samples.
        device: Where batches are made.
        rank: Number of this process; process r takes every ``world``-th sample from the r-th on.
        world: Number of processes.
        augment: A name of ``data/augment.py``; all but ``none`` need a seed.
        stream: True leaves the pixels where they are, and a thread gathers the next batches (about 32 MB). False copies
            all pixels to the device. None streams if they take more than half of the memory that is free there; on a
            CPU that is the available memory, since a memory-mapped set larger than that is read from disk repeatedly.
        sampling: Each sample is in a batch with this chance, by a keyed draw of its own (Poisson sampling), so that
            batches have any size and may be empty; an epoch has the rounded inverse of it. 0: shuffled batches.

    Raises:
        UnknownNameError: No augmentation has this name.
        ValueError: An augmentation without a seed.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        index: Tensor | None = None,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        augment: str = "none",
        stream: bool | None = None,
        sampling: float = 0.0,
    ) -> None:
        augmentation(augment)
        if augment != "none" and seed is None:
            raise ValueError(f"augment={augment!r} needs a seed: its draws are keyed by it")
        self._device = _with_number(torch.device(device))
        self._resident = None if stream else _resident(images.images, self._device, must=stream is False)
        self._pixels = images.images if self._resident is None else self._resident.pixels
        self._labels = images.labels.to(self._device)
        self._index = torch.arange(len(images)) if index is None else index.cpu()
        self._batch_size = batch_size
        self._seed = seed
        self._rank, self._world = rank, world
        self._augment = augment
        self.sampling = sampling
        self.samples = len(self._index)
        self._epoch = 0  # the epoch that begins next
        self._skip = 0  # how many of its first batches a resumed fit has seen already
        self._yielded = 0  # batches of the epoch under way that have been yielded; 0 where none is under way

    batch_sampler: ClassVar[None] = None  # Lightning asks everything that has a sampler for this attribute

    @property
    def sampler(self) -> Batches:
        """This object itself, since Lightning calls :meth:`set_epoch` on what it finds here."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Shuffle and augment next as in this epoch, from 0."""
        if epoch != self._epoch:
            self._epoch, self._skip = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """An epoch, and how many of its batches have been yielded."""
        if self._yielded:
            return {"epoch": self._epoch - 1, "batch": self._yielded}
        return {"epoch": self._epoch, "batch": self._skip}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iterator go on where :meth:`state_dict` was called."""
        self._epoch, self._skip, self._yielded = state["epoch"], state["batch"], 0

    @property
    def streamed(self) -> bool:
        """Whether the pixels stay where they are and a thread gathers them."""
        return self._resident is None

    def __len__(self) -> int:
        if self.sampling:
            return max(1, round(1 / self.sampling))
        share = len(self._index) // self._world
        lone = self._seed is not None and share > 1 and share % self._batch_size == 1
        return math.ceil(share / self._batch_size) - lone

    def __iter__(self) -> Iterator[Batch]:
        order, epoch, seed = self._index, self._epoch, self._seed
        skip = self._skip
        self._epoch, self._skip, self._yielded = epoch + 1, 0, 0
        if self.sampling:
            yield from self._sampled(epoch, skip)
            return
        if seed is not None:
            order = order[torch.randperm(len(order), generator=generator("epoch", seed, epoch))]
        share = len(order) // self._world
        order = order[self._rank : share * self._world : self._world][: len(self) * self._batch_size]
        order = order[skip * self._batch_size :].clone()
        if len(order) == 0:
            return
        _keep_freed_memory()
        ids_on_device = order.to(self._device).split(self._batch_size)
        with closing(self._stream(order) if self.streamed else self._gather(order, ids_on_device)) as pixel_batches:
            for number, (pixels, ids) in enumerate(zip(pixel_batches, ids_on_device, strict=True), skip + 1):
                self._yielded = number % len(self)
                if seed is not None:
                    pixels = augmented(self._augment, pixels, ids, seed, epoch)
                yield pixels.to(torch.float32).div_(255), self._labels.index_select(0, ids), ids

    def _sampled(self, epoch: int, skip: int) -> Iterator[Batch]:
        """Batches that each sample is in or not by a draw of its own."""
        for number in range(skip, len(self)):
            draws = generator("poisson", self._seed, epoch, number)
            chosen = torch.rand(self.samples, generator=draws, dtype=torch.float64) < self.sampling
            self._yielded = (number + 1) % len(self)
            order = self._index[chosen]
            ids = order.to(self._device)
            pixels = self._pixels.index_select(0, order.to(self._pixels.device)).to(self._device)
            if self._seed is not None and len(ids):
                pixels = augmented(self._augment, pixels, ids, self._seed, epoch)
            yield pixels.to(torch.float32).div_(255), self._labels.index_select(0, ids), ids

    def _gather(self, order: Tensor, ids_on_device: tuple[Tensor, ...]) -> Generator[Tensor, None, None]:
        """Pixels of one batch after the other, from the device; a view where the samples follow each other."""
        first = int(order[0])
        if torch.equal(order, torch.arange(first, first + len(order))):
            yield from self._pixels[first : first + len(order)].split(self._batch_size)
        else:
            yield from (self._pixels.index_select(0, ids) for ids in ids_on_device)

    def _stream(self, order: Tensor) -> Generator[Tensor, None, None]:
        """Pixels of one batch after the other, gathered by a thread that ends with this generator."""
        batches = max(1, WINDOW // (self._batch_size * math.prod(self._pixels.shape[1:])))
        windows = iter(order.split(batches * self._batch_size))
        cuda = self._device.type == "cuda"

        def read(ids: Tensor) -> Tensor:
            pixels = torch.empty((len(ids), *self._pixels.shape[1:]), dtype=torch.uint8, pin_memory=cuda)
            return torch.index_select(self._pixels, 0, ids, out=pixels)

        start = (torch.cuda.set_device, (self._device,)) if cuda else (None, ())
        pool = ThreadPoolExecutor(1, "batches", *start)
        try:
            ahead = deque(pool.submit(read, ids) for ids in islice(windows, AHEAD))
            while ahead:
                window = ahead.popleft().result()
                ahead.extend(pool.submit(read, ids) for ids in islice(windows, 1))
                for pixels in window.split(self._batch_size):
                    yield pixels.to(self._device, non_blocking=True)
        finally:
            pool.shutdown(cancel_futures=True)


class _Resident:
    """Pixels on a device, and the tensor that they are a copy of."""

    def __init__(self, source: Tensor, device: torch.device) -> None:
        self.source = source
        self.pixels = source.to(device)


# The batches of a training and of its validation part share one copy on the device. It is found by the id of its
# source, which the copy keeps alive, so that no other tensor can get the same id.
_SHARED: WeakValueDictionary[tuple[int, torch.device], _Resident] = WeakValueDictionary()


def _resident(pixels: Tensor, device: torch.device, must: bool) -> _Resident | None:
    """All pixels on the device; None where they would take too much of its memory and are not a ``must``."""
    copied = _SHARED.get((id(pixels), device))
    if copied is None and (must or _fits(pixels, device)):
        copied = _SHARED[id(pixels), device] = _Resident(pixels, device)
    return copied


def _fits(pixels: Tensor, device: torch.device) -> bool:
    if device.type == "cuda":
        free: int | None = torch.cuda.mem_get_info(device)[0]
    else:
        free = available_memory() if device.type == "cpu" else None
    return free is None or 2 * pixels.nbytes <= free


def available_memory() -> int | None:
    """Bytes that new work can take without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):  # not Linux, or a Linux too old to tell
        pass
    try:
        pages, size = os.sysconf("SC_AVPHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return pages * size if pages >= 0 and size > 0 else None


def _with_number(device: torch.device) -> torch.device:
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep the memory of a freed batch for the next one.

    The GNU C library returns a freed block to the system if it is larger than all blocks freed before it (mallopt(3),
    M_MMAP_THRESHOLD). Each new batch then costs hundreds of page faults, and a loader takes up to 3 times as long. So
    one large block is freed first. It is never touched, so it takes no memory.
    """
    bytes(24 << 20)
