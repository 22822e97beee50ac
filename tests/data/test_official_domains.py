"""The real loaders of SVHN, SynDigits, CIFAR-10, STL-10 and ImageNet32 on small files in the official formats.

Made files cannot have the official checksums, so ``sign`` puts theirs into torchvision's lists; everything else runs as
it does on the official files.
"""

import hashlib
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import Tensor
from torchvision.datasets import CIFAR10, STL10, SVHN

from tl_robust.data.domain import DOMAINS, DataSettings, Split
from tl_robust.data.domains import imagenet32, svhn
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.data.spaces.objects import Objects
from tl_robust.errors import DataError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

Patch = pytest.MonkeyPatch
CIFAR, STL = "cifar-10-batches-py", "stl10_binary"


def made(name: str, count: int = 20, side: int = 32) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator("official", name), dtype=torch.uint8)
    return ImageSet(pixels, (torch.arange(count) + len(name)) % 10)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def load(name: str, root: Path, split: Split = "train") -> ImageSet:
    return DOMAINS[name]().load(split, root, download=False)


def same(found: ImageSet, *expected: ImageSet) -> bool:
    assert found.images.is_contiguous()
    return torch.equal(found.images, torch.cat([part.images for part in expected])) and torch.equal(
        found.labels, torch.cat([part.labels for part in expected])
    )


# one writer for each format


def write_mat(path: Path, images: ImageSet, zero: int) -> None:
    """Axes row, column, channel, sample; digit 0 is written as ``zero``."""
    labels = images.labels.where(images.labels != 0, zero).to(torch.uint8)
    savemat(path, {"X": images.images.permute(2, 3, 1, 0).numpy(), "y": labels[:, None].numpy()}, do_compression=True)


def write_svhn(root: Path) -> None:
    for part in ("train", "test", "extra"):
        write_mat(root / f"{part}_32x32.mat", made(part), zero=10)


def write_syn_digits(root: Path) -> None:
    for part in ("train", "test"):
        write_mat(root / f"synth_{part}_32x32.mat", made(part), zero=0)


def text(value: str) -> bytes:
    return b"U" + bytes([len(value)]) + value.encode()


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def cifar_batch(images: ImageSet) -> bytes:
    """A pickle as Python 2 and the numpy of 2009 wrote it, opcode by opcode: byte strings, dtype flags 0 and 1."""
    raw, minus = images.images.numpy().tobytes(), integer(-1)
    kind = b"cnumpy\ndtype\n" + text("u1") + integer(0) + integer(1) + b"\x87R"
    kind += b"(" + integer(3) + text("|") + b"NNN" + minus + minus + integer(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85" + text("b") + b"\x87R"
    array += b"(" + integer(1) + integer(len(images)) + integer(3072) + b"\x86" + kind + b"\x89"
    array += b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    labels = b"](" + b"".join(map(integer, images.labels.tolist())) + b"e"
    return b"\x80\x02}(" + text("labels") + labels + text("data") + array + b"u."


def write_cifar10(root: Path) -> None:
    (root / CIFAR).mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (root / CIFAR / name).write_bytes(cifar_batch(made(name)))
    (root / CIFAR / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}, 2))


def write_stl10(root: Path) -> None:
    (root / STL).mkdir()
    for split in ("train", "test"):
        images = made(split, side=96)
        (root / STL / f"{split}_X.bin").write_bytes(images.images.transpose(2, 3).contiguous().numpy().tobytes())
        (root / STL / f"{split}_y.bin").write_bytes((images.labels + 1).to(torch.uint8).numpy().tobytes())


def batch(images: ImageSet) -> dict[str, Any]:
    """Of ImageNet32; the label 1000 occurs."""
    pixels = images.images.flatten(1).numpy()
    return {"data": pixels, "labels": (images.labels * 111 + 1).tolist(), "mean": pixels.mean(0)}


TRAIN32 = [f"train_data_batch_{number}" for number in range(1, 11)]


def write_imagenet32(root: Path, form: str = "npz") -> None:
    (root / "imagenet32").mkdir()
    for name in (*TRAIN32, "val_data"):
        content = batch(made(name))
        if form == "npz":
            np.savez(root / "imagenet32" / name, **content)
        else:
            (root / "imagenet32" / name).write_bytes(pickle.dumps(content, int(form)))


