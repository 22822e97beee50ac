"""The content-addressed store: present and whole is used, absent or damaged is computed; nothing else decides.

An entry is a folder of two files. The manifest is written last and holds the SHA-256 of the other, so a killed run
leaves an entry that counts as absent.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load, save
from torch import Tensor

from tl_robust.errors import ResultsError, StoreError
from tl_robust.files import write_atomically
from tl_robust.seeding import digest
from tl_robust.types import Examination, Outcome, Pictures

Kind = Literal["weights", "outcomes", "examinations", "pictures"]
FILES: dict[Kind, str] = {
    "weights": "model.safetensors",
    "outcomes": "outcome.npz",
    "examinations": "examination.npz",
    "pictures": "pictures.npz",
}
SCHEMA = 1


class Store:
    """Weights, outcomes, examinations and pictures by key.

    Args:
        root: Folder of the store; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, kind: Kind, key: str) -> bool:
        """Whether an entry is present (its content is checked when it is read)."""
        return (self.root / kind / key / "manifest.json").is_file()

    def file(self, kind: Kind, key: str) -> Path:
        """Where the content of an entry lies."""
        return self.root / kind / key / FILES[kind]

    def manifest(self, kind: Kind, key: str) -> dict[str, Any]:
        """What is known of an entry.

        Raises:
            StoreError: It is absent, or cannot be read.
        """
        path = self.root / kind / key / "manifest.json"
        try:
            manifest: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error})") from error
        return manifest

    def read(self, kind: Kind, key: str) -> bytes:
        """The content of an entry.

        Raises:
            StoreError: It is absent, damaged, or was made from another specification.
        """
        manifest = self.manifest(kind, key)
        path = self.file(kind, key)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error})") from error
        found = hashlib.sha256(content).hexdigest()
        if found != manifest.get("sha256"):
            size = manifest.get("bytes")
            raise StoreError(f"{path} is damaged: expected {size} bytes of another content, found {len(content)}")
        if digest(manifest.get("spec")) != key:
            raise StoreError(f"{path} was made from another specification than its key says")
        return content

    def whole(self, kind: Kind, key: str) -> bool:
        """Whether an entry is present and undamaged.

        Raises:
            StoreError: It is present and damaged; the message names the file.
        """
        if not self.has(kind, key):
            return False
        self.read(kind, key)
        return True

    def check(self) -> Iterator[str]:
        """One string for each entry: empty where it is whole, else what is wrong."""
        for kind in FILES:
            for folder in sorted((self.root / kind).glob("*")):
                try:
                    self.read(kind, folder.name)
                    yield ""
                except StoreError as error:
                    yield str(error)

    def write(self, kind: Kind, key: str, content: bytes, spec: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        """Write an entry, manifest last.

        Args:
            kind: ``weights``, ``outcomes``, ``examinations`` or ``pictures``.
            key: Digest of ``spec``.
            content: The file.
            spec: Everything that could change the content.
            made: How it was made: versions, device, seconds.

        Raises:
            ResultsError: The store cannot be written.
        """
        folder = self.root / kind / key
        self._clear(folder)
        write_atomically(folder / FILES[kind], content)
        manifest = {
            "schema": SCHEMA,
            "key": key,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "spec": spec,
            "made": made,
        }
        write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode())

    @contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Hold the right to compute an entry; yields False at once where another process holds it.

        The right ends with the process, however that ends.
        """
        folder = self.root / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f"{key}.lock", timeout=0)
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:
            raise ResultsError(
                f"cannot write in {folder} ({error.strerror or error}): set results= to a writable folder."
            ) from error
        try:
            yield True
        finally:
            lock.release()

    def read_weights(self, key: str) -> dict[str, Tensor]:
        """A network's state dict."""
        return load(self.read("weights", key))

    def read_outcome(self, key: str) -> Outcome:
        """An outcome."""
        return Outcome(**self._read_arrays("outcomes", key))

    def read_examination(self, key: str) -> Examination:
        """What the trust checks measured of a model."""
        arrays = self._read_arrays("examinations", key)
        return Examination(arrays.pop("sample_id"), arrays.pop("eps"), arrays)

    def read_pictures(self, key: str) -> Pictures:
        """Pictures of a craft group."""
        arrays = self._read_arrays("pictures", key)
        return Pictures(classes=tuple(json.loads(bytes(arrays.pop("classes").tolist()))), **arrays)

    def _read_arrays(self, kind: Kind, key: str) -> dict[str, Tensor]:
        with np.load(io.BytesIO(self.read(kind, key)), allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    @staticmethod
    def _clear(folder: Path) -> None:
        """Remove what a killed run left; the caller holds the lock."""
        try:
            for path in (
                sorted(folder.iterdir(), key=lambda path: path.name != "manifest.json") if folder.is_dir() else ()
            ):
                path.unlink()
        except OSError as error:
            raise ResultsError(f"cannot write {folder} ({error.strerror or error}): set results= elsewhere.") from error


def pack_weights(state: Mapping[str, Tensor]) -> bytes:
    """A state dict as safetensors."""
    return save({name: value.detach().cpu().contiguous() for name, value in state.items()})


def pack_outcome(outcome: Outcome) -> bytes:
    """An outcome as a compressed npz."""
    return _pack_arrays(outcome.tensors())


def pack_examination(examination: Examination) -> bytes:
    """An examination as a compressed npz."""
    return _pack_arrays({"sample_id": examination.sample_id, "eps": examination.eps, **examination.seen})


def pack_pictures(pictures: Pictures) -> bytes:
    """Pictures as a compressed npz."""
    classes = torch.tensor(list(json.dumps(pictures.classes).encode()), dtype=torch.uint8)
    return _pack_arrays(vars(pictures) | {"classes": classes})


def _pack_arrays(tensors: Mapping[str, Tensor]) -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: value.numpy() for name, value in tensors.items()}
    np.savez_compressed(file, **arrays)
    return file.getvalue()
