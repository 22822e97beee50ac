"""A domain in a space: labels, limits, shares, stratified subsets and the cache of decoded sets."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tl_robust.data import mapped as module
from tl_robust.data.domain import DOMAINS, DataSettings, Declared, Split
from tl_robust.data.mapped import (
    DomainInSpace,
    _labels,
    _limited,
    _taken,
    load_mapped,
)
from tl_robust.data.space import SPACES, Names
from tl_robust.data.splits import rank_in_class, split_validation, stratified
from tl_robust.errors import ConfigError, DataError, ResultsError
from tl_robust.registry import load_plugins
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

ROOT = Path(__file__).parents[2]
PETS = ("cat", "dog", "fox")
SQUARE = SPACES.component("square", {"side": 8, "classes": "own"})
UNEVEN = [0] * 60 + [1] * 30 + [2] * 9 + [4] * 1  # no image of class 3


def made(labels: list[int] | Tensor, of: object = 0) -> ImageSet:
    labels = torch.as_tensor(labels)
    pixels = torch.randint(0, 256, (len(labels), 3, 8, 8), generator=generator("mapped", of), dtype=torch.uint8)
    return ImageSet(pixels, labels)


def shuffled(labels: list[int]) -> Tensor:
    return torch.tensor(labels)[torch.randperm(len(labels), generator=generator("order"))]


def same(one: ImageSet, other: ImageSet) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def write(name: str, labels: list[int], root: Path = Path("data"), **more: object) -> None:
    root.mkdir(exist_ok=True)
    for split in ("train", "test"):
        images = made(labels, (name, split))
        pixels = images.images.permute(0, 2, 3, 1).numpy()
        np.savez(root / f"{name}_{split}.npz", images=pixels, labels=images.labels.numpy(), **more)  # type: ignore[arg-type]


def forget() -> None:
    for kept in (_labels, _limited, _taken):
        kept.cache_clear()


# subsets


def naive_rank(labels: Tensor, order: Tensor) -> tuple[list[float], list[float]]:
    seen: dict[int, int] = {}
    rank = [0.0] * len(labels)
    for place in order.tolist():
        label = int(labels[place])
        rank[place] = seen.get(label, 0)
        seen[label] = seen.get(label, 0) + 1
    return rank, [float(seen[label]) for label in labels.tolist()]


@pytest.mark.parametrize("labels", [[0], [3, 3, 3], [2, 0, 2, 1], UNEVEN, list(range(50)) * 3])
def test_the_rank_in_a_class_is_that_of_a_loop(labels: list[int]) -> None:
    for seed in range(5):
        order = torch.randperm(len(labels), generator=generator("rank", seed))
        rank, size = rank_in_class(torch.tensor(labels), order)
        assert (rank.tolist(), size.tolist()) == naive_rank(torch.tensor(labels), order)
        assert rank.dtype == size.dtype == torch.float64


@pytest.mark.parametrize("labels", [list(range(10)) * 20, UNEVEN, [0] * 40 + [1] * 3])
def test_a_subset_lies_in_each_larger_one_in_order_with_the_same_shares(labels: list[int]) -> None:
    images = made(shuffled(labels))
    number = {image.numpy().tobytes(): place for place, image in enumerate(images.images)}
    assert len(number) == len(labels)
    before: set[int] = set()
    counts = images.labels.bincount().double()
    for count in range(1, len(labels) + 1):
        chosen = stratified(images, count, "pets", "train")
        places = [number[image.numpy().tobytes()] for image in chosen.images]
        assert len(places) == count
        assert places == sorted(places)
        assert torch.equal(chosen.labels, images.labels[places])
        assert before < set(places), "one more"
        before = set(places)
        share = chosen.labels.bincount(minlength=len(counts)) - counts * count / len(labels)
        assert share.abs().max() < 1, "no class has a whole image too many or too few"


def test_a_subset_depends_on_name_split_and_labels_alone() -> None:
    labels = shuffled(list(range(5)) * 20)

    def chosen(images: ImageSet, count: int = 20, name: str = "pets", split: Split = "train") -> set[int]:
        numbered = ImageSet(torch.arange(100, dtype=torch.uint8).view(-1, 1, 1, 1), images.labels)
        return set(stratified(numbered, count, name, split).images.flatten().tolist())

    first = chosen(made(labels))
    torch.manual_seed(7)
    assert chosen(made(labels, "other pixels")) == first
    assert chosen(made(4 - labels)) == first, "classes in another order"
    assert chosen(made(labels), name="photos") != first
    assert chosen(made(labels), split="test") != first
    assert chosen(made(labels.flip(0))) != first
    assert sorted(first)[:10] == [2, 10, 14, 16, 22, 33, 36, 44, 49, 53], "it never moves"


def naive_split(images: ImageSet, share: float) -> tuple[list[int], list[int]]:
    order = torch.randperm(len(images), generator=generator("validation", images.fingerprint)).tolist()
    held = []
    for label in set(images.labels.tolist()):
        own = [place for place in order if images.labels[place] == label]
        held += own[: max(round(share * len(own)), min(1, len(own) - 1))]
    return sorted(set(range(len(images))) - set(held)), sorted(held)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("labels", [list(range(10)) * 50, UNEVEN, [0] * 55 + [1] * 5 + [2]])
def test_the_validation_part_is_that_of_a_loop_over_classes(labels: list[int], share: float) -> None:
    images = made(shuffled(labels))
    learn, held = split_validation(images, share)
    assert (learn.tolist(), held.tolist()) == naive_split(images, share)
    assert learn.dtype == held.dtype == torch.int64


# limits and shares


def data(name: str = "npz:x", share: float = 1.0, classes: Names = (), **settings: object) -> DomainInSpace:
    settings = {"cache": ""} | settings
    return DomainInSpace(name, SQUARE, DataSettings(**settings), classes, share)  # type: ignore[arg-type]


def test_a_share_is_a_part_or_a_number_of_the_training_images() -> None:
    write("x", list(range(5)) * 20)
    whole = data().images("train")
    assert len(whole) == 100
    for share, count in ((0.1, 10), (0.299, 30), (1.0, 100), (2, 2), (37, 37), (100, 100)):
        found = data(share=share)
        assert same(found.images("train"), stratified(whole, count, "npz:x", "train"))
        assert same(found.images("test"), data().images("test")), "all of the test split"
        assert found.labels == tuple("01234")
    assert data(share=0.3).images("train") is data(share=0.3).images("train"), "kept"
    assert data(share=100).images("train") is whole, "not copied"


@pytest.mark.parametrize(("share", "asked"), [(101, 101), (5000, 5000), (0.001, 0)])
def test_a_share_that_is_not_there_is_one_sentence(share: float, asked: int) -> None:
    write("x", list(range(5)) * 20)
    with pytest.raises(DataError, match=rf"^target_images asks for {asked}, but npz:x has 100 training images\.$"):
        data(share=share).images("train")
    assert len(data(share=share).images("test")) == 100


def test_a_share_is_one_of_the_limited_images() -> None:
    write("x", list(range(5)) * 20)
    limited = data(train_limit=50).images("train")
    assert same(limited, stratified(data().images("train"), 50, "npz:x", "train"))
    assert same(data(share=0.5, train_limit=50).images("train"), stratified(limited, 25, "npz:x", "train"))
    assert data(share=50, train_limit=50).images("train") is limited
    assert len(data(share=0.5, train_limit=5000).images("train")) == 50
    with pytest.raises(DataError, match="asks for 60, but npz:x has 50 training images"):
        data(share=60, train_limit=50).images("train")
    found = data(share=0.5, test_limit=20)
    assert (len(found.images("train")), len(found.images("test"))) == (50, 20)


# labels


def declared(classes: Names, pair: Names = (), name: str = "pets") -> DomainInSpace:
    return data(name, classes=pair, domains=(Declared(name, "npz:x", classes),))


def test_an_empty_name_is_no_class() -> None:
    write("x", list(range(5)) * 4)
    found = declared(("cat", "", "dog", "", "cow"))
    assert found.labels == ("cat", "dog", "cow")
    raw = data().images("train")
    keep = torch.isin(raw.labels, torch.tensor([0, 2, 4]))
    assert same(found.images("train"), ImageSet(raw.images[keep], raw.labels[keep] // 2))


def test_a_domain_has_the_labels_of_its_pair_if_it_has_one_of_them() -> None:
    write("x", list(range(5)) * 4)
    raw = data().images("train")
    found = declared(("cat", "", "dog", "", "cow"), ("dog", "emu", "cat"))
    assert found.labels == ("dog", "emu", "cat")
    keep = torch.isin(raw.labels, torch.tensor([0, 2]))
    assert same(found.images("train"), ImageSet(raw.images[keep], 2 - raw.labels[keep]))
    other = declared(("cat", "", "dog", "", "cow"), ("emu", "ape"))
    assert other.labels == ("cat", "dog", "cow"), "it shares none: its own"
    assert same(other.images("train"), declared(("cat", "", "dog", "", "cow")).images("train"))
    assert declared(("cat", "", "dog", "", "cow"), ("", "ape")).labels == ("cat", "dog", "cow"), "'' is not shared"


@pytest.mark.parametrize("rule", ["own", "auto", "shared"])
def test_a_class_may_be_named_as_a_rule_of_the_square(rule: str) -> None:
    write("x", [0, 1, 2] * 3)
    space = SPACES.component("square", {"side": 8, "classes": rule})
    settings = DataSettings(cache="", domains=(Declared("pets", "npz:x", ("auto", "own", "shared")),))
    found = DomainInSpace("pets", space, settings)
    assert found.labels == ("auto", "own", "shared")
    assert len(found.images("train")) == 9


def test_no_class_at_all_and_no_image_of_any_are_errors() -> None:
    write("x", [0, 1] * 3)
    with pytest.raises(DataError, match=r"^pets has no train image of the classes that have a name: it has none\.$"):
        declared(("", "")).images("train")
    with pytest.raises(DataError, match=r"^pets has no test image of the classes cow\.$"):
        declared(("", "", "cow")).images("test")
    many = tuple(f"kind {number}" for number in range(99))
    with pytest.raises(DataError, match=r"^pets has no test image of the classes kind 0, .*, kind 6, \.\.\.\.$"):
        declared(("", "", *many)).images("test")


# the cache

COUNTED = '''
import numpy as np
import torch
from pathlib import Path
from tl_robust.data.domain import DOMAINS, Domain
from tl_robust.types import ImageSet

def note(name, split):
    with Path(name).open("a") as file:
        file.write(split + " ")

@DOMAINS.register
class Counted(Domain):
    """Notes in a file how often it is read; made for tests."""

    classes = ("cat", "dog", "fox")
    files = "counted_{train,test}.bin"

    def paths(self, split, root):
        return [root / f"counted_{split}.bin"]

    def read(self, split, root, download):
        path = root / f"counted_{split}.bin"
        if download and not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(range(192)) * 6)
            note("fetched", split)
        pixels = torch.from_numpy(np.fromfile(path, np.uint8).reshape(-1, 3, 8, 8).copy())
        note("reads", split)
        return ImageSet(pixels, torch.arange(len(pixels)) % 3)
'''
HERE = Path(__file__)


@pytest.fixture
def counted() -> Path:
    """The source file of a domain that notes how often it is read; its files are in ``data``."""
    folder = Path("plugins").resolve()
    folder.mkdir()
    (folder / "counted.py").write_text(COUNTED)
    load_plugins(folder)
    Path("data").mkdir()
    for split in ("train", "test"):
        Path(f"data/counted_{split}.bin").write_bytes(np.random.default_rng(0).bytes(192 * 6))
    return folder / "counted.py"


def reads(name: str = "reads") -> list[str]:
    """What was read since the last call."""
    path = Path(name)
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def kept(classes: Names = PETS, cache: str = "cache", **settings: object) -> DomainInSpace:
    return data("counted", classes=classes, cache=cache, **settings)


def entries() -> int:
    return len([path for path in Path("cache").glob("*") if path.is_dir()])


def test_a_set_is_decoded_once(counted: Path) -> None:
    first = load_mapped(kept(), "train")
    assert reads() == ["train"]
    assert same(load_mapped(kept(), "train"), first)
    assert same(load_mapped(kept(train_limit=3), "train"), first), "limits come after the cache"
    forget()
    assert same(kept().images("train"), first)
    assert reads() == []
    assert same(load_mapped(kept(cache=""), "train"), first)
    assert reads() == ["train"]
    load_mapped(kept(), "test")
    assert reads() == ["test"]
    assert entries() == 2


def test_another_process_does_not_read_it_again(counted: Path) -> None:
    print_it = (
        "from pathlib import Path; from tl_robust.registry import load_plugins; load_plugins(Path('plugins'))\n"
        "from tests.data.test_mapped import kept; print(kept().images('train').fingerprint)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", print_it]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    assert reads() == ["train"]
    assert kept().images("train").fingerprint == found.strip()
    assert reads() == []


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000))


def grow(path: Path) -> None:
    stat = path.stat()
    path.write_bytes(path.read_bytes() + bytes(192))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def exchange(path: Path) -> None:
    """Another file of the same size and time of writing."""
    stat, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


@pytest.mark.parametrize(
    "change",
    [
        lambda source: exchange(Path("data/counted_train.bin")),
        lambda source: touch(Path("data/counted_train.bin")),
        lambda source: grow(Path("data/counted_train.bin")),
        lambda source: source.write_text(COUNTED + "# another reader\n"),
    ],
    ids=["another file", "time", "size", "source code"],
)
def test_what_changed_is_read_again(counted: Path, change: Callable[[Path], object]) -> None:
    load_mapped(kept(), "train")
    reads()
    change(counted)
    load_mapped(kept(), "train")
    assert reads() == ["train"]
    load_mapped(kept(), "train")
    assert reads() == []


@pytest.mark.parametrize("place", [0, 700, -1])
def test_a_stamp_sees_content_where_times_stand_still(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that keeps no time of change; of a large file its first and last bytes."""
    monkeypatch.setattr(module, "ENDS", 500)
    path, content = Path("some.bin"), bytearray(1200)
    path.write_bytes(content)
    before = module.stamps([path])[0]
    content[place] = 1
    path.write_bytes(content)
    after = module.stamps([path])[0]
    assert before[:2] == after[:2]
    assert before[3] != after[3], "the time of change"
    assert before[4] != after[4], "the content"
    assert [one[4] for one in module.stamps([path] * 65)] == [""] * 65, "not of many files"