WRITE: dict[str, Callable[[Path], None]] = {
    "svhn": write_svhn,
    "svhn_extra": write_svhn,
    "syn_digits": write_syn_digits,
    "cifar10": write_cifar10,
    "stl10": write_stl10,
    "imagenet32": write_imagenet32,
}


def sign(name: str, root: Path, patch: Patch) -> None:
    """Put the checksums of the files in ``root`` into torchvision's lists."""
    if name.startswith("svhn"):
        lists = {part: [url, file, md5(root / file)] for part, (url, file, _) in SVHN.split_list.items()}
        patch.setattr(SVHN, "split_list", lists)
    elif name in ("cifar10", "stl10"):
        official: Any = CIFAR10 if name == "cifar10" else STL10
        for which in ("train_list", "test_list"):
            files = [file for file, _ in getattr(official, which) if (root / official.base_folder / file).is_file()]
            patch.setattr(official, which, [[file, md5(root / official.base_folder / file)] for file in files])
        if name == "cifar10":
            patch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(root / CIFAR / "batches.meta")})


# what is read


CONTENT: list[tuple[str, Split, list[str], int]] = [
    ("svhn", "train", ["train"], 32),
    ("svhn", "test", ["test"], 32),
    ("svhn_extra", "train", ["train", "extra"], 32),
    ("svhn_extra", "test", ["test"], 32),
    ("syn_digits", "train", ["train"], 32),
    ("syn_digits", "test", ["test"], 32),
    ("cifar10", "train", [f"data_batch_{number}" for number in range(1, 6)], 32),
    ("cifar10", "test", ["test_batch"], 32),
    ("stl10", "train", ["train"], 96),
    ("stl10", "test", ["test"], 96),
]


@pytest.mark.parametrize(("name", "split", "parts", "side"), CONTENT)
def test_pixels_and_labels_are_those_in_the_files(
    name: str, split: Split, parts: list[str], side: int, tmp_path: Path, monkeypatch: Patch
) -> None:
    WRITE[name](tmp_path)
    sign(name, tmp_path, monkeypatch)
    assert same(load(name, tmp_path, split), *(made(part, side=side) for part in parts))


