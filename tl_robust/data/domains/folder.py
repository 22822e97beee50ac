"""Image sets of your own, as folders of image files."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from typing_extensions import override

from tl_robust.data.domain import DOMAINS, SPLITS, GenericDomain, Split
from tl_robust.data.image_files import class_folders, is_hidden, loose_files, walk
from tl_robust.data.names import Names, checked_names
from tl_robust.errors import DataError
from tl_robust.text import first_few
from tl_robust.types import ImageSet

CHUNK = 1 << 25  # bytes of pixels decoded at a time: 170 images of 256x256
SIDE = 256  # height and width that images of several sizes are made to have
LARGEST = 1 << 26  # pixels that one image may have: 8192x8192


@DOMAINS.register
class Folder(GenericDomain):
    """Image files in a folder for each class: ``folder:NAME`` reads ``NAME/train/CLASS/*`` and ``NAME/test/CLASS/*``.

    Format: the layout of torchvision's ImageFolder in ``data.root``, or deeper: ``folder:A/NAME``. It has files that
    end in jpg, jpeg, png, ppm, bmp, pgm, tif, tiff or webp, at any depth below a folder that is named for its class;
    others are passed over, and so is what is hidden or made by a system (``.ipynb_checkpoints``, ``__MACOSX``,
    ``@eaDir``, ``._cat.png``). Links are followed; each real file counts once in its class. Classes are the folders of
    ``train`` in alphabetical order; ``test`` may have fewer, and no other. A folder with neither ``train`` nor ``test``
    is a test split alone, which an audit asks for: ``NAME/CLASS/*``. Names that a bench file gives under
    ``domains:`` stand for the folders in that order; an empty one is no class. Every image is decoded to 8-bit RGB,
    without transparency and as it is stored (an EXIF orientation is not applied). Sizes: where all images of both
    splits have one size they stay as they are. Where any two differ, every image is cropped in its middle to a square
    and resized to 256x256 (bilinear, antialiased); the space makes its own size of that. Splits: the two folders.
    Images are read in parts and need not fit into memory. License: that of your files. Paper: none, this is a layout
    and not a data set.
    """

    by_hand = "their source"

    def __init__(self, argument: str, classes: Names | str = ()) -> None:
        super().__init__(argument, classes)
        self.files = f"{argument}/{{train,test}}/CLASS/IMAGE"

    @override
    def parts(self, split: Split, root: Path, download: bool) -> Iterator[ImageSet]:
        samples = self._samples(split, root)
        size = _common_size(self._all(root), root)
        width, height = size or (SIDE, SIDE)
        count = max(1, CHUNK // (3 * width * height))
        for start in range(0, len(samples), count):
            files, labels = zip(*samples[start : start + count], strict=True)
            with ThreadPoolExecutor() as pool:  # threads help, since Pillow decodes without holding Python's lock
                pixels = np.stack(list(pool.map(lambda file: _pixels(file, root, size is None), files)))
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
            yield ImageSet(images, torch.tensor(labels))

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        # The files of both splits, since all of them decide about the size of the images.
        return [*self._all(root), *([root / self.given] if isinstance(self.given, str) and self.given else [])]

    @override
    def found_names(self, root: Path) -> Names:
        return tuple(self._classes("train" if self._is_split("train", root) else "test", root))

    @override
    def passed_over(self, split: Split, root: Path) -> Iterator[str]:
        folder, class_of = self._top(split, root), dict[str, str]()
        if loose := loose_files(folder):
            yield f"{loose:,} {split} images lie in no folder of a class and are passed over"
        hidden, others, repeated, doubled = Counter[str](), Counter[str](), 0, list[tuple[str, str, str]]()
        hidden.update(path.name for path in folder.iterdir() if path.is_dir() and is_hidden(path.name))
        for name, place in self._classes(split, root).items():
            walked = walk(place)
            hidden, others, repeated = hidden + walked.hidden, others + walked.others, repeated + walked.repeated
            for path, real in zip(walked.images, walked.real, strict=True):
                first = class_of.setdefault(real, name)
                if first != name:
                    doubled.append((path.name, first, name))
        if hidden:
            names = first_few(sorted(hidden), 4)
            yield f"hidden or system folders and files of {split} are passed over ({hidden.total():,}: {names})"
        if others:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(others.items()))
            yield f"{split} files of kinds that are not read are passed over ({kinds})"
        if repeated:
            yield f"links of {split} to what is there already, or to nothing, are passed over ({repeated:,})"
        if doubled:
            file, first, second = doubled[0]
            where = f"first {file} in {first} and {second}"
            yield f"{len(doubled):,} {split} images count in two classes, by links ({where})"

    def _all(self, root: Path) -> list[Path]:
        """The image files of both splits, or of the one that is there."""
        splits = [split for split in SPLITS if self._is_split(split, root)]
        if not splits and (root / self.argument).is_dir() and class_folders(root / self.argument):
            splits = ["test"]
        folders = (folder for split in splits for folder in self._classes(split, root).values())
        return [path for folder in folders for path in walk(folder).images]

    def _is_split(self, split: Split, root: Path) -> bool:
        folder = root / self.argument / split
        return folder.is_dir() and bool(class_folders(folder))

    def _top(self, split: Split, root: Path) -> Path:
        """The folder of the folders of a split's classes."""
        alone = split == "test" and not any(self._is_split(each, root) for each in SPLITS)
        return root / self.argument / ("" if alone else split)

    def _classes(self, split: Split, root: Path) -> dict[str, Path]:
        """The folder of each class of a split."""
        top = self._top(split, root)
        folders = class_folders(top)
        where = top.relative_to(root).as_posix()
        if not folders:
            raise DataError(f"{where} has no folder of a class")
        names = checked_names([folder.name for folder in folders], where)
        return dict(sorted(zip(names, folders, strict=True)))

    def _samples(self, split: Split, root: Path) -> list[tuple[Path, int]]:
        """The image files of a split and their labels."""
        place = {name: label for label, name in enumerate(self.found_names(root))}
        samples = []
        for name, folder in self._classes(split, root).items():
            if name not in place:
                raise DataError(f"{self.argument}/{split} has the class {name}, which {self.argument}/train has not")
            files = walk(folder).images
            if not files and split == "train":
                raise DataError(f"{self.argument}/{split}/{name} has no image")
            samples += [(path, place[name]) for path in files]
        return samples


def _common_size(paths: Iterable[Path], root: Path) -> tuple[int, int] | None:
    """Width and height that all images have by their headers; None where two differ."""
    size: tuple[int, int] | None = None
    for path in paths:
        try:
            with Image.open(path) as image:
                own_size = image.size
        except Exception as error:  # Pillow's readers raise anything on a damaged file
            raise _damaged(path, root, error) from error
        if size not in (None, own_size):
            return None
        size = own_size
    return size


def _pixels(path: Path, root: Path, crop: bool) -> NDArray[np.uint8]:
    """One image as RGB, ``[H,W,3]``."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > LARGEST:  # an error before the pixels take memory
                raise ValueError(f"it says that it has {image.width:,}x{image.height:,} pixels, more than {LARGEST:,}")
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"it has more than 8 bits a channel (mode {image.mode})")
            opaque = image.convert("RGBA") if "transparency" in image.info else image
            rgb = opaque.convert("RGB")
            return np.asarray(_square(rgb) if crop else rgb)
    except Exception as error:  # Pillow's decoders raise anything too
        raise _damaged(path, root, error) from error


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    middle = image.crop((left, top, left + side, top + side))
    return middle.resize((SIDE, SIDE), Image.Resampling.BILINEAR)  # Pillow's is antialiased


def _damaged(path: Path, root: Path, error: Exception) -> DataError:
    cause = "it is no image" if isinstance(error, UnidentifiedImageError) else str(error)
    return DataError(f"{path.relative_to(root).as_posix()} cannot be decoded: {cause}")