def test_the_other_split_does_not_matter(counted: Path) -> None:
    load_mapped(kept(), "train")
    reads()
    touch(Path("data/counted_test.bin"))
    load_mapped(kept(), "train")
    assert reads() == []


def test_the_splits_are_two_entries_where_the_same_files_decide_about_both() -> None:
    for split, gray in (("train", 50), ("test", 200)):
        Path(f"data/pets/{split}/cat").mkdir(parents=True)
        Image.new("RGB", (8, 8), (gray, gray, gray)).save(f"data/pets/{split}/cat/0.png")
    found = data("folder:pets", cache="cache")
    assert [int(load_mapped(found, split).images.max()) for split in ("train", "test")] == [50, 200]
    assert entries() == 2


def test_another_space_or_other_labels_are_another_entry(counted: Path) -> None:
    first = load_mapped(kept(), "train")
    flipped = load_mapped(kept(("fox", "dog", "cat")), "train")
    assert torch.equal(flipped.labels, 2 - first.labels)
    fewer = load_mapped(kept(("fox", "cow")), "train")
    assert len(fewer) == 2
    wide = DomainInSpace("counted", SPACES.component("square", {"side": 16}), DataSettings(cache="cache"), PETS)
    assert load_mapped(wide, "train").images.shape == (6, 3, 16, 16)
    assert reads() == ["train"] * 4
    assert entries() == 4
    assert same(load_mapped(kept(), "train"), first)
    assert reads() == []


