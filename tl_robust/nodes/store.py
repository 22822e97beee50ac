"""The content-addressed store: present and whole is used, absent or damaged is computed; nothing else decides.

An entry is a folder of two files. The manifest is written last and holds the SHA-256 of the other, so a killed run
leaves an entry that counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from tl_robust.errors import ResultsError, StoreError
from tl_robust.files import write_atomically
from tl_robust.nodes.kind import KINDS, Kind
from tl_robust.seeding import digest

Mark = Literal["running", "failed"]
SCHEMA = 1
MANIFEST_LIMIT = 10_000_000  # bytes; real ones have a few thousand
OPTIONAL = {
    "val_accuracy": float, "remark": str, "attack_batch": float, "fast": list, "refused": str, "gate": dict,
    "privacy": dict, "busy_seconds": float,
}  # fmt: skip
GATE = ("samples", "accuracy", "predictions", "tolerance")


class Store:
    """Entries of all kinds by key: bytes, and manifests that say what they are of.

    Args:
        root: Folder of the store; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, kind: Kind, key: str) -> bool:
        """Whether an entry is present (its content is checked when it is read)."""
        return (self.root / kind.folder / key / "manifest.json").is_file()

    def file(self, kind: Kind, key: str) -> Path:
        """Where the content of an entry lies."""
        return self.root / kind.folder / key / kind.file

    def manifest(self, kind: Kind, key: str) -> dict[str, Any]:
        """The manifest of an entry: what it was made from, and how.

        Raises:
            StoreError: It is absent, cannot be read, or is none that :meth:`write` made.
        """
        path = self.root / kind.folder / key / "manifest.json"
        try:
            if path.stat().st_size > MANIFEST_LIMIT:
                raise StoreError(f"{path} is damaged: more than {MANIFEST_LIMIT} bytes")
            manifest = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read ({error})") from error
        if misfit := _misfit(manifest):
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
        if hashlib.sha256(content).hexdigest() != manifest.get("sha256"):
            size = manifest.get("bytes")
            raise StoreError(f"{path} is damaged: expected {size} bytes of another content, found {len(content)}")
        if digest(manifest.get("spec")) != key:
            raise StoreError(f"{path} was made from another specification than its key says")
        return content

    def whole(self, kind: Kind, key: str, fault: Callable[[Any], str] | None = None) -> bool:
        """Whether an entry is present and undamaged.

        Args:
            kind: Its kind.
            key: The entry.
            fault: Says of what the entry holds what is wrong with it; empty if nothing.

        Raises:
            StoreError: It is present and damaged; the message names the file.
        """
        if not self.has(kind, key):
            return False
        record = self.load(kind, key)
        if fault and (reason := fault(record)):
            raise StoreError(f"{self.file(kind, key)} is damaged: {reason}")
        return True

    def check(self) -> Iterator[str]:
        """One string for each entry: empty where it is whole, else what is wrong."""
        for kind in KINDS.values():
            for folder in sorted((self.root / kind.folder).glob("*")):
                try:
                    self.load(kind, folder.name)
                    yield ""
                except StoreError as error:
                    yield str(error)

    def write(self, kind: Kind, key: str, content: bytes, spec: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        """Write an entry, manifest last.

        Args:
            kind: Its kind.
            key: Digest of ``spec``.
            content: The file.
            spec: Everything that could change the content.
            made: How it was made: versions, device, seconds.

        Raises:
            ResultsError: The store cannot be written.
        """
        folder = self.root / kind.folder / key
        self._clear(folder)
        write_atomically(folder / kind.file, content)
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

    @contextmanager
    def running(self, key: str, title: str) -> Iterator[None]:
        """Let other machines see that a node is being computed, where and since when; its last failure is past."""
        self._unmark("failed", key)
        self._mark("running", key, {"title": title})
        try:
            yield
        finally:
            self._unmark("running", key)

    def failed(self, key: str, title: str, cause: str) -> None:
        """Let other machines see that a node could not be computed."""
        self._mark("failed", key, {"title": title, "cause": cause})

    def marks(self, mark: Mark) -> dict[str, dict[str, Any]]:
        """What is being computed or has failed, by key: ``title``, ``host``, ``pid``, ``time``, for failures ``cause``.

        Of what is being computed, only what somebody still holds the lock of: a killed process leaves its mark.
        """
        marks: dict[str, dict[str, Any]] = {}
        for path in sorted((self.root / mark).glob("*.json")):
            with suppress(OSError, ValueError):
                fields = json.loads(path.read_bytes())
                if isinstance(fields, dict) and {"title", "host", "pid", "time"} <= fields.keys():
                    marks[path.stem] = fields
        return {key: fields for key, fields in marks.items() if mark == "failed" or self._held(key)}

    def _held(self, key: str) -> bool:
        try:
            with self.lock(key) as free:
                return not free
        except ResultsError:  # no lock can be tried in a store that this user may only read: the mark is believed
            return True

    def _mark(self, mark: Mark, key: str, fields: Mapping[str, Any]) -> None:
        about = {"host": platform.node(), "pid": os.getpid(), "time": round(time.time(), 1)}
        with suppress(ResultsError):  # the entry itself will say that the store cannot be written
            write_atomically(self.root / mark / f"{key}.json", json.dumps({**fields, **about}).encode())

    def _unmark(self, mark: Mark, key: str) -> None:
        with suppress(OSError):
            (self.root / mark / f"{key}.json").unlink(missing_ok=True)

    def load(self, kind: Kind, key: str) -> Any:
        """The record that an entry holds.

        Raises:
            StoreError: As :meth:`read`, and where the content is not of its kind.
        """
        content = self.read(kind, key)
        try:
            return kind.unpack(content)
        except ValueError as error:
            raise StoreError(f"{self.file(kind, key)} is damaged: {error}") from error

    @staticmethod
    def _clear(folder: Path) -> None:
        """Remove what a killed run left; the caller holds the lock."""
        try:
            if folder.is_dir():
                for path in sorted(folder.iterdir(), key=lambda path: path.name != "manifest.json"):
                    path.unlink()
        except OSError as error:
            raise ResultsError(f"cannot write {folder} ({error.strerror or error}): set results= elsewhere.") from error


def _misfit(manifest: object) -> str:
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
