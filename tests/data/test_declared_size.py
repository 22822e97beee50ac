"""What files declare is compared with what can be, before memory is taken."""

import bz2
import io
import tracemalloc
import zipfile
import zlib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from tl_robust.data import declared_size
from tl_robust.data.declared_size import check_declared, unpacked_bz2
from tl_robust.data.domain import DataSettings, get_domain
from tl_robust.data.domains import usps
from tl_robust.data.domains.svhn import read_mat
from tl_robust.errors import DataError

MB = 1 << 20


def array(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """The header of an array, without the array."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": kind, "fortran_order": False, "shape": shape})
    return head.getvalue()


def npz(path: Path, **arrays: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)


def refused(domain: str) -> str:
    """The sentence, and that no more than 20 MB were taken for it."""
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        get_domain(domain, DataSettings()).load("train", Path("data"))
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 20 * MB
    assert "\n" not in str(caught.value)
    return str(caught.value)


LABELS = array((4,), "<i8") + np.arange(4).tobytes()


PIXELS = array((4, 8, 8)) + bytes(256)
ONE = array((1,), "<i8") + bytes(8)
NOISE = np.random.default_rng(0).bytes(400_000)  # does not pack


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": array((1, 20_000, 20_000)) + NOISE, "labels": ONE}, "says that an image has 400,000,000 bytes"),
        ({"images": array((10**9, 32, 32)), "labels": array((10**9,), "<i8")}, "cannot unpack to as many"),
        ({"images": PIXELS, "labels": array((MB * 64,), "<i8") + bytes(32 * MB)}, "cannot unpack to as many"),
        ({"images": PIXELS, "labels": array((8 * MB,), "<i8") + bytes(64 * MB)}, "4 images and 8388608 labels"),
        ({"images": PIXELS, "labels": array((-5,), "<i8")}, "cannot unpack to as many"),
        ({"images": PIXELS, "labels": LABELS, "classes": array((2,), f"<U{MB // 8}") + bytes(MB)}, "names of classes"),
    ],
    ids=["a side", "images", "labels", "more labels than images", "fewer than none", "names"],
)
def test_arrays(arrays: dict[str, bytes], says: str) -> None:
    for split in ("train", "test"):
        npz(Path(f"data/a_{split}.npz"), **arrays)
    assert says in refused("npz:a")


def png(width: int, height: int) -> bytes:
    """A picture of 57 bytes that declares any size."""
    content = io.BytesIO()
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(content, "png")
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    data = content.getvalue()
    return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]


@pytest.mark.parametrize("sides", [(9000, 9000), (30_000, 30_000), (10**9, 10**9)])
def test_pictures_of_absurd_size(sides: tuple[int, int]) -> None:
    for split in ("train", "test"):
        for kind in "ab":
            Path(f"data/s/{split}/{kind}").mkdir(parents=True)
            Path(f"data/s/{split}/{kind}/0.png").write_bytes(png(*sides))
    message = refused("folder:s")
    assert "data/s" not in message
    assert "s/train/a/0.png cannot be decoded: " in message


def test_mnist_is_as_long_as_its_header_says() -> None:
    folder = Path("data/MNIST/raw")
    folder.mkdir(parents=True)
    count = (10**9).to_bytes(4, "big")
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + count)
    sides = (28).to_bytes(4, "big") * 2
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + count + sides + bytes(99))
    assert "train-images-idx3-ubyte has 115 bytes, and says that it has 784,000,000,016" in refused("mnist")


def test_usps_is_not_unpacked_beyond_what_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import_module("sklearn.datasets")  # its own memory, where no earlier test imported it, is not that of the file
    Path("data").mkdir()
    Path("data/usps.bz2").write_bytes(bz2.compress(bytes(64 * MB)))
    assert Path("data/usps.bz2").stat().st_size < 1000
    monkeypatch.setattr(usps, "MOST", MB)
    assert "usps.bz2 unpacks to more than 1,048,576 bytes" in refused("usps")
    Path("small.bz2").write_bytes(bz2.compress(b"12345"))
    assert unpacked_bz2(Path("small.bz2"), 5) == b"12345"
    with pytest.raises(DataError):
        unpacked_bz2(Path("small.bz2"), 4)


def test_matlab_files_that_unpack_to_more_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"X": np.zeros((32, 32, 3, 500), np.uint8), "y": np.ones((500, 1), np.uint8)}
    savemat("bomb.mat", content, do_compression=True)
    assert len(next(read_mat(Path("bomb.mat")))) == 500
    monkeypatch.setattr(declared_size, "available_memory", lambda: MB)
    with pytest.raises(DataError, match=r"bomb.mat: X needs 0\.0 GB of memory at once"):
        next(read_mat(Path("bomb.mat")))


def test_imagenet32_arrays_are_compared_with_their_packed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared_size, "available_memory", lambda: MB)
    for number in range(1, 11):
        npz(Path(f"data/train_data_batch_{number}.npz"), data=array((1000, 3072)) + bytes(3_072_000), labels=LABELS)
    assert "data.npy needs 0.0 GB of memory at once" in refused("imagenet32")


def test_the_bound_is_that_of_zlib() -> None:
    packed = len(zlib.compress(bytes(8 * MB), 9))
    check_declared("zeros", 8 * MB, packed)
    with pytest.raises(DataError, match="cannot unpack to as many"):
        check_declared("zeros", 8 * MB, packed - 200)
    with pytest.raises(DataError):
        check_declared("less than none", -1, 10)
    assert torch.iinfo(torch.int64).max > 2**62  # sizes are Python's integers and do not wrap
