"""The cache of decoded images: made once, whole or absent, mapped, with the fingerprint of the set."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tl_robust import files
from tl_robust.data import cache as module
from tl_robust.data.cache import cached
from tl_robust.errors import DataError, ResultsError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet


def made(count: int, shape: tuple[int, ...] = (3, 5, 4), of: object = 0) -> ImageSet:
    draws = generator("made", of)
    pixels = torch.randint(0, 256, (count, *shape), generator=draws, dtype=torch.uint8)
    return ImageSet(pixels, torch.randint(0, 1000, (count,), generator=draws))


def never() -> list[ImageSet]:
    raise AssertionError("it is there: nothing is to be made")


PARTS = [made(7, of=1), made(1, of=2), made(2000, of=3)]
WHOLE = ImageSet(torch.cat([part.images for part in PARTS]), torch.cat([part.labels for part in PARTS]))


def same(one: ImageSet, other: ImageSet) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


# what comes back


def test_all_parts_are_one_set_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    first = cached(folder, "key", lambda: PARTS)
    second = cached(folder, "key", never)
    for found in (first, second):
        assert same(found, WHOLE)
        assert found.images.is_contiguous()
        assert ("fingerprint" in vars(found), found.fingerprint) == (True, WHOLE.fingerprint)
    assert names(folder) == {"key"}
    assert names(folder / "key") == {"manifest.json", "pixels.u8", "labels.i64"}
    assert same(cached(folder, "other", lambda: [made(3)]), made(3))
    assert same(cached(folder, "key", never), WHOLE)


def test_what_does_not_fit_its_fingerprint_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One bit of the pixels or labels, or another fingerprint: a bad disk, or a copy of another set."""
    cached(tmp_path, "key", lambda: PARTS)
    path = tmp_path / "key" / "manifest.json"
    manifest = json.loads(path.read_text())
    fingerprint = WHOLE.fingerprint
    assert manifest == {"schema": 2, "count": 2008, "shape": [3, 5, 4], "fingerprint": fingerprint, "notes": {}}
    capsys.readouterr()
    for name in ("pixels.u8", "labels.i64"):
        content = bytearray((path.parent / name).read_bytes())
        content[-3] ^= 4
        (path.parent / name).write_bytes(content)
        assert same(cached(tmp_path, "key", lambda: PARTS), WHOLE)
        assert capsys.readouterr().err == f"{tmp_path / 'key'} is damaged and is made again from the data.\n"
        assert same(cached(tmp_path, "key", never), WHOLE)
    path.write_text(json.dumps(manifest | {"fingerprint": "as it is written"}))
    assert cached(tmp_path, "key", lambda: PARTS).fingerprint == WHOLE.fingerprint
    assert capsys.readouterr().err.count("\n") == 1


def test_notes_are_kept_beside_the_pixels(tmp_path: Path) -> None:
    notes: dict[str, list[int]] = {}

    def make() -> Iterator[ImageSet]:
        yield PARTS[0]
        notes["own"] = [3, 4]  # known at the end alone

    cached(tmp_path, "key", make, notes)
    again: dict[str, list[int]] = {}
    cached(tmp_path, "key", never, again)
    assert again == {"own": [3, 4]}


def test_the_images_are_mapped_and_a_change_does_not_reach_the_file(tmp_path: Path) -> None:
    for found in (cached(tmp_path, "key", lambda: PARTS), cached(tmp_path, "key", never)):
        pixels = found.images.data_ptr()
        ranges = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "pixels.u8" in line]
        assert any(int(low, 16) <= pixels < int(high, 16) for low, high in (line[0].split("-") for line in ranges)), (
            "memory that is backed by the file"
        )
        found.images.zero_()
        found.labels.zero_()
    assert same(cached(tmp_path, "key", never), WHOLE)


def test_parts_need_not_be_contiguous(tmp_path: Path) -> None:
    images, labels = made(3000).images.permute(0, 3, 2, 1), made(6000).labels[::2]
    assert not images.is_contiguous()
    assert not labels.is_contiguous()
    assert same(cached(tmp_path, "key", lambda: [ImageSet(images, labels)]), ImageSet(images, labels))


