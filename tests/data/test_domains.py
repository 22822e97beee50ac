"""Real loaders on small files in the official formats, and what every domain promises."""

import bz2
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.contracts.asked import ask, every
from tl_robust.contracts.contract import Contract
from tl_robust.data.domain import DOMAINS, DataSettings, Domain, GenericDomain, Split, get_domain
from tl_robust.data.domains.mnist import Mnist
from tl_robust.data.domains.optdigits import Optdigits
from tl_robust.data.domains.usps import Usps
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.errors import DataError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

IDX = "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"
IMAGES, LABELS = "MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"
GENERIC = [name for name in DOMAINS.names() if issubclass(DOMAINS[name], GenericDomain)]
SETS = [name for name in DOMAINS.names() if name not in GENERIC]  # the others are layouts


def made(side: int, name: str, count: int = 20) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 1, side, side), generator=generator(name), dtype=torch.uint8)
    return ImageSet(pixels, (torch.arange(count) + len(name)) % 10)


def idx(values: Tensor) -> bytes:
    """The idx format: two zero bytes, type 8 (unsigned byte), number of axes, sizes big-endian, bytes."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.numpy().tobytes()


def write_mnist(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = made(28, split)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images.images[:, 0]))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(images.labels.to(torch.uint8)))


def libsvm(images: ImageSet, first_label: int = 1) -> str:
    """Lines ``label 1:value 2:value ...``; pixel p in 0 to 255 is written as the middle of its step in [-1, 1]."""
    rows = ((images.images.flatten(1).double() + 0.5) / 255 * 2 - 1).clamp(-1, 1).tolist()
    return "".join(
        f"{label + first_label} " + " ".join(f"{place}:{value:.5f}" for place, value in enumerate(row, 1)) + "\n"
        for label, row in zip(images.labels.tolist(), rows, strict=True)
    )


def write_usps(root: Path) -> None:
    root.mkdir(parents=True)
    for split, name in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        (root / name).write_bytes(bz2.compress(libsvm(made(16, split)).encode()))


def load(name: str, root: Path, split: Split = "train") -> ImageSet:
    """As a bench loads: through the space, where labels are checked."""
    return DomainInSpace(name, SPACES.component("digits"), DataSettings(root=str(root))).images(split)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("domain", "write", "side"), [(Mnist, write_mnist, 28), (Usps, write_usps, 16)])
def test_pixels_and_labels_are_those_in_the_files(
    domain: type[Domain], write: Callable[[Path], None], side: int, split: Split, tmp_path: Path
) -> None:
    write(tmp_path / "data")
    found, expected = domain().load(split, tmp_path / "data", download=False), made(side, split)
    assert found.images.dtype == torch.uint8
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.labels, expected.labels)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("domain", "write"), [(Mnist, write_mnist), (Usps, write_usps)])
def test_paths_are_the_files_that_are_read(
    domain: type[Domain], write: Callable[[Path], None], split: Split, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    write(root)
    paths = domain().paths(split, root)
    assert len(paths) == {Mnist: 2, Usps: 1}[domain]
    for path in paths:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError, match="not found"):
            domain().load(split, root)
        path.write_bytes(content)
    for path in {path for path in root.rglob("*") if path.is_file()} - set(paths):
        if domain is Usps:  # torchvision looks for all files of MNIST
            path.unlink()
    assert domain().load(split, root).fingerprint


Change = Callable[[Path], Any]


def unlink(name: str) -> Change:
    return lambda root: (root / name).unlink()


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda root: (root / name).write_bytes(change((root / name).read_bytes()))


def retext(change: Callable[[str], str]) -> Change:
    return rewrite("usps.bz2", lambda content: bz2.compress(change(bz2.decompress(content).decode()).encode()))


def pixels(value: str) -> Change:
    line = "1 " + " ".join(f"{place}:{value}" for place in range(1, 257))
    return retext(lambda text: f"{line}\n{text}")


BROKEN = [
    ("mnist", "folder missing", lambda root: None, "not found"),
    ("mnist", "images missing", unlink(IMAGES), "not found"),
    ("mnist", "labels missing", unlink(LABELS), "not found"),
    ("mnist", "truncated", rewrite(IMAGES, lambda b: b[:-100]), "cannot be read"),
    ("mnist", "truncated in the header", rewrite(IMAGES, lambda b: b[:6]), "cannot be read"),
    ("mnist", "empty", rewrite(LABELS, lambda b: b""), "cannot be read"),
    ("mnist", "a web page", rewrite(IMAGES, lambda b: b"<!DOCTYPE html>" * 99), "cannot be read"),
    ("mnist", "the wrong file", lambda root: (root / IMAGES).write_bytes((root / LABELS).read_bytes()), "cannot be"),
    ("mnist", "fewer labels", rewrite(LABELS, lambda b: idx(torch.ones(7, dtype=torch.uint8))), "20 images and 7 lab"),
    ("mnist", "label 10", rewrite(LABELS, lambda b: b[:-1] + b"\x0a"), "label 10"),
    ("usps", "folder missing", lambda root: None, "not found"),
    ("usps", "file missing", unlink("usps.bz2"), "not found"),
    ("usps", "truncated", rewrite("usps.bz2", lambda b: b[:-100]), "cannot be read"),
    ("usps", "empty", rewrite("usps.bz2", lambda b: b""), "cannot be read"),
    ("usps", "no line", retext(lambda text: ""), "no images"),
    ("usps", "garbage", rewrite("usps.bz2", lambda b: b"garbage" * 99), "cannot be read"),
    ("usps", "other text", retext(lambda text: "hello world\n" * 16), "cannot be read"),
    ("usps", "a short line", retext(lambda text: text[:-60] + "\n"), "cannot be read"),
    ("usps", "half lines", retext(lambda text: re.sub(r" 129:.*", "", text)), "images"),
    ("usps", "label 0", retext(lambda text: libsvm(made(16, "train"), 0)), "label"),
    ("usps", "label 11", retext(lambda text: "11" + text[text.index(" ") :]), "label"),
    ("usps", "pixel 3", pixels("3"), r"\[-1, 1\]"),
    ("usps", "pixel nan", pixels("nan"), r"\[-1, 1\]"),
]


@pytest.mark.parametrize(
    ("name", "what", "change", "says"),
    [pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in BROKEN],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_broken_files_give_one_sentence_that_helps(
    name: str, what: str, change: Change, says: str, tmp_path: Path
) -> None:
    root = tmp_path / "sets"
    if what != "folder missing":
        {"mnist": write_mnist, "usps": write_usps}[name](root)
    change(root)
    with pytest.raises(DataError, match=says) as caught:
        load(name, root)
    message = str(caught.value)
    assert message.startswith(name)
    assert "\n" not in message
    assert message.endswith(".")
    assert str(root) in message, "names the folder"
    assert (IDX if name == "mnist" else "usps.bz2 and usps.t.bz2") in message, "names the files"
    todo = "set data.root, or run with data.download=true" if says == "not found" else "replace the damaged file"
    assert todo in message, "says what to do"
    assert "Error: -" not in message, "names a cause"


def test_optdigits_splits_all_images_into_balanced_disjoint_parts() -> None:
    train, test = (Optdigits().load(split, Path("nowhere"), download=False) for split in ("train", "test"))
    assert (len(train), len(test)) == (1197, 600)
    assert test.labels.bincount().tolist() == [60] * 10
    assert train.labels.bincount(minlength=10).min() >= 100
    seen = {image.numpy().tobytes() for image in train.images}
    assert not seen & {image.numpy().tobytes() for image in test.images}
    assert set(train.images.unique().tolist()) == {round(level * 255 / 16) for level in range(17)}


def test_the_split_of_optdigits_never_moves() -> None:
    test = Optdigits().load("test", Path("nowhere"), download=False)
    assert test.fingerprint.startswith("656c3dbf")


@every("domain", keep=lambda *_: False)
def test_every_domain_has_a_data_card_and_class_names(contract: Contract, case: Any) -> None:
    ask(contract, case)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", [*SETS, *(f"{name}:folder/any" for name in GENERIC)])
def test_every_domain_keeps_its_promises_or_says_which_files_it_needs(name: str, split: Split, tmp_path: Path) -> None:
    domain, root, message = get_domain(name, DataSettings()), tmp_path / "none", ""
    try:
        images = domain.load(split, root, download=False)
    except DataError as error:
        message = str(error)
    if message:
        assert re.fullmatch(rf"{name} not found in {root}( \(.* missing\))?: expected .*; .*data\.root.*\.", message)
        assert not root.exists(), "nothing half-written"
        assert name.startswith("folder:") or not all(path.exists() for path in domain.paths(split, root))
        return
    again = domain.load(split, Path("elsewhere"), download=True)
    assert not domain.paths(split, root), "it reads no file, so nothing tells when a cached set is old"
    assert images.images.dtype == torch.uint8
    assert images.images.shape[1] in (1, 3)
    assert images.labels.unique().tolist() == list(range(len(domain.classes)))
    assert images.fingerprint == again.fingerprint


def test_the_domains_of_the_embedded_bench_need_no_files() -> None:
    for name in ("mnist5k", "optdigits", "rendered_syn"):
        assert len(load(name, Path("nowhere"), "test")) >= 500


def test_the_fingerprint_sees_pixels_labels_and_shape() -> None:
    images = made(8, "any")
    other = images.images.clone()
    other[3, 0, 2, 1] ^= 1
    labels = images.labels.clone()
    labels[0] = 7
    wide = ImageSet(images.images.view(20, 1, 4, 16), images.labels)
    prints = {images.fingerprint, ImageSet(other, images.labels).fingerprint, wide.fingerprint}
    prints |= {ImageSet(images.images, labels).fingerprint, images.take(torch.arange(19, -1, -1)).fingerprint}
    assert len(prints) == 5
    assert made(8, "any").fingerprint == images.fingerprint


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "usps"])
def test_real_data_are_light_digits_on_a_dark_ground(name: str, real_data: Path) -> None:
    for split, official in (("train", 60_000), ("test", 10_000)):
        images = DOMAINS[name]().load(split, real_data, download=False)
        print(name, split, list(images.images.shape), images.labels.bincount().tolist())  # noqa: T201
        assert len(images) == official if name == "mnist" else len(images) > 0  # a part of USPS may lie there
        assert images.labels.unique().tolist() == list(range(10))
        low, high = images.images.aminmax()
        assert (int(low), int(high)) == (0, 255)
        corners, middle = images.images[..., 0, 0].float().mean(), images.images[..., 6:-6, 6:-6].float().mean()
        assert corners < 60 < middle
