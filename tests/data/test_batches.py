"""Batches: order, ranks, exact pixels; streamed as resident, and no thread that stays."""

import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tl_robust.data import batches as module
from tl_robust.data.augment import augment
from tl_robust.data.batches import Batches, available_memory
from tl_robust.errors import UnknownNameError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

both = pytest.mark.parametrize("stream", [False, True], ids=["resident", "streamed"])


def made(count: int, classes: int = 10, side: int = 4) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 1, side, side), generator=generator("made", count), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(count) % classes)


def ids_of(batches: Batches) -> list[int]:
    return torch.cat([ids for _, _, ids in batches]).tolist()


@pytest.fixture(autouse=True)
def _no_thread_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "WINDOW", 300)  # bytes: a small set has many windows
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


# order


@both
def test_an_epoch_is_a_permutation_and_epochs_differ(stream: bool) -> None:
    batches = Batches(made(53), 8, seed=5, stream=stream)
    first, second = ids_of(batches), ids_of(batches)
    assert sorted(first) == sorted(second) == list(range(53))
    assert first != second
    assert first != list(range(53))
    again = Batches(made(53), 8, seed=5, stream=stream)
    assert [ids_of(again), ids_of(again)] == [first, second]
    assert ids_of(Batches(made(53), 8, seed=6, stream=stream)) != first


def test_the_order_is_keyed_by_seed_and_epoch() -> None:
    batches = Batches(made(53), 8, seed=5)
    for epoch in range(3):
        expected = torch.randperm(53, generator=generator("epoch", 5, epoch))  # stored results rely on it
        assert ids_of(batches) == expected.tolist()


def test_an_epoch_counts_from_its_first_batch_on() -> None:
    batches, expected = Batches(made(53), 8, seed=5), Batches(made(53), 8, seed=5)
    never_begun = iter(batches)
    next(iter(batches))  # the first epoch, left early
    next(iter(expected))
    assert ids_of(batches) == ids_of(expected)
    assert next(never_begun)[2].tolist() == ids_of(expected)[:8]


def test_the_order_does_not_depend_on_the_global_generator_nor_on_batch_size() -> None:
    torch.manual_seed(1)
    first = ids_of(Batches(made(53), 8, seed=5))
    torch.manual_seed(2)
    assert ids_of(Batches(made(53), 11, seed=5)) == first


@both
@pytest.mark.parametrize("index", [[7, 3, 11, 19, 0], [4, 5, 6, 7, 8], [19]], ids=str)
def test_without_a_seed_the_order_is_kept(index: list[int], stream: bool) -> None:
    images = made(20)
    batches = Batches(images, 2, index=torch.tensor(index), stream=stream)
    assert ids_of(batches) == ids_of(batches) == index
    assert torch.equal(torch.cat([seen for seen, _, _ in batches]), images.images[index] / 255)


@both
@pytest.mark.parametrize("seed", [None, 2])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 16, 17, 18, 31, 34])
def test_ranks_share_the_samples_and_len_counts_batches(count: int, world: int, seed: int | None, stream: bool) -> None:
    index = torch.arange(40)[40 - count :]
    ranks = [Batches(made(40), 8, index, seed, rank=rank, world=world, stream=stream) for rank in range(world)]
    seen = [list(batches) for batches in ranks]
    assert [len(batches) for batches in ranks] == [len(batches) for batches in seen]
    assert all(len(ids) > 0 for batches in seen for _, _, ids in batches)
    ids = [[int(one) for _, _, part in batches for one in part] for batches in seen]
    share = count // world
    if seed is not None and share > 1 and share % 8 == 1:
        share -= 1  # BatchNorm cannot train on a last batch of one
    assert {len(part) for part in ids} == {share}, "as many samples on each rank: no rank waits for another"
    together = list(itertools.chain(*ids))
    assert len(set(together)) == len(together)
    assert set(together) <= set(index.tolist())


@both
def test_another_lone_sample_is_left_out_in_each_epoch(stream: bool) -> None:
    batches = Batches(made(33), 8, seed=1, stream=stream)
    left_out = [set(range(33)) - set(ids_of(batches)) for _ in range(4)]
    assert [len(out) for out in left_out] == [1, 1, 1, 1]
    assert len(set().union(*left_out)) > 1


# content