def test_other_names_of_a_declared_domain_are_another_entry() -> None:
    write("x", [0, 0, 0, 1])

    def counts(names: Names) -> list[int]:
        settings = DataSettings(cache="cache", domains=(Declared("pets", "npz:x", names),))
        return DomainInSpace("pets", SQUARE, settings, ("cat", "dog")).images("train").labels.bincount().tolist()

    assert counts(("cat", "dog")) == [3, 1]
    assert counts(("dog", "cat")) == [1, 3], "the labels are the same, what they stand for is not"
    assert counts(("cat", "dog")) == [3, 1]
    assert entries() == 2


def test_a_changed_file_of_names_is_another_entry() -> None:
    write("x", [0, 0, 0, 1])
    settings = DataSettings(cache="cache", domains=(Declared("pets", "npz:x", "names.txt"),))
    found = DomainInSpace("pets", SQUARE, settings, ("cat", "dog"))
    for text, expected in (("cat\ndog\n", [3, 1]), ("dog\ncat\n", [1, 3])):
        Path("data/names.txt").write_text(text)
        forget()
        assert found.images("train").labels.bincount().tolist() == expected


def test_without_a_folder_nothing_is_written(counted: Path) -> None:
    before = {path for path in Path().rglob("*") if path.suffix != ".pyc"}
    for _ in range(2):
        load_mapped(kept(cache=""), "train")
    assert reads() == ["train", "train"]
    assert {path for path in Path().rglob("*") if path.suffix != ".pyc"} == before