def test_a_file_may_take_less_than_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    class Short:
        """A file that takes at most 999 bytes at a time, as a nearly full disk does."""

        def __init__(self, path: Path, *how: object) -> None:
            self.file = opened(path, *how)  # type: ignore[call-overload]

        def __enter__(self) -> "Short":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: memoryview) -> int:
            return int(self.file.write(content[:999]))

        def fileno(self) -> int:
            return int(self.file.fileno())

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *how: (Short if how == ("wb", 0) else opened)(path, *how))
        assert same(cached(tmp_path, "key", lambda: PARTS), WHOLE)
    assert same(cached(tmp_path, "key", never), WHOLE)


def test_one_part_at_a_time_is_in_memory(tmp_path: Path) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def make() -> Iterator[ImageSet]:
        for number in range(4):
            gc.collect()
            assert [one for one in alive if one() is not None] == [], "the last part is still held"
            part = made(10, of=number)
            alive.append(weakref.ref(part.images))
            yield part
            del part

    assert len(cached(tmp_path, "key", make)) == 40
    assert len(alive) == 4


# what is damaged


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"12345678")


def replace(**change: object) -> Callable[[Path], None]:
    return lambda path: (path.write_text(json.dumps(json.loads(path.read_text()) | change)), None)[1]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("pixels.u8", shorten),
        ("pixels.u8", lengthen),
        ("pixels.u8", Path.unlink),
        ("pixels.u8", lambda path: path.write_bytes(b"")),
        ("labels.i64", lambda path: os.truncate(path, path.stat().st_size - 8)),
        ("labels.i64", lengthen),
        ("labels.i64", Path.unlink),
        ("manifest.json", shorten),
        ("manifest.json", Path.unlink),
        ("manifest.json", lambda path: path.write_bytes(b"\xff\x00")),
        ("manifest.json", lambda path: path.write_text("[]")),
        ("manifest.json", lambda path: path.write_text("{}")),
        ("manifest.json", replace(schema=1)),
        ("manifest.json", replace(notes=3)),
        ("manifest.json", replace(count=2007)),
        ("manifest.json", replace(count=-1)),
        ("manifest.json", replace(shape=[3, 5])),
        ("manifest.json", replace(shape=["3", "5", "4"])),
        ("manifest.json", replace(shape=None)),
    ],
)
def test_what_is_damaged_is_made_again(name: str, damage: Callable[[Path], None], tmp_path: Path) -> None:
    cached(tmp_path, "key", lambda: [made(2008, of="old")])
    damage(tmp_path / "key" / name)
    assert same(cached(tmp_path, "key", lambda: PARTS), WHOLE)
    assert same(cached(tmp_path, "key", never), WHOLE)
    assert names(tmp_path) == {"key"}


def test_a_file_in_the_place_of_the_entry_or_of_its_draft_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no folder")
    (tmp_path / ".key.part").write_text("no folder either")
    assert same(cached(tmp_path, "key", lambda: PARTS), WHOLE)
    assert names(tmp_path) == {"key"}


# what cannot be made


def test_a_failing_make_leaves_nothing_and_its_error_is_its_own(tmp_path: Path) -> None:
    def make() -> Iterator[ImageSet]:
        yield PARTS[0]
        raise FileNotFoundError("train_data_batch_2")

    with pytest.raises(FileNotFoundError, match=r"^train_data_batch_2$"):
        cached(tmp_path, "key", make)
    assert names(tmp_path) == set()
    assert same(cached(tmp_path, "key", lambda: PARTS), WHOLE)