@both
@pytest.mark.parametrize("seed", [None, 1])
def test_images_are_pixels_over_255_with_their_labels_and_ids(seed: int | None, stream: bool) -> None:
    every_value = torch.arange(256, dtype=torch.uint8).view(16, 1, 4, 4)
    images = ImageSet(torch.cat([every_value, made(20).images]), torch.arange(36) % 10)
    for seen, labels, ids in Batches(images, 8, seed=seed, stream=stream):
        assert seen.dtype == torch.float32
        assert torch.equal(seen, images.images[ids].to(torch.float32) / 255)
        assert torch.equal(labels, images.labels[ids])
        assert (labels.dtype, ids.dtype) == (torch.int64, torch.int64)


@both
@pytest.mark.parametrize("seed", [None, 1])
def test_a_batch_is_a_copy(seed: int | None, stream: bool) -> None:
    images, index = made(20), torch.arange(20)
    before = images.images.clone()
    kept = list(Batches(images, 8, index, seed, stream=stream))
    expected = [tuple(part.clone() for part in batch) for batch in kept]
    batches = Batches(images, 8, index, seed, stream=stream)
    for batch, untouched in zip(batches, expected, strict=True):
        assert all(map(torch.equal, batch, untouched))
        for part in batch:
            part.zero_()
    assert torch.equal(images.images, before)
    assert images.labels.tolist() == [*range(10), *range(10)]
    assert index.tolist() == list(range(20))
    assert all(map(torch.equal, itertools.chain(*kept), itertools.chain(*expected))), "no batch takes another's memory"


@pytest.mark.parametrize("mapped", [False, True], ids=["in memory", "mapped"])
@pytest.mark.parametrize("name", ["none", "crop_flip"])
@pytest.mark.parametrize("world", [1, 3])
def test_streamed_is_resident(world: int, name: str, mapped: bool, tmp_path: Path) -> None:
    images = made(103, side=6)
    if mapped:
        images.images.numpy().tofile(tmp_path / "pixels")
        pixels = torch.from_numpy(np.memmap(tmp_path / "pixels", np.uint8, "c", shape=(103, 1, 6, 6)))
        images = ImageSet(pixels, images.labels)
    index = torch.randperm(103, generator=generator("index"))[:97]
    for rank, size in itertools.product(range(world), (1, 8, 200)):
        kinds = [
            Batches(images, size, index, 4, rank=rank, world=world, augment=name, stream=stream)
            for stream in (False, True)
        ]
        assert [kind.streamed for kind in kinds] == [False, True]
        for _ in range(3):
            epochs = [list(kind) for kind in kinds]
            assert len(epochs[0]) == len(epochs[1]) == len(kinds[0])
            for one, other in zip(*epochs, strict=True):
                assert all(map(torch.equal, one, other))


@both
def test_augmented_by_seed_epoch_and_sample(stream: bool) -> None:
    images = made(50, side=8)
    seen: list[Tensor] = []
    batches = Batches(images, 8, seed=3, augment="crop_flip", stream=stream)
    for epoch in range(2):
        for pixels, _, ids in batches:
            changed = augment("crop_flip", images.images[ids], ids, 3, epoch)
            assert torch.equal(pixels, changed / 255)
            seen.append(pixels)
    assert not torch.equal(torch.cat(seen[:7]).sum(), torch.cat(seen[7:]).sum())
    by_rank = [Batches(images, 5, seed=3, augment="crop_flip", stream=stream, rank=r, world=2) for r in range(2)]
    one = {
        int(i): image
        for image, _, ids in Batches(images, 8, seed=3, augment="crop_flip")
        for i, image in zip(ids, image, strict=True)
    }
    for pixels, _, ids in itertools.chain(*by_rank):
        assert all(torch.equal(image, one[int(i)]) for i, image in zip(ids, pixels, strict=True))


def test_an_unknown_augmentation_and_one_without_a_seed_are_errors() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'crop'"):
        Batches(made(4), 2, seed=1, augment="cropp")
    with pytest.raises(ValueError, match="augment='crop' needs a seed"):
        Batches(made(4), 2, augment="crop")


# where pixels lie


@pytest.mark.parametrize(("free", "streamed"), [(0, True), (639, True), (640, False), (None, False)])
def test_more_than_half_of_the_memory_is_streamed(
    free: int | None, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: free)
    assert Batches(made(20), 8).streamed is streamed  # 320 bytes
    assert Batches(made(20), 8, stream=False).streamed is False
    assert Batches(made(20), 8, stream=True).streamed is True


def test_on_a_cpu_nothing_is_copied() -> None:
    images = made(20)
    assert Batches(images, 8)._pixels is Batches(images, 8, stream=True)._pixels is images.images