@pytest.mark.parametrize("form", ["npz", "2", "3", "4", "5"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_imagenet32_as_npz_and_as_pickles(form: str, split: Split, tmp_path: Path) -> None:
    write_imagenet32(tmp_path, form)
    found = load("imagenet32", tmp_path, split)
    expected = [made(name) for name in (TRAIN32 if split == "train" else ["val_data"])]
    assert same(found, *(ImageSet(part.images, part.labels * 111) for part in expected))
    assert int(found.labels.max()) == 999
    assert same(load("imagenet32", tmp_path / "imagenet32", split), found), "data.root may be the folder itself"


def test_imagenet32_as_python_2_wrote_pickles(tmp_path: Path) -> None:
    images = made("old")
    images = ImageSet(images.images, images.labels + 1)
    (tmp_path / "val_data").write_bytes(cifar_batch(images))
    assert same(load("imagenet32", tmp_path, "test"), ImageSet(images.images, images.labels - 1))


def test_imagenet32_in_another_memory_order_and_with_an_array_of_labels(tmp_path: Path) -> None:
    content = batch(made("f"))
    content["data"], content["labels"] = np.asfortranarray(content["data"]), np.array(content["labels"], ">i4")
    for protocol in (2, 4, 5):
        (tmp_path / "val_data").write_bytes(pickle.dumps(content, protocol))
        found = load("imagenet32", tmp_path, "test")
        assert same(found, ImageSet(made("f").images, made("f").labels * 111))


def test_label_10_of_svhn_is_digit_0(tmp_path: Path, monkeypatch: Patch) -> None:
    write_svhn(tmp_path)
    sign("svhn", tmp_path, monkeypatch)
    found = load("svhn", tmp_path)
    zeros = made("train").images[made("train").labels == 0]
    assert b"\x0a" in (tmp_path / "train_32x32.mat").read_bytes()
    assert torch.equal(found.images[found.labels == 0], zeros)
    assert len(zeros) == 2


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", WRITE)
def test_paths_are_the_files_that_are_read(name: str, split: Split, tmp_path: Path, monkeypatch: Patch) -> None:
    WRITE[name](tmp_path)
    sign(name, tmp_path, monkeypatch)
    paths = DOMAINS[name]().paths(split, tmp_path)
    before = load(name, tmp_path, split)
    others = {path for path in tmp_path.rglob("*") if path.is_file()} - set(paths)
    if name == "cifar10":  # torchvision checks all of them
        wrong = "test_batch" if split == "train" else "data_batch_"
        assert all(path.name.startswith((wrong, "batches.meta")) for path in others)
        others = set()
    for path in others:
        path.unlink()
    assert same(load(name, tmp_path, split), before), "no other file is needed"
    for path in paths:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError, match="not found"):
            load(name, tmp_path, split)
        path.write_bytes(content)
    assert paths


def test_paths_of_imagenet32_are_in_the_form_and_the_folder_that_is_there(tmp_path: Path) -> None:
    domain = DOMAINS["imagenet32"]()
    assert domain.paths("test", tmp_path) == [tmp_path / "val_data.npz"]
    (tmp_path / "val_data").touch()
    assert domain.paths("test", tmp_path) == [tmp_path / "val_data"]
    (tmp_path / "imagenet32").mkdir()
    assert domain.paths("test", tmp_path) == [tmp_path / "imagenet32" / "val_data.npz"]


@pytest.mark.parametrize(
    ("name", "sizes"), [("svhn_extra", [7, 7, 6] * 2), ("syn_digits", [7, 7, 6]), ("imagenet32", [7, 7, 6] * 10)]
)
def test_large_sets_come_in_parts(name: str, sizes: list[int], tmp_path: Path, monkeypatch: Patch) -> None:
    WRITE[name](tmp_path)
    sign(name, tmp_path, monkeypatch)
    whole = load(name, tmp_path)
    for module in (svhn, imagenet32):
        monkeypatch.setattr(module, "CHUNK", 7)
    parts = list(DOMAINS[name]().checked("train", tmp_path))
    assert [len(part) for part in parts] == sizes
    assert same(whole, *parts)
    for part in parts:
        assert part.images.untyped_storage().nbytes() == part.images.numel(), "a view would hold the whole file"


def test_a_file_of_imagenet32_is_read_when_those_before_it_are_used(tmp_path: Path) -> None:
    write_imagenet32(tmp_path)
    (tmp_path / TARGETS["imagenet32"]).write_bytes(b"")
    parts = DOMAINS["imagenet32"]().checked("train", tmp_path)
    assert [len(next(parts)) for _ in range(6)] == [20] * 6
    with pytest.raises(DataError, match=r"train_data_batch_7.npz is no npz file"):
        next(parts)


def test_all_files_of_svhn_extra_are_checked_before_the_first_part(tmp_path: Path, monkeypatch: Patch) -> None:
    write_svhn(tmp_path)
    sign("svhn_extra", tmp_path, monkeypatch)
    (tmp_path / "extra_32x32.mat").unlink()
    with pytest.raises(DataError, match="not found"):
        next(DOMAINS["svhn_extra"]().checked("train", tmp_path))


def test_all_files_of_imagenet32_are_there_before_the_first_part(tmp_path: Path) -> None:
    write_imagenet32(tmp_path)
    (tmp_path / TARGETS["imagenet32"]).unlink()
    with pytest.raises(DataError, match="not found"):
        next(DOMAINS["imagenet32"]().checked("train", tmp_path))


def mapped(name: str, root: Path) -> ImageSet:
    return DomainInSpace(name, SPACES.component("objects"), DataSettings(root=str(root))).images("train")


@pytest.mark.parametrize(("name", "table"), [("cifar10", "0 1 2 3 4 5 - 6 7 8"), ("stl10", "0 2 1 3 4 5 6 - 7 8")])
def test_the_shared_classes_are_those_of_the_protocol(
    name: str, table: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    WRITE[name](tmp_path)
    sign(name, tmp_path, monkeypatch)
    own, found = load(name, tmp_path), mapped(name, tmp_path)
    places = table.split()
    assert found.labels.tolist() == [int(places[label]) for label in own.labels.tolist() if places[label] != "-"]
    assert found.images.shape == (len(found.labels), 3, 32, 32)
    if name == "cifar10":
        assert torch.equal(found.images, own.images[own.labels != 6])


@pytest.mark.parametrize("side", [16, 28, 64, 96])
def test_objects_of_any_size_fill_the_image(side: int) -> None:
    white = ImageSet(torch.full((9, 3, side, side), 255, dtype=torch.uint8), torch.arange(9))
    found: Tensor = Objects().map(white, Objects.classes, Objects.classes).images  # type: ignore[union-attr]
    assert found.shape == (9, 3, 32, 32)
    assert found.unique().tolist() == [255], "no frame of zeros"


def test_imagenet32_shares_no_class_by_accident() -> None:
    others = {label for name in WRITE if name != "imagenet32" for label in DOMAINS[name].classes}
    assert not others & set(DOMAINS["imagenet32"].classes)
    assert len(set(DOMAINS["imagenet32"].classes)) == 1000


# what is broken


Change = Callable[[Path], Any]
TARGETS = {
    "svhn": "train_32x32.mat",
    "svhn_extra": "extra_32x32.mat",
    "syn_digits": "synth_train_32x32.mat",
    "cifar10": f"{CIFAR}/data_batch_3",
    "stl10": f"{STL}/train_X.bin",
    "imagenet32": "imagenet32/train_data_batch_7.npz",
}


def sentence(name: str, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(name, root)
    message = str(caught.value)
    assert message.startswith(f"{name} ")
    assert "\n" not in message
    assert message.endswith(".")
    assert str(root) in message, "names the folder"
    assert DOMAINS[name].files in message, "names the files"
    assert "Error: -" not in message, "names a cause"
    return message


@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.parametrize("name", WRITE)
def test_missing_files(name: str, what: str, tmp_path: Path, monkeypatch: Patch) -> None:
    root = tmp_path / "sets"
    if what == "file":
        root.mkdir()
        WRITE[name](root)
        sign(name, root, monkeypatch)
        (root / TARGETS[name]).unlink()
    message = sentence(name, root)
    assert "not found" in message
    by_hand = name in ("syn_digits", "imagenet32")
    assert (
        f"get them from {DOMAINS[name].by_hand}, or set data.root" if by_hand else "run with data.download=true"
    ) in message
    assert ("download=true" in message) is not by_hand


@pytest.mark.parametrize("change", ["truncated", "empty", "garbage", "one bit"])
@pytest.mark.parametrize("name", WRITE)
def test_damaged_files(name: str, change: str, tmp_path: Path, monkeypatch: Patch) -> None:
    WRITE[name](tmp_path)
    sign(name, tmp_path, monkeypatch)
    path = tmp_path / TARGETS[name]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    changed: dict[str, bytes | bytearray] = {
        "truncated": content[:-100],
        "empty": b"",
        "garbage": b"<!DOCTYPE html>" * 99,
        "one bit": content,
    }
    path.write_bytes(changed[change])
    message = sentence(name, tmp_path)
    assert "cannot be read" in message
    assert "replace the damaged file" in message
    if name not in ("syn_digits", "imagenet32"):
        assert f"{path.name} does not have its published MD5 checksum" in message


@pytest.mark.parametrize("name", ["svhn", "cifar10", "stl10"])
def test_a_made_file_does_not_have_the_official_checksum(name: str, tmp_path: Path) -> None:
    WRITE[name](tmp_path)
    assert "does not have its published MD5 checksum" in sentence(name, tmp_path)


def test_cifar10_is_not_unpickled_before_its_checksum_is_right(tmp_path: Path, monkeypatch: Patch) -> None:
    write_cifar10(tmp_path)
    sign("cifar10", tmp_path, monkeypatch)
    (tmp_path / CIFAR / "batches.meta").write_bytes(pickle.dumps(Malicious()))
    message = sentence("cifar10", tmp_path)
    assert "batches.meta does not have its published MD5 checksum" in message
    assert not Path("ran").exists()


def mat(**arrays: Any) -> Change:
    return lambda root: savemat(root / "synth_train_32x32.mat", arrays)


def npz(**arrays: Any) -> Change:
    return lambda root: np.savez(root / TARGETS["imagenet32"], **arrays)


def pickled(content: Any) -> Change:
    def change(root: Path) -> None:
        (root / TARGETS["imagenet32"]).unlink()
        (root / TARGETS["imagenet32"]).with_suffix("").write_bytes(pickle.dumps(content))

    return change


PIXELS, ROWS = np.zeros((32, 32, 3, 4), np.uint8), np.zeros((4, 3072), np.uint8)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("syn_digits", mat(X=PIXELS, y=[[1], [2], [3], [11]]), "synth_train_32x32.mat has the label 11, not 0 to 10"),
        ("syn_digits", mat(X=PIXELS, y=[[1.0], [2.5], [3], [1]]), "has the label 2.5"),
        ("syn_digits", mat(X=PIXELS, y=[[1.0], [np.nan], [3], [1]]), "has the label nan"),
        ("syn_digits", mat(X=PIXELS, y=[[1], [2], [3]]), "[32, 32, 3, 4] and 3 labels"),
        ("syn_digits", mat(X=PIXELS[:28], y=[[1], [2], [3], [4]]), "[28, 32, 3, 4]"),
        ("syn_digits", mat(X=PIXELS.astype(float), y=[[1], [2], [3], [4]]), "images float64"),
        ("syn_digits", mat(train=PIXELS), "does not have the variables X and y"),
        ("imagenet32", npz(data=ROWS, labels=[1, 2, 3, 0]), "train_data_batch_7.npz has the label 0, not 1 to 1000"),
        ("imagenet32", npz(data=ROWS, labels=[1, 2, 3, 1001]), "has the label 1001"),
        ("imagenet32", npz(data=ROWS, labels=[1, 2, 3]), "does not have data uint8 [N, 3072] and labels [N]"),
        ("imagenet32", npz(data=ROWS[:, :768], labels=[1, 2, 3, 4]), "does not have data uint8 [N, 3072]"),
        ("imagenet32", npz(data=ROWS.astype(np.float32), labels=[1, 2, 3, 4]), "does not have data uint8"),
        ("imagenet32", npz(data=ROWS[:0], labels=[]), "does not have data uint8"),
        ("imagenet32", npz(data=ROWS), "does not have data and labels"),
        ("imagenet32", npz(data=np.array([{}] * 4), labels=[1, 2, 3, 4]), "allow_pickle=False"),
        ("imagenet32", pickled({"data": ROWS, "labels": [1, 2, 3, -1]}), "train_data_batch_7 has the label -1"),
        ("imagenet32", pickled({"data": [[1]], "labels": [1]}), "does not have data uint8"),
        ("imagenet32", pickled({"data": np.array([{}]), "labels": [1]}), "cannot create an OBJECT array"),
        ("imagenet32", pickled([1, 2]), "train_data_batch_7 does not have data and labels"),
    ],
)
def test_wrong_content(name: str, change: Change, says: str, tmp_path: Path) -> None:
    WRITE[name](tmp_path)
    change(tmp_path)
    message = sentence(name, tmp_path)
    assert "cannot be read" in message
    assert says in message


def test_more_than_the_official_images_are_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    write_imagenet32(tmp_path)
    monkeypatch.setattr(DOMAINS["imagenet32"], "sizes", {"train": 199})
    assert "up to train_data_batch_10.npz there are more images than the official 199" in sentence(
        "imagenet32", tmp_path
    )


class Malicious:
    """Unpickling it writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch ran",))


class Evaluated:
    """The same through a builtin."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(("code", "named"), [(Malicious(), rf"{os.name}\.system"), (Evaluated(), r"\w+\.eval")])
def test_a_pickle_with_code_is_refused_and_does_not_run(
    code: object, named: str, protocol: int, tmp_path: Path
) -> None:
    content = {"data": ROWS, "labels": [1, 2, 3, 4], "more": code}
    pickle.loads(pickle.dumps(content, protocol))
    assert Path("ran").exists(), "it does run in an ordinary unpickler"
    Path("ran").unlink()
    write_imagenet32(tmp_path)
    (tmp_path / TARGETS["imagenet32"]).unlink()
    (tmp_path / TARGETS["imagenet32"]).with_suffix("").write_bytes(pickle.dumps(content, protocol))
    assert re.search(f"asks for {named}, which is refused", sentence("imagenet32", tmp_path))
    assert not Path("ran").exists()


# what every domain promises


@pytest.mark.parametrize("name", DOMAINS.names())
def test_every_domain_has_a_data_card(name: str) -> None:
    card = " ".join((DOMAINS[name].__dict__["__doc__"] or "").split())
    for word in ("Format: ", "plit", "icense", "Paper: "):
        assert word in card
