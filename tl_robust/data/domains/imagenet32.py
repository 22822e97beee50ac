"""ImageNet at 32x32."""

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from tl_robust.data.declared_size import check_declared
from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.types import ImageSet

CHUNK = 8192  # images in a part


@DOMAINS.register
class Imagenet32(Domain):
    """ImageNet (ILSVRC 2012) downsampled to 32x32 RGB, 1000 classes, 1,281,167 training and 50,000 test images.

    Format: the files of Imagenet32_train and Imagenet32_val, as npz or as pickles, in the folder ``imagenet32`` (or
    right in ``data.root``): ``data`` uint8 [N,3072], red, green and blue plane one after the other, ``labels`` 1 to
    1000; their ``mean`` is not used. A pickle could run code: here nothing in it is called, and a name that does not
    stand for a numpy array is refused. Checksums of these files are not published. Splits: the official ones; the
    validation images are the test split. License: non-commercial research and education only. Paper: Chrabaszcz,
    Loshchilov, Hutter, "A downsampled variant of ImageNet as an alternative to the CIFAR datasets", 2017,
    https://arxiv.org/abs/1707.08819. Differences: the files have numbers for classes (not in torchvision's order), so
    class k is named ``imagenet32 k`` and shares no class with other domains. The training split takes 3.9 GB, of which
    one file at a time (400 MB) is held.
    """

    files = "imagenet32/{train_data_batch_1 to train_data_batch_10,val_data}, each with or without .npz"
    by_hand = "image-net.org/download-images, after a login"
    classes = tuple(f"imagenet32 {number}" for number in range(1, 1001))
    sizes: ClassVar[dict[Split, int]] = {"train": 1_281_167, "test": 50_000}

    @override
    def parts(self, split: Split, root: Path, download: bool) -> Iterator[ImageSet]:
        paths = self.paths(split, root)
        for path in paths:
            path.stat()  # a missing file is an error before the first one is used
        count = 0
        for path in paths:
            for part in _read_parts(path):
                count += len(part)
                if count > self.sizes[split]:
                    raise ValueError(f"up to {path.name} there are more images than the official {self.sizes[split]}")
                yield part

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        names = [f"train_data_batch_{number}" for number in range(1, 11)] if split == "train" else ["val_data"]
        folder = root / "imagenet32" if (root / "imagenet32").is_dir() else root
        return [_find(folder, name) for name in names]


def _find(folder: Path, name: str) -> Path:
    """The file in the form that is there; the npz file where both or none are."""
    packed, plain = folder / f"{name}.npz", folder / name
    return plain if plain.is_file() and not packed.is_file() else packed


def _read_parts(path: Path) -> Iterator[ImageSet]:
    """Some thousands of images of a file at a time, as copies, so that its array is freed before the next is read."""
    pixels, labels = _read(path)
    for start in range(0, len(labels), CHUNK):
        images = np.array(pixels[start : start + CHUNK], order="C").reshape(-1, 3, 32, 32)
        yield ImageSet(torch.from_numpy(images), torch.from_numpy(labels[start : start + CHUNK].copy()))


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels ``[N,3072]`` of one file and its labels, counted from 0; ValueError where it holds something else."""
    content = _read_npz(path) if path.suffix == ".npz" else _read_pickle(path)
    if not isinstance(content, dict) or not {"data", "labels"} <= content.keys():
        raise ValueError(f"{path.name} does not have data and labels")
    pixels, labels = content["data"], np.asarray(content["labels"])
    shape = (len(labels), 3 * 32 * 32) if labels.ndim == 1 else ()
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != shape or not len(labels):
        raise ValueError(f"{path.name} does not have data uint8 [N, 3072] and labels [N]")
    wrong = labels[~np.isin(labels, np.arange(1, 1001))]
    if len(wrong):
        raise ValueError(f"{path.name} has the label {wrong[0]}, not 1 to 1000")
    return pixels, labels.astype(np.int64) - 1


def _read_npz(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):  # numpy's own message would speak of pickles
        raise ValueError(f"{path.name} is no npz file, or is cut off")
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            if item.filename in ("data.npy", "labels.npy"):
                check_declared(f"{path.name}: {item.filename}", item.file_size, item.compress_size)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("data", "labels") if name in arrays}


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        content = _Unpickler(file, encoding="latin1").load()
    if isinstance(content, dict):
        return {name: value.array() if isinstance(value, _Array) else value for name, value in content.items()}
    return None


class _Type:
    """Stands for a pickled numpy dtype."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """Stands for a pickled numpy array and for the functions that make one, until the whole pickle has been read."""

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = ()
        self.type, self.fortran, self.content = _Type("u1"), False, b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.type, self.fortran, self.content = state

    def array(self) -> NDArray[Any]:
        """The array, on the memory of the pickled bytes; numpy refuses a type that holds objects."""
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content  # Python 2 wrote str
        kind = np.dtype(self.type.order.replace("|", "=") + self.type.code)
        return np.frombuffer(content, kind).reshape(self.shape, order="F" if self.fortran else "C")


class _FromBuffer(_Array):
    """Stands for a numpy array made from a buffer, as pickle protocol 5 writes it."""

    def __init__(self, content: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> None:
        self.__setstate__((1, shape, kind, order == "F", content))


class _Unpickler(pickle.Unpickler):
    """Reads plain containers and numpy arrays. All that a pickle can call are the names below."""

    KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
        ("numpy.core.multiarray", "_reconstruct"): _Array,  # numpy 1
        ("numpy._core.multiarray", "_reconstruct"): _Array,  # numpy 2
        ("numpy.core.numeric", "_frombuffer"): _FromBuffer,  # pickle protocol 5
        ("numpy._core.numeric", "_frombuffer"): _FromBuffer,
        ("_codecs", "encode"): str.encode,  # bytes in pickle protocol 2
    }

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a function or class that the pickle names."""
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused: only numpy arrays are read")
        return self.KNOWN[module, name]
