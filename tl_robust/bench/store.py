"""The content-addressed store: present and whole is used, absent or damaged is computed; nothing else decides.

An entry is a folder of two files. The manifest is written last and holds the SHA-256 of the other, so a killed run
leaves an entry that counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from torch import Tensor

from tl_robust.bench import payload
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
MANIFEST_LIMIT = 10_000_000  # bytes; real ones have a few thousand
OPTIONAL = {"val_accuracy": float, "attack_batch": float, "fast": list, "refused": str, "gate": dict}
GATE = ("samples", "accuracy", "predictions", "tolerance")


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
            StoreError: It is absent, cannot be read, or is none that :meth:`write` made.
        """
        path = self.root / kind / key / "manifest.json"
        try:
            if path.stat().st_size > MANIFEST_LIMIT:
                raise StoreError(f"{path} is damaged: more than {MANIFEST_LIMIT} bytes")
            manifest = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read ({error})") from error
        if misfit := _misfit(manifest, kind):
            raise StoreError(f"{path} is damaged: {misfit}")
        return dict(manifest)

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

    def whole(self, kind: Kind, key: str, fault: Callable[[Any], str] | None = None) -> bool:
        """Whether an entry is present and undamaged.

        Args:
            kind: ``weights``, ``outcomes``, ``examinations`` or ``pictures``.
            key: The entry.
            fault: Says of what the entry holds what is wrong with it; empty if nothing.

        Raises:
            StoreError: It is present and damaged; the message names the file.
        """
        if not self.has(kind, key):
            return False
        content = self._load(kind, key)
        if fault and (said := fault(content)):
            raise StoreError(f"{self.file(kind, key)} is damaged: {said}")
        return True

    def check(self) -> Iterator[str]:
        """One string for each entry: empty where it is whole, else what is wrong."""
        for kind in FILES:
            for folder in sorted((self.root / kind).glob("*")):
                try:
                    self._load(kind, folder.name)
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
        weights: dict[str, Tensor] = self._load("weights", key)
        return weights

    def read_outcome(self, key: str) -> Outcome:
        """An outcome."""
        outcome: Outcome = self._load("outcomes", key)
        return outcome

    def read_examination(self, key: str) -> Examination:
        """What the trust checks measured of a model."""
        examination: Examination = self._load("examinations", key)
        return examination

    def read_pictures(self, key: str) -> Pictures:
        """Pictures of a craft group."""
        pictures: Pictures = self._load("pictures", key)
        return pictures

    def _load(self, kind: Kind, key: str) -> Any:
        """What an entry holds.

        Raises:
            StoreError: As :meth:`read`, and where the content is not of its kind.
        """
        content = self.read(kind, key)
        try:
            return payload.UNPACK[kind](content)
        except ValueError as error:
            raise StoreError(f"{self.file(kind, key)} is damaged: {error}") from error

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


def _misfit(manifest: object, kind: Kind) -> str:
    """What a manifest lacks, empty if nothing: whatever reads one later may rely on these parts."""
    if not isinstance(manifest, dict):
        return f"expected a mapping, found {type(manifest).__name__}"
    if manifest.get("schema") != SCHEMA or type(manifest["schema"]) is not int:
        return f"expected schema {SCHEMA}, found {str(manifest.get('schema'))[:40]!r}"
    made = manifest.get("made")
    if not isinstance(manifest.get("spec"), dict) or not isinstance(made, dict):
        return "expected mappings 'spec' and 'made'"
    wanted = {"seconds": float, "device": str, "versions": dict, "commit": str}
    wanted |= {name: type_ for name, type_ in OPTIONAL.items() if name in made}
    wrong = [name for name, type_ in wanted.items() if not _is(made.get(name), type_)]
    if not wrong and not all(isinstance(text, str) for text in (*made["versions"].values(), *made.get("fast", ()))):
        wrong = ["versions"]
    if not wrong and "gate" in made and not all(_is(made["gate"].get(name), float) for name in GATE):
        wrong = ["gate"]
    return f"'made' lacks {', '.join(wrong)}, or has it of another type" if wrong else ""


def _is(value: object, wanted: type) -> bool:
    """Whether a value of JSON is of a type; a number is finite and at least 0."""
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return isinstance(value, wanted)