def test_a_failing_make_leaves_a_lock_that_is_free(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nothing is to be made") as kept:
        cached(tmp_path, "key", never)
    code = f"from tests.data.test_cache import *; cached(Path({str(tmp_path)!r}), 'key', lambda: PARTS)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert kept.tb is not None, "it holds the frames of the call, and so what they left open"


def test_no_part_and_parts_of_two_shapes_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a split has no images: expected at least one"):
        cached(tmp_path, "key", lambda: [])
    with pytest.raises(DataError, match=r"images of shape \(3, 5, 4\) and \(1, 5, 4\): expected one shape"):
        cached(tmp_path, "key", lambda: [*PARTS, made(2, (1, 5, 4))])
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ResultsError, match=r"^cannot write .*file.key \(.*\): .* set data.cache to a writable folder.$"
    ):
        cached(tmp_path / "file", "key", never)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open
    full = Path("/dev/full")
    for name in ("pixels.u8", "labels.i64"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", lambda path, *how, name=name: opened(full if path.name == name else path, *how))
            with pytest.raises(ResultsError, match=r"No space left on device.*set data.cache to a writable folder\.$"):
                cached(tmp_path, "key", lambda: PARTS)
        assert names(tmp_path) == set()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_serves_what_is_there(tmp_path: Path) -> None:
    cached(tmp_path, "key", lambda: PARTS)
    tmp_path.chmod(0o555)
    try:
        assert same(cached(tmp_path, "key", never), WHOLE)
        with pytest.raises(ResultsError, match=r"set data\.cache"):
            cached(tmp_path, "other", never)
    finally:
        tmp_path.chmod(0o755)


def test_what_is_there_needs_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(tmp_path, "key", lambda: PARTS)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "FileLock", refused)
    assert same(cached(tmp_path, "key", never), WHOLE)
    with pytest.raises(ResultsError, match=r"other \(Permission denied\)"):
        cached(tmp_path, "other", never)


# several processes

ROOT = Path(__file__).parents[2]
SLOW = """
import sys, time
from tests.data.test_cache import *

processes, pause = int(sys.argv[1]), float(sys.argv[2])

def make():
    with open("trace", "a") as file:
        file.write("made\\n")
    while len(list(Path().glob("begun.*"))) < processes:
        time.sleep(0.01)
    for part in PARTS:
        yield part
        print("part", flush=True)
        time.sleep(pause)

Path(f"begun.{os.getpid()}").touch()
found = cached(Path("cache"), "key", make)
assert same(found, WHOLE)
assert found.fingerprint == WHOLE.fingerprint
"""


def start(folder: Path, processes: int, pause: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(processes), str(pause)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_at_once_make_it_once(tmp_path: Path) -> None:
    processes = [start(tmp_path, 2, 0.2) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    assert (tmp_path / "trace").read_text() == "made\n"
    assert names(tmp_path / "cache") == {"key"}


def test_killed_while_writing_counts_as_absent_and_is_cleared_away(tmp_path: Path) -> None:
    process = start(tmp_path, 1, 60)
    assert process.stdout is not None
    assert process.stdout.readline() == "part\n"
    begin = time.monotonic()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    folder = tmp_path / "cache"
    assert names(folder) == {".key.part"}
    assert names(folder / ".key.part") == {"pixels.u8", "labels.i64"}
    assert same(cached(folder, "key", lambda: PARTS), WHOLE), "its lock went with it"
    assert time.monotonic() - begin < 30
    assert names(folder) == {"key"}


def test_ended_without_unwinding_it_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[ImageSet]:
        yield from PARTS
        assert names(tmp_path) == {".key.part"}
        for action in files._undo.values():
            action()
        assert names(tmp_path) == set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "key", parts)
    assert files._undo == {}


def test_killed_at_the_last_moment_counts_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        patch.setattr(module.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            cached(tmp_path, "key", lambda: PARTS)
    assert "manifest.json" in names(tmp_path / ".key.part")
    assert same(cached(tmp_path, "key", lambda: [made(5)]), made(5))
    assert names(tmp_path) == {"key"}


def test_the_manifest_comes_after_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    synced, renamed = os.fsync, Path.rename

    def sync(file: object) -> None:
        handle = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
        steps.append(Path(f"/proc/self/fd/{handle}").resolve().name)
        synced(handle)

    def rename(path: Path, target: Path) -> Path:
        steps.append(f"{path.name} is {target.name}")
        return renamed(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    cached(tmp_path / "cache", "key", lambda: PARTS)
    assert steps == ["pixels.u8", "labels.i64", "manifest.json", ".key.part", ".key.part is key", "cache"]