def test_a_domain_without_files_is_not_kept() -> None:
    made_ones = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(cache="cache"))
    assert len(made_ones.images("train")) == 1197
    assert not Path("cache").exists()


def test_a_cache_that_cannot_be_written_is_one_sentence(counted: Path) -> None:
    Path("file").touch()
    with pytest.raises(ResultsError, match=r"^cannot write file/.*set data\.cache to a writable folder\.$"):
        kept(cache="file").images("train")


def test_a_missing_file_is_one_sentence_or_is_fetched_once(counted: Path) -> None:
    Path("data/counted_train.bin").unlink()
    with pytest.raises(DataError, match=r"^counted not found in data: expected counted_\{train,test\}\.bin; set data"):
        load_mapped(kept(), "train")
    assert not Path("cache").exists()
    first = load_mapped(kept(download=True), "train")
    assert reads("fetched") == ["train"]
    assert first.images[0].flatten().tolist() == list(range(192))
    assert entries() == 1, "kept after it was fetched"
    reads()
    assert same(load_mapped(kept(download=True), "train"), first)
    assert same(load_mapped(kept(), "train"), first)
    assert (reads(), reads("fetched")) == ([], [])


def test_one_missing_file_of_two_is_fetched(counted: Path) -> None:
    text = COUNTED.replace(
        'return [root / f"counted_{split}.bin"]',
        'return [root / "counted_notes.txt", root / f"counted_{split}.bin"]',
    )
    assert text != COUNTED
    counted.with_name("double.py").write_text(text)
    load_plugins(counted.parent)
    Path("data/counted_notes.txt").write_text("there")
    Path("data/counted_train.bin").unlink()
    found = DomainInSpace("double", SQUARE, DataSettings(cache="cache", download=True), PETS)
    assert len(found.images("train")) == 6
    assert reads("fetched") == ["train"]
    assert entries() == 1, "kept, since all files are there now"


def test_names_that_stand_in_files_are_fetched_too(counted: Path) -> None:
    text = COUNTED.replace(
        '    classes = ("cat", "dog", "fox")\n',
        "    def names(self, root):\n"
        '        assert (root / "counted_train.bin").stat().st_size\n        return ("cat", "dog", "fox")\n',
    )
    assert text != COUNTED
    counted.with_name("named.py").write_text(text.replace("counted_", "named_"))
    load_plugins(counted.parent)
    assert "named" in DOMAINS
    missing = DomainInSpace("named", SQUARE, DataSettings(cache="cache"))
    with pytest.raises(DataError, match="named not found in data"):
        _ = missing.labels
    found = DomainInSpace("named", SQUARE, DataSettings(cache="cache", download=True))
    assert found.labels == PETS
    assert len(found.images("train")) == 6


def test_a_domain_that_is_not_there_is_no_domain_in_a_space() -> None:
    with pytest.raises(ConfigError, match="unknown domain 'nothing'"):
        _ = data("nothing").labels
