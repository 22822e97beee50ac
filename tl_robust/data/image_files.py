"""Which files of a folder are its images: not hidden files, loops of links or pipes, and each real file only once."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tl_robust.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as in torchvision
# Extensions of images that are not read. They are counted, so that a person is told why these images are missing.
OTHERS = (".gif", ".heic", ".heif", ".avif", ".jp2", ".jfif", ".jxl", ".tga", ".exr", ".dng", ".svg", ".ico", ".npy")
SYSTEM = {  # what systems and programs leave in folders, in small letters
    *("__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "thumbs.db", "ehthumbs.db", "desktop.ini"),
    *("lost+found", "lost.dir", "#recycle", "#snapshot", "$recycle.bin", "recycler", "system volume information"),
    *("__pycache__", "network trash folder", "temporary items"),
}


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or made by a system rather than by a person.

    >>> [is_hidden(name) for name in (".ipynb_checkpoints", "._cat.png", "Thumbs.db", "cat.png")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in SYSTEM


@dataclass
class Walked:
    """What lies in a folder, at any depth.

    Attributes:
        images: Image files, sorted; each real file once.
        real: The real path of each image file, after following links.
        hidden: Names of hidden and system folders and image files that were passed over.
        others: How many files there are of each extension in ``OTHERS``.
        repeated: How many links lead to files or folders that were met before, or to nothing.
    """

    images: list[Path] = field(default_factory=list)
    real: list[str] = field(default_factory=list)
    hidden: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    repeated: int = 0


def walk(folder: Path) -> Walked:
    """All image files in a folder. Links are followed, also out of it; pipes, sockets and devices are never opened.

    Raises:
        DataError: A folder cannot be read.
    """
    walked, seen, images = Walked(), set[str](), dict[str, Path]()
    folders, linked_folders, linked_files = [folder], list[Path](), list[Path]()
    while folders or linked_folders:  # links come last, so that a link never hides the real folder
        top = folders.pop() if folders else linked_folders.pop(0)
        real = os.path.realpath(top)
        if real in seen:
            walked.repeated += 1
            continue
        seen.add(real)
        for entry in _entries(top):
            path, link = top / entry.name, entry.is_symlink()
            is_folder, is_file = _kind(entry)
            image = is_file and entry.name.lower().endswith(EXTENSIONS)
            if is_hidden(entry.name):
                if is_folder or image:
                    walked.hidden[entry.name] += 1
            elif is_folder:
                (linked_folders if link else folders).append(path)
            elif image and link:
                linked_files.append(path)
            elif image:
                images[f"{real}{os.sep}{entry.name}"] = path
            elif is_file and entry.name.lower().endswith(OTHERS):
                walked.others[Path(entry.name).suffix.lower()] += 1
            elif link and not is_file:
                walked.repeated += 1  # the link leads to nothing
    for path in sorted(linked_files):
        real = os.path.realpath(path)
        walked.repeated += real in images
        images.setdefault(real, path)
    pairs = sorted((path, real) for real, path in images.items())
    walked.images, walked.real = [path for path, _ in pairs], [real for _, real in pairs]
    return walked


def class_folders(folder: Path) -> list[Path]:
    """The folders that lie in a folder and are not hidden, in alphabetical order.

    Raises:
        DataError: The folder cannot be read.
    """
    return [folder / entry.name for entry in _entries(folder) if _kind(entry)[0] and not is_hidden(entry.name)]


def loose_files(folder: Path) -> int:
    """How many image files lie in the folder itself rather than in the folder of a class."""
    names = [entry.name for entry in _entries(folder) if _kind(entry)[1] and not is_hidden(entry.name)]
    return sum(name.lower().endswith(EXTENSIONS) for name in names)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError as error:
        raise DataError(
            f"the folder {folder} cannot be read ({error.strerror}): make it readable, or move it"
        ) from error


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Whether the entry is a folder, and whether it is a regular file; a link is what it leads to."""
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link that leads to nothing, or to itself
        return False, False
    return stat.S_ISDIR(mode), stat.S_ISREG(mode)
