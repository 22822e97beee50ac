"""Image sets of the user: arrays in npz files, and folders of images."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from tl_robust.data import image_files
from tl_robust.data.domain import DOMAINS, DataSettings, Declared, Domain, Split, get_domain
from tl_robust.data.domains import folder, npz
from tl_robust.data.domains.folder import Folder
from tl_robust.data.domains.npz import Npz
from tl_robust.data.mapped import DomainInSpace, load_mapped
from tl_robust.data.space import SPACES, Names
from tl_robust.errors import ConfigError, DataError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

Change = Callable[[Path], Any]
Patch = pytest.MonkeyPatch
PETS = ("cat", "dog", "fox")


def made(name: str, count: int = 20, channels: int = 3) -> ImageSet:
    shape = (count, channels, 8, 12)
    pixels = torch.randint(0, 256, shape, generator=generator("generic", name), dtype=torch.uint8)
    return ImageSet(pixels, (torch.arange(count) + len(name)) % 3)


def same(found: ImageSet, expected: ImageSet) -> bool:
    assert found.images.is_contiguous()
    return torch.equal(found.images, expected.images) and torch.equal(found.labels, expected.labels)


def joined(parts: list[ImageSet]) -> ImageSet:
    return ImageSet(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def sentence(domain: Domain, root: Path, split: Split = "train") -> str:
    with pytest.raises(DataError) as caught:
        domain.load(split, root)
    message = str(caught.value)
    assert message.startswith(f"{domain.name} ")
    assert "\n" not in message
    assert message.endswith(".")
    assert str(root) in message, "names the folder"
    assert domain.files in message, "names the files"
    todo = "or set data.root" if "not found" in message else "replace the"
    assert todo in message, "says what to do"
    assert "download" not in message, "nothing can fetch them"
    return message


# arrays


def write(root: Path, name: str = "x", save: Callable[..., None] = np.savez, **more: Any) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        images = made(split)
        pixels = images.images.permute(0, 2, 3, 1).numpy()
        save(root / f"{name}_{split}.npz", images=pixels, labels=images.labels.numpy(), **more)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("channels", "layout"),
    [
        (3, lambda pixels: pixels.permute(0, 2, 3, 1).contiguous()),
        (1, lambda pixels: pixels.permute(0, 2, 3, 1).contiguous()),
        (1, lambda pixels: pixels[:, 0]),
        (3, lambda pixels: pixels),
        (1, lambda pixels: pixels),
    ],
    ids=["NHW3", "NHW1", "NHW", "N3HW", "N1HW"],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_layouts(split: Split, channels: int, layout: Any, save: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for part in ("train", "test"):
        images = made(part, channels=channels)
        save(tmp_path / f"deeper/x_{part}.npz", images=layout(images.images).numpy(), labels=images.labels.numpy())
    assert same(Npz("deeper/x").load(split, tmp_path), made(split, channels=channels))


@pytest.mark.parametrize("kind", ["u1", "i1", ">i4", "<u8", "i8"])
def test_labels_of_any_integer_type(kind: str, tmp_path: Path) -> None:
    write(tmp_path)
    pixels = made("train").images.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "x_train.npz", images=pixels, labels=made("train").labels.numpy().astype(kind))
    assert same(Npz("x").load("train", tmp_path), made("train"))


@pytest.mark.parametrize(
    ("images", "sizes"), [(7, [7, 7, 6]), (10, [10, 10]), (19, [19, 1]), (20, [20]), (99, [20]), (0.5, [1] * 20)]
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_is_read_in_parts(
    images: float, sizes: list[int], save: Callable[..., None], tmp_path: Path, monkeypatch: Patch
) -> None:
    write(tmp_path, save=save)
    monkeypatch.setattr(npz, "CHUNK", int(images * 3 * 8 * 12))
    parts = list(Npz("x").checked("train", tmp_path))
    assert [len(part) for part in parts] == sizes
    assert same(joined(parts), made("train"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_is_never_in_memory_as_a_whole(save: Callable[..., None], tmp_path: Path, monkeypatch: Patch) -> None:
    size = 20_000_000
    pixels = np.random.default_rng(0).integers(0, 16, (size // 2000, 2000 // 3 // 20, 20, 3), np.uint8)
    for split in ("train", "test"):
        save(tmp_path / f"x_{split}.npz", images=pixels, labels=np.arange(len(pixels)) % 3)
    monkeypatch.setattr(npz, "CHUNK", 1 << 18)
    list(Npz("x").checked("test", tmp_path))  # imports
    tracemalloc.start()
    count = sum(len(part) for part in Npz("x").checked("train", tmp_path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == len(pixels)
    assert peak < size / 5


# names of classes


def test_names_come_from_the_bench_the_file_a_text_or_the_labels(tmp_path: Path) -> None:
    write(tmp_path)
    np.savez(tmp_path / "x_test.npz", images=np.zeros((2, 8, 12), np.uint8), labels=[0, 4])
    assert Npz("x").class_names(tmp_path) == tuple("01234"), "the largest label may be in the test file"
    (tmp_path / "x_classes.txt").write_text("bird\n\n fish \nfrog\n")
    assert Npz("x").class_names(tmp_path) == ("bird", "", "fish", "frog")
    write(tmp_path, classes=np.array(PETS))
    assert Npz("x").class_names(tmp_path) == PETS
    write(tmp_path, classes=np.array([b"cat", "füchse".encode()]))
    assert Npz("x").class_names(tmp_path) == ("cat", "füchse")
    (tmp_path / "mine.txt").write_text("one\ntwo\nthree\n")
    assert Npz("x", "mine.txt").class_names(tmp_path) == ("one", "two", "three")
    assert Npz("x", ("a", "b", "c")).class_names(tmp_path) == ("a", "b", "c")


def test_names_make_the_other_file_needless(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "x_test.npz").unlink()
    assert "not found" in sentence(Npz("x"), tmp_path), "the largest label may be there"
    assert same(Npz("x", PETS).load("train", tmp_path), made("train"))
    write(tmp_path, classes=np.array(PETS))
    (tmp_path / "x_train.npz").unlink()
    assert same(Npz("x", PETS).load("test", tmp_path), made("test"))


def test_paths_are_the_files_that_decide(tmp_path: Path) -> None:
    train, test, text, mine = (tmp_path / name for name in ("x_train.npz", "x_test.npz", "x_classes.txt", "mine.txt"))
    assert Npz("x").paths("train", tmp_path) == [train], "what is missing is seen to be missing"
    write(tmp_path)
    assert Npz("x").paths("train", tmp_path) == [train, test]
    assert Npz("x").paths("test", tmp_path) == [test, train]
    text.touch()
    assert Npz("x").paths("train", tmp_path) == [train, test, text]
    assert Npz("x", PETS).paths("train", tmp_path) == [train]
    assert Npz("x", "mine.txt").paths("test", tmp_path) == [test, mine]


# broken arrays


def unlink(name: str) -> Change:
    return lambda root: (root / name).unlink()


def rewrite(change: Callable[[bytes], bytes]) -> Change:
    path = "x_train.npz"
    return lambda root: (root / path).write_bytes(change((root / path).read_bytes()))


def flip(content: bytes) -> bytes:
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def arrays(**changed: Any) -> Change:
    """The training file with other arrays; None leaves one out."""

    def change(root: Path) -> None:
        all_arrays = {"images": np.zeros((4, 8, 12, 3), np.uint8), "labels": np.arange(4) % 3, **changed}
        np.savez(root / "x_train.npz", **{name: array for name, array in all_arrays.items() if array is not None})

    return change


def member(name: str, change: Callable[[bytes], bytes]) -> Change:
    """The training file with other bytes for one array, in a zip file that is whole."""

    def rezip(root: Path) -> None:
        arrays()(root)
        with zipfile.ZipFile(root / "x_train.npz") as archive:
            content = {one: archive.read(one) for one in archive.namelist()}
        content[f"{name}.npy"] = change(content[f"{name}.npy"])
        with zipfile.ZipFile(root / "x_train.npz", "w") as archive:
            for one, value in content.items():
                archive.writestr(one, value)

    return rezip


PIXELS = np.zeros((4, 8, 12, 3), np.uint8)
OBJECTS = np.array([{}] * 4)
NOT = "not uint8 [N,H,W,3] or [N,H,W]"
BROKEN: dict[str, tuple[Change, str]] = {
    "training file missing": (unlink("x_train.npz"), "not found"),
    "test file missing": (unlink("x_test.npz"), "not found"),
    "a folder": (lambda root: ((root / "x_train.npz").unlink(), (root / "x_train.npz").mkdir()), "IsADirectoryError"),
    "empty file": (rewrite(lambda content: b""), "x_train.npz is no npz file, or is damaged"),
    "a web page": (rewrite(lambda content: b"<!DOCTYPE html>" * 99), "x_train.npz is no npz file"),
    "one array": (rewrite(lambda content: content[content.index(b"\x93NUMPY") :]), "x_train.npz is no npz file"),
    "truncated": (rewrite(lambda content: content[:-100]), "x_train.npz is no npz file, or is damaged"),
    "one bit": (rewrite(flip), "x_train.npz is no npz file, or is damaged: Bad CRC-32"),
    "no images": (arrays(images=None), "x_train.npz does not have the array images"),
    "no labels": (arrays(labels=None), "x_train.npz does not have the array labels"),
    "fewer rows": (member("images", lambda content: content[:-100]), "x_train.npz is no npz file, or is damaged: it e"),
    "more rows": (member("images", lambda content: content + b"1"), "x_train.npz has more images than their header"),
    "fewer numbers": (member("labels", lambda content: content[:-1]), "is damaged: it ends early"),
    "no header": (member("images", lambda content: content[40:]), "x_train.npz is no npz file, or is damaged: the mag"),
    "other header": (member("labels", lambda c: c.replace(b"<i8", b"?i?")), "x_train.npz is no npz file, or is damag"),
    "images of objects": (arrays(images=OBJECTS), "x_train.npz has images of Python objects"),
    "labels of objects": (arrays(labels=OBJECTS), "x_train.npz has labels of Python objects"),
    "names of objects": (arrays(classes=np.array(PETS, object)), "x_train.npz has classes of Python objects"),
    "images float": (arrays(images=PIXELS / 255), f"x_train.npz has images float64 [4, 8, 12, 3], {NOT}"),
    "images int16": (arrays(images=PIXELS.astype(np.int16)), f"x_train.npz has images int16 [4, 8, 12, 3], {NOT}"),
    "images flat": (arrays(images=PIXELS.reshape(4, -1)), f"has images uint8 [4, 288], {NOT}"),
    "images of 5 axes": (arrays(images=PIXELS[..., None]), f"has images uint8 [4, 8, 12, 3, 1], {NOT}"),
    "2 channels": (arrays(images=PIXELS[..., :2]), f"has images uint8 [4, 8, 12, 2], {NOT}"),
    "no channel": (arrays(images=PIXELS[..., :0]), f"has images uint8 [4, 8, 12, 0], {NOT}"),
    "no pixel": (arrays(images=PIXELS[:, :0]), f"has images uint8 [4, 0, 12, 3], {NOT}"),
    "two meanings": (arrays(images=PIXELS[:, :3]), f"has images uint8 [4, 3, 12, 3], {NOT}"),
    "a number": (arrays(images=np.uint8(3)), f"has images uint8 [], {NOT}"),
    "Fortran order": (arrays(images=np.asfortranarray(PIXELS)), "images in Fortran order: save np.ascontiguousarray(i"),
    "fewer labels": (arrays(labels=[0, 1, 2]), "x_train.npz has 4 images and 3 labels"),
    "labels float": (arrays(labels=np.zeros(4)), "x_train.npz has labels float64 [4], not integers [N]"),
    "labels bool": (arrays(labels=np.zeros(4, bool)), "x_train.npz has labels bool [4], not integers [N]"),
    "labels in a column": (arrays(labels=[[0], [1], [2], [0]]), "labels int64 [4, 1], not integers [N]"),
    "label -1": (arrays(labels=[0, 1, -1, 2]), "x_train.npz has the label -1, expected 0 or more"),
    "a huge label": (arrays(labels=[0, 1, 2, 2**62]), f"x_train.npz has the label {2**62}, which is too large"),
    "no image": (arrays(images=PIXELS[:0], labels=np.arange(0)), "x_train.npz has no image"),
    "names are numbers": (arrays(classes=[1, 2, 3]), "x_train.npz has classes int64 [3], not texts [K]"),
    "names in a table": (arrays(classes=[PETS]), "x_train.npz has classes <U3 [1, 3], not texts [K]"),
    "too few names": (arrays(classes=PETS[:2]), "label 2, expected 0 to 1"),
    "no name": (arrays(classes=np.array([], "U3")), "x_train.npz has classes <U3 [0], not texts [K]"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_arrays(what: str, tmp_path: Path) -> None:
    change, says = BROKEN[what]
    write(tmp_path)
    change(tmp_path)
    assert says in sentence(get_domain("npz:x", DataSettings()), tmp_path)


@pytest.mark.parametrize("part", [20, 1], ids=["one part", "parts"])
def test_any_damage_to_a_compressed_file_is_found(part: int, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(npz, "CHUNK", part * 3 * 8 * 12)
    write(tmp_path, save=np.savez_compressed)
    content = (tmp_path / "x_train.npz").read_bytes()
    start = content.index(b"images.npy") + 40
    for place in range(start, start + 4000, 97):
        changed = bytearray(content)
        changed[place] ^= 8
        (tmp_path / "x_train.npz").write_bytes(changed)
        sentence(Npz("x"), tmp_path)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (PETS[:2], "label 2, expected 0 to 1"),
        ("pets.txt", "pets.txt is not there"),
        ("two.txt", "label 2, expected 0 to 1"),
    ],
)
def test_declared_names_that_do_not_fit(classes: Names | str, says: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    settings = DataSettings(domains=(Declared("pets", "npz:x", classes),))
    domain = get_domain("pets", settings)
    assert domain.name == "pets"
    assert says in sentence(domain, tmp_path)


def test_errors_name_the_files_of_the_user(tmp_path: Path) -> None:
    assert "expected a/x_train.npz and a/x_test.npz;" in sentence(Npz("a/x"), tmp_path)
    assert "expected a/x/{train,test}/CLASS/IMAGE;" in sentence(Folder("a/x"), tmp_path)


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_a_layout_needs_a_name(kind: str) -> None:
    for name in (kind, f"{kind}:"):
        with pytest.raises(ConfigError, match=f"write {kind}:NAME"):
            get_domain(name, DataSettings())


# folders


def images_of(split: Split) -> dict[str, Image.Image]:
    """By path below the folder of the split."""
    pixels = made(split, 7).images.permute(0, 2, 3, 1).numpy()
    names = ["cat/0.png", "cat/10.png", "cat/9.PNG", "dog/a.png", "fox/deeper/y.bmp", "fox/x.png", "fox/z.tif"]
    return {name: Image.fromarray(image) for name, image in zip(names, pixels, strict=True)}


def draw(root: Path, name: str = "pets") -> None:
    for split in ("train", "test"):
        for path, image in images_of(split).items():
            (root / name / split / path).parent.mkdir(parents=True, exist_ok=True)
            image.save(root / name / split / path)


LABELS = [0, 0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["pets", "deep/er/pets"])
def test_folders_are_classes(name: str, split: Split, tmp_path: Path) -> None:
    draw(tmp_path, name)
    (tmp_path / name / split / "dog" / "notes.txt").write_text("no image")
    (tmp_path / name / split / "notes.txt").write_text("no class")
    assert same(Folder(name).load(split, tmp_path), ImageSet(made(split, 7).images, torch.tensor(LABELS)))
    assert Folder(name).class_names(tmp_path) == PETS


def test_folders_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    draw(tmp_path)
    official, found = ImageFolder(str(tmp_path / "pets" / "train")), Folder("pets").load("train", tmp_path)
    assert tuple(official.classes) == PETS
    expected = {(np.asarray(image).tobytes(), label) for image, label in official}
    ours = {
        (image.permute(1, 2, 0).contiguous().numpy().tobytes(), int(label))
        for image, label in zip(found.images, found.labels, strict=True)
    }
    assert ours == expected
    assert len(ours) == 7
    assert image_files.EXTENSIONS == IMG_EXTENSIONS


def test_the_test_split_may_lack_classes(tmp_path: Path) -> None:
    draw(tmp_path)
    for path in (tmp_path / "pets/test/cat").iterdir():
        path.unlink()
    (tmp_path / "pets/test/dog/a.png").unlink()
    (tmp_path / "pets/test/dog").rmdir()
    assert Folder("pets").load("test", tmp_path).labels.tolist() == [2, 2, 2]


@pytest.mark.parametrize(("images", "sizes"), [(3, [3, 3, 1]), (7, [7]), (0.5, [1] * 7)])
def test_folders_are_read_in_parts(images: float, sizes: list[int], tmp_path: Path, monkeypatch: Patch) -> None:
    draw(tmp_path)
    monkeypatch.setattr(folder, "CHUNK", int(images * 3 * 8 * 12))
    parts = list(Folder("pets").checked("train", tmp_path))
    assert [len(part) for part in parts] == sizes
    assert same(joined(parts), ImageSet(made("train", 7).images, torch.tensor(LABELS)))


def one_image(root: Path, image: Image.Image, name: str = "0.png", **save: Any) -> torch.Tensor:
    for split in ("train", "test"):
        (root / "one" / split / "cat").mkdir(parents=True)
        image.save(root / "one" / split / "cat" / name, **save)
    return Folder("one").load("train", root).images[0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_images_of_any_mode_become_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 4), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 3, 4))
    found = one_image(tmp_path, image.convert(mode), "0.tif" if mode == "CMYK" else "0.png")
    assert found.shape == (3, 4, 6)
    assert found[:, :, :3].unique().tolist() == [0]
    assert found[:, :, 3:].unique().tolist() == [255]


def test_a_palette_with_transparency_becomes_rgb_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    found = one_image(tmp_path, image, transparency=b"\x00\x80")
    assert found[:, 0, 0].tolist() == [10, 20, 30]


def test_images_of_other_sizes_are_cropped_to_their_middle_and_resized(tmp_path: Path) -> None:
    draw(tmp_path)
    wide = Image.new("RGB", (100, 20), (255, 0, 0))
    wide.paste((0, 0, 255), (40, 0, 60, 20))
    wide.save(tmp_path / "pets/test/dog/wide.png")
    high = Image.new("RGB", (400, 600), (255, 0, 0))
    high.paste((0, 255, 0), (0, 100, 400, 500))
    high.save(tmp_path / "pets/test/dog/x_high.png")
    test, train = Folder("pets").load("test", tmp_path), Folder("pets").load("train", tmp_path)
    assert test.images.shape == (9, 3, 256, 256)
    assert train.images.shape == (7, 3, 256, 256), "both splits are treated alike"
    assert test.images[4].flatten(1).unique(dim=1).tolist() == [[0], [0], [255]]
    assert test.images[5].flatten(1).unique(dim=1).tolist() == [[0], [255], [0]]


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    draw(tmp_path)
    Image.fromarray(stripes).save(tmp_path / "pets/train/dog/a.png")
    image = Folder("pets").load("train", tmp_path).images[3, :, :, 4:-4]
    assert int(image.min()) > 100
    assert int(image.max()) < 155


def test_paths_of_a_folder_are_all_images_of_both_splits(tmp_path: Path) -> None:
    assert Folder("pets").paths("train", tmp_path) == []
    draw(tmp_path)
    (tmp_path / "pets/train/cat/notes.txt").touch()
    expected = {tmp_path / "pets" / split / path for split in ("train", "test") for path in images_of("train")}
    for split in ("train", "test"):
        found = Folder("pets").paths(split, tmp_path)
        assert set(found) == expected
        assert len(found) == 14
    assert set(Folder("pets", "names.txt").paths("test", tmp_path)) == expected | {tmp_path / "names.txt"}


def put(path: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda root: (root / path).write_bytes(change((root / path).read_bytes() if (root / path).exists() else b""))


def rename(old: str, new: str) -> Change:
    return lambda root: (root / old).rename(root / new)


def png16() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((8, 12), 40_000, np.uint16)).save(content, "png")
    return content.getvalue()


def bomb() -> bytes:
    content = io.BytesIO()
    Image.new("1", (9000, 9000)).save(content, "png")
    return content.getvalue()


CAT = "pets/train/cat/10.png"
BROKEN_FOLDERS: dict[str, tuple[Change, str]] = {
    "nothing": (rename("pets", "dogs"), "not found"),
    "no training folder": (rename("pets/train", "pets/val"), "not found"),
    "a file": (lambda root: (rename("pets/train", "pets/val")(root), (root / "pets/train").touch()), "not found"),
    "no class": (lambda root: (rename("pets/train", "val")(root), (root / "pets/train").mkdir()), "has no folder of a"),
    "no image": (lambda root: (root / "pets/train/emu").mkdir(), "pets/train/emu has no image"),
    "empty": (put(CAT, lambda content: b""), f"{CAT} cannot be decoded: it is no image"),
    "truncated": (put(CAT, lambda content: content[:150]), f"{CAT} cannot be decoded: "),
    "one bit": (put(CAT, flip), f"{CAT} cannot be decoded: "),
    "a web page": (put(CAT, lambda content: b"<!DOCTYPE html>" * 99), f"{CAT} cannot be decoded: it is no image"),
    "a test image": (
        put("pets/test/dog/a.png", lambda content: b"x"),
        "pets/test/dog/a.png cannot be decoded: it is n",
    ),
    "a bomb": (put(CAT, lambda content: bomb()), f"{CAT} cannot be decoded: it says that it has 9,000x9,000 pixels"),
    "a bomb after others": (
        put("pets/train/dog/zzz.png", lambda content: bomb()),
        "pets/train/dog/zzz.png cannot be decoded: it says that it has 9,000x9,000 pixels",
    ),
    "16 bits": (put(CAT, lambda content: png16()), f"{CAT} cannot be decoded: it has more than 8 bits a channel"),
}


@pytest.mark.parametrize("what", BROKEN_FOLDERS)
def test_broken_folders(what: str, tmp_path: Path) -> None:
    change, says = BROKEN_FOLDERS[what]
    draw(tmp_path)
    change(tmp_path)
    assert says in sentence(get_domain("folder:pets", DataSettings()), tmp_path)


def test_broken_test_folders(tmp_path: Path) -> None:
    draw(tmp_path)
    domain = Folder("pets")
    (tmp_path / "pets/test/emu").mkdir()
    message = sentence(domain, tmp_path, "test")
    assert "pets/test has the class emu, which pets/train has not" in message
    for path in (tmp_path / "pets/test").rglob("*.*"):
        path.unlink()
    (tmp_path / "pets/test/emu").rmdir()
    assert "no image" in sentence(domain, tmp_path, "test")
    (tmp_path / "pets/test").rename(tmp_path / "test")
    assert "not found" in sentence(domain, tmp_path, "test")
    assert len(domain.load("train", tmp_path)) == 7, "the other split does not need it"
    assert "label 2, expected 0 to 1" in sentence(Folder("pets", PETS[:2]), tmp_path)


# in a space


def in_space(name: str, settings: DataSettings, classes: Names = (), space: str = "square", **more: Any) -> Any:
    return DomainInSpace(name, SPACES.component(space, more), settings, classes)


@pytest.mark.parametrize("origin", ["npz:x", "folder:pets"])
def test_declared_names_put_samples_into_a_space(origin: str, tmp_path: Path) -> None:
    write(tmp_path)
    draw(tmp_path)
    settings = DataSettings(root=str(tmp_path), domains=(Declared("mine", origin, ("truck", "", "car")),))
    data = in_space("mine", settings, space="objects")
    own, found = get_domain(origin, settings).load("train", tmp_path), data.images("train")
    places = {0: 8, 2: 1}  # of truck and car among the nine objects
    assert found.labels.tolist() == [places[label] for label in own.labels.tolist() if label != 1]
    assert found.images.shape == (len(found), 3, 32, 32)


def test_a_domain_that_shares_no_class_keeps_its_own(tmp_path: Path) -> None:
    draw(tmp_path)
    data = in_space("folder:pets", DataSettings(root=str(tmp_path)), space="objects")
    assert data.labels == SPACES["objects"].classes, "cat and dog are objects"
    assert data.images("train").labels.tolist() == [3, 3, 3, 5]
    settings = DataSettings(root=str(tmp_path), domains=(Declared("mine", "folder:pets", ("a", "", "c")),))
    data = in_space("mine", settings, space="objects")
    assert data.labels == ("a", "c")
    assert data.images("train").labels.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("origin", ["npz:x", "folder:pets"])
def test_a_changed_file_is_decoded_again(origin: str, tmp_path: Path) -> None:
    write(tmp_path)
    draw(tmp_path)
    data = in_space(origin, DataSettings(root=str(tmp_path)), side=8)
    first, again = load_mapped(data, "train"), load_mapped(data, "train")
    assert first.fingerprint == again.fingerprint
    assert len(list(Path("results/cache").iterdir())) >= 1
    arrays()(tmp_path)
    images_of("test")["dog/a.png"].save(tmp_path / CAT)
    assert load_mapped(data, "train").fingerprint != first.fingerprint


# real files


REAL: list[tuple[str, str, int, int, int, int]] = [
    ("npz:tinyimagenet32", "tinyimagenet_classes.txt", 11_000, 2_000, 32, 200),
    ("npz:cifar10", "", 12_000, 3_000, 32, 10),
    ("npz:tinyimagenet_cifar7", "", 840, 350, 64, 10),
    ("npz:streetchars", "", 4_708, 1_568, 32, 62),
    ("npz:meterdigits", "", 780, 250, 32, 10),
    ("npz:pacs_photo", "", 210, 105, 64, 7),
]


@pytest.mark.data
@pytest.mark.parametrize(("origin", "names", "train", "test", "side", "classes"), REAL)
def test_real_arrays(origin: str, names: str, train: int, test: int, side: int, classes: int, real_data: Path) -> None:
    settings = DataSettings(root=str(real_data), domains=(Declared("real", origin, names or ()),))
    domain = get_domain("real", settings)
    sets = {split: domain.load(split, real_data) for split in ("train", "test")}
    assert {split: len(images) for split, images in sets.items()} == {"train": train, "test": test}
    own = domain.class_names(real_data)
    assert len(own) == classes
    for split, images in sets.items():
        assert images.images.shape[1:] == (3, side, side)
        with np.load(real_data / f"{origin[4:]}_{split}.npz") as arrays:
            assert np.array_equal(images.images.permute(0, 2, 3, 1).numpy(), arrays["images"])
            assert np.array_equal(images.labels.numpy(), arrays["labels"])
    if names:
        assert own[0] == "n01443537\tgoldfish, Carassius auratus"
        assert sets["test"].labels.bincount().tolist() == [10] * 200


@pytest.mark.data
def test_real_characters_in_the_space_of_digits(real_data: Path) -> None:
    data = in_space("npz:streetchars", DataSettings(root=str(real_data)), space="digits")
    assert data.labels == tuple("0123456789")
    assert (len(data.images("train")), len(data.images("test"))) == (335, 111), "letters are left out"


def test_every_layout_is_registered() -> None:
    assert DOMAINS["npz"] is Npz
    assert DOMAINS["folder"] is Folder


def test_a_folder_without_splits_is_a_test_split_alone(tmp_path: Path) -> None:
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for shade in (label, label + 10):
            Image.new("RGB", (8, 8), (shade, shade, shade)).save(tmp_path / "pets" / name / f"{shade}.png")
    domain = Folder("pets")
    read = domain.load("test", tmp_path)
    assert domain.class_names(tmp_path) == ("cat", "dog")
    assert read.labels.tolist() == [0, 0, 1, 1]
    assert read.images[:, 0, 0, 0].tolist() == [0, 10, 1, 11]
    assert len(domain.paths("test", tmp_path)) == 4
    with pytest.raises(DataError, match=r"expected pets/{train,test}/CLASS/IMAGE"):
        domain.load("train", tmp_path)
    (tmp_path / "pets" / "train" / "cat").mkdir(parents=True)  # from now on it is a folder of splits
    with pytest.raises(DataError):
        domain.load("test", tmp_path)