def test_loaders_of_one_image_set_share_its_copy_on_a_device() -> None:
    images = made(20)
    learn, held = (Batches(images, 8, torch.arange(10) + at, device="meta") for at in (0, 10))
    assert learn._pixels is held._pixels
    assert learn._pixels.device.type == "meta"
    assert Batches(made(20), 8, device="meta")._pixels is not learn._pixels
    assert Batches(images, 8)._pixels is images.images
    del learn, held
    gc.collect()
    assert not [key for key in module._SHARED if key[1].type == "meta"]


def test_available_memory_is_more_than_nothing_and_less_than_all() -> None:
    found = available_memory()
    assert found is not None
    assert 1 << 20 < found <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("text", ["", "MemTotal: 5 kB\n", "MemAvailable: much\n", "MemAvailable:\n", None])
def test_available_memory_without_proc(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> str:
        assert str(path) == "/proc/meminfo"
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert available_memory() == 40960
    monkeypatch.setattr(os, "sysconf", lambda name: -1)
    assert available_memory() is None

    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert available_memory() is None


def test_available_memory_reads_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: "MemTotal:  99 kB\nMemAvailable:   12 kB\n")
    assert available_memory() == 12 * 1024


# the thread


def test_a_thread_gathers_only_where_streamed() -> None:
    for stream, expected in ((False, 0), (True, 1)):
        before = threading.active_count()
        iterator = iter(Batches(made(100), 8, stream=stream))
        next(iterator)
        assert threading.active_count() - before == expected
        iterator.close()  # type: ignore[attr-defined]
        assert threading.active_count() == before


def test_an_epoch_left_early_ends_the_thread() -> None:
    before = threading.active_count()
    for _ in Batches(made(100), 8, stream=True):
        break
    assert threading.active_count() == before


def test_an_error_in_the_consumer_ends_the_thread() -> None:
    before = threading.active_count()

    def consume() -> None:
        for _ in Batches(made(100), 8, stream=True):
            raise RuntimeError("of the consumer")

    with pytest.raises(RuntimeError, match="of the consumer"):
        consume()
    assert threading.active_count() == before


def test_an_error_in_the_thread_reaches_the_consumer() -> None:
    before = threading.active_count()
    batches = Batches(made(100), 8, torch.tensor([*range(80), 100]), stream=True)
    seen: list[Tensor] = []
    with pytest.raises(IndexError, match="out of range"):
        seen.extend(ids for _, _, ids in batches)
    assert 0 < len(seen) <= 10
    assert threading.active_count() == before


def test_the_thread_stays_a_few_windows_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    select = torch.index_select

    def counted(pixels: Tensor, axis: int, ids: Tensor, out: Tensor) -> Tensor:
        read.append(len(ids))
        return select(pixels, axis, ids, out=out)

    monkeypatch.setattr(torch, "index_select", counted)
    monkeypatch.setattr(module, "WINDOW", 16 * 8 * 2)  # two batches
    iterator = iter(Batches(made(160), 8, stream=True))
    next(iterator)
    time.sleep(0.2)
    assert read == [16, 16, 16]
    assert len(list(iterator)) == 19
    assert read == [16] * 10


def test_an_iterator_that_is_never_closed_does_not_hold_up_the_end_of_the_process() -> None:
    code = (
        "import torch; from tl_robust.data.batches import Batches; from tl_robust.types import ImageSet\n"
        "images = ImageSet(torch.zeros(100, 1, 4, 4, dtype=torch.uint8), torch.zeros(100, dtype=torch.int64))\n"
        "iterator = iter(Batches(images, 8, stream=True)); next(iterator); print('begun')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("begun\n", "")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["none", "crop_flip"])
def test_on_a_cuda_device_streamed_is_resident(name: str) -> None:
    images = made(1003, side=16)
    kinds = [Batches(images, 32, seed=1, device="cuda", augment=name, stream=stream) for stream in (False, True, None)]
    assert [kind.streamed for kind in kinds] == [False, True, False]
    for _ in range(2):
        for one, other, third in zip(*kinds, strict=True):
            assert all(part.is_cuda for part in (*one, *other))
            assert all(map(torch.equal, one, other))
            assert all(map(torch.equal, one, third))
            on_cpu = augment(name, images.images[one[2].cpu()], one[2].cpu(), 1, kinds[0]._epoch - 1)
            assert torch.equal((one[0] * 255).round().to(torch.uint8).cpu(), on_cpu)
