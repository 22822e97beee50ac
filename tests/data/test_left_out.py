"""What is left out is named: classes, images without a class, limits, hidden files; and nothing else is said."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tl_robust.cli import main
from tl_robust.data import mapped
from tl_robust.data.domain import DataSettings, Declared, Domain, get_domain
from tl_robust.data.left_out import left_out
from tl_robust.data.mapped import check_classes
from tl_robust.data.pair import get_pair
from tl_robust.errors import DataError
from tl_robust.registry import Component

SQUARE = Component("square", 1, (("side", 8),))


def arrays(name: str, labels: list[int], test: list[int] | None = None) -> None:
    Path("data").mkdir(exist_ok=True)
    for split, of in (("train", labels), ("test", labels if test is None else test)):
        images = np.random.default_rng(len(name)).integers(0, 255, (len(of), 8, 8), dtype=np.uint8)
        np.savez(f"data/{name}_{split}.npz", images=images, labels=np.array(of))


def said(first: tuple[str, ...] | None, second: tuple[str, ...] | None, **settings: object) -> list[str]:
    domains = (Declared("a", "npz:a", first or ()), Declared("b", "npz:b", second or ()))
    found = DataSettings("data", domains=domains, **settings)  # type: ignore[arg-type]
    pair = get_pair("a-b", SQUARE, found)(found)
    return left_out([pair.side("source"), pair.side("target")])


def test_a_full_match_says_nothing() -> None:
    arrays("a", [0, 1, 2] * 4)
    arrays("b", [2, 0, 1] * 4)
    for _ in range(2):
        assert said(("cat", "dog", "fox"), ("dog", "cat", "fox")) == []


@pytest.mark.parametrize("cache", ["", "cache"])
def test_classes_and_images_that_are_not_used_are_counted(cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays("a", [0, 0, 1, 1, 2, 3] * 2, [0, 1, 1, 2])
    arrays("b", [0, 1, 2] * 3, [0, 1, 0])
    names = ("cat", "dog", "emu", ""), ("dog", "cat", "owl")
    expected = [
        "a: 1 of its 3 classes are not used (emu; 2 training and 1 test images).",
        "a: images without a class are not used (labels without a name; 2 training and 0 test images).",
        "b: 1 of its 3 classes are not used (owl; 3 training and 0 test images).",
    ]
    assert said(*names, cache=cache) == expected
    if cache:
        for kept in (mapped._labels, mapped._limited, mapped._taken, mapped._own_counts):
            kept.clear() if isinstance(kept, dict) else kept.cache_clear()
        monkeypatch.setattr(Domain, "checked", lambda *_: pytest.fail("it is decoded again"))
        assert said(*names, cache=cache) == expected, "the counts are in the cache"


def test_limits_and_classes_without_an_image() -> None:
    arrays("a", [0, 1, 2] * 4, [0, 1] * 4)
    arrays("b", [0, 1, 2] * 4)
    assert said(("cat", "dog", "fox"), ("cat", "dog", "fox"), train_limit=6) == [
        "a: data.train_limit uses 6 of 12 images.",
        "a: no test image has the class fox.",
        "b: data.train_limit uses 6 of 12 images.",
    ]


# one class


@pytest.mark.parametrize(
    ("labels", "limit", "says"),
    [
        ([0] * 9, 0, "a: all 9 train images are of one class ('0'): at least two classes are needed"),
        ([0] * 8 + [1], 2, "a: all 2 train images that are used are of one class ('0')"),
    ],
)
def test_one_class_is_refused(labels: list[int], limit: int, says: str) -> None:
    arrays("a", labels)
    arrays("b", [0, 1] * 4)
    settings = DataSettings("data", domains=(Declared("a", "npz:a"), Declared("b", "npz:b")), train_limit=limit)
    pair = get_pair("a-b", Component("square", 1, (("classes", "0,1"), ("side", 8))), settings)(settings)
    with pytest.raises(DataError) as caught:
        check_classes(pair.side("source"))
    assert says in str(caught.value)
    check_classes(pair.side("target"))


BENCH = """
name: tiny
eps: [0, 8/255]
space: {name: square, side: 8, classes: "0,1"}
axes: {pair: ["npz:a-npz:b"], network: [{name: dtn, width: 0.05}], strategy: [scratch], attack: [fgsm], view: [black]}
data: {root: data}
recipe: {epochs: 1, batch_size: 8}
trainer: {accelerator: cpu}
workers: 1
"""


@pytest.mark.parametrize("command", [["plan", "b.yaml"], ["run", "b.yaml"], ["check-pair", "a-b", "--bench", "b.yaml"]])
@pytest.mark.parametrize("split", ["train", "test"])
def test_commands_refuse_one_class_at_once(command: list[str], split: str, capsys: pytest.CaptureFixture[str]) -> None:
    arrays("a", [0, 1] * 8)
    arrays("b", [1] * 9 if split == "train" else [0, 1] * 4, [0, 1] * 4 if split == "train" else [1] * 9)
    Path("b.yaml").write_text(BENCH.replace("npz:a-npz:b", "a-b") + "domains: {a: npz:a, b: npz:b}\n")
    assert main(command) == 2
    assert f"b: all 9 {split} images are of one class ('1')" in capsys.readouterr().err
    assert not Path("results/tiny").exists()


def test_plan_check_pair_run_and_report_name_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    arrays("a", [0, 1, 2] * 8)
    arrays("b", [0, 1] * 10)
    Path("b.yaml").write_text(BENCH)
    sentence = "Left out: npz:a: 1 of its 3 classes are not used (2; 8 training and 8 test images)."
    for command in (
        ["plan", "b.yaml"],
        ["check-pair", "npz:a-npz:b", "--bench", "b.yaml"],
        ["run", "b.yaml", "--plain"],
    ):
        main(command)
        assert capsys.readouterr().out.count(sentence) == 1, command


def test_a_set_too_small_for_a_validation_part_is_told_by_plan(capsys: pytest.CaptureFixture[str]) -> None:
    arrays("a", [0, 1] * 8)
    arrays("b", [0, 1])
    Path("b.yaml").write_text(BENCH)
    assert main(["plan", "b.yaml"]) == 2
    assert "2 training images are too few to hold out 10% of each class" in capsys.readouterr().err


# folders


def image(path: str, of: int = 0) -> Path:
    place = Path("data/s") / path
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(of).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
    return place


@pytest.fixture
def pets() -> Domain:
    """Two classes with three images each in both splits."""
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            for count in range(3):
                image(f"{split}/{kind}/{count}.png", count)
    return get_domain("folder:s", DataSettings(root="data"))


HIDDEN = [
    ".ipynb_checkpoints",
    "__MACOSX",
    "@eaDir",
    ".thumbnails",
    "lost+found",
    "#recycle",
    "$RECYCLE.BIN",
    ".Trashes",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_folders_are_neither_classes_nor_images(name: str, pets: Domain) -> None:
    image(f"train/{name}/cat/0.png")
    image(f"train/cat/{name}/0.png")
    image(f"test/cat/deep/{name}/deep/0.png")
    root = Path("data")
    assert pets.class_names(root) == ("cat", "dog")
    assert [len(pets.load(split, root)) for split in ("train", "test")] == [6, 6]  # type: ignore[arg-type]
    assert len(pets.paths("train", root)) == 12
    assert list(pets.passed_over("train", root)) == [
        f"hidden or system folders and files of train are passed over (2: {name})"
    ]


def test_files_that_are_no_images_are_named_where_they_look_like_some(pets: Domain) -> None:
    image("train/cat/._0.png")
    image("train/loose.png")
    for name in ("a.gif", "b.heic", "c.gif", ".DS_Store", "Thumbs.db", "notes.txt"):
        Path("data/s/train/dog", name).touch()
    assert len(pets.load("train", Path("data"))) == 6
    assert list(pets.passed_over("train", Path("data"))) == [
        "1 train images lie in no folder of a class and are passed over",
        "hidden or system folders and files of train are passed over (1: ._0.png)",
        "train files of kinds that are not read are passed over (2 .gif, 1 .heic)",
    ]
    assert list(pets.passed_over("test", Path("data"))) == []


def test_each_real_file_counts_once_and_loops_end(pets: Domain) -> None:
    top = Path("data/s/train/cat").resolve()
    outside = image("../elsewhere/new.png", 9).resolve()
    for name in ("x", "y"):
        (top / name).symlink_to(top)  # 2 to the power of 40 paths
    (top / "a.png").symlink_to(top / "0.png")
    (top / "b.png").symlink_to(outside)
    (top / "c.png").symlink_to(outside)
    (top / "d.png").symlink_to(top / "nowhere.png")
    (top / "e.png").symlink_to(top / "e.png")
    (top / "f").symlink_to(outside.parent)
    paths = [path.name for path in pets.paths("train", Path("data")) if "train/cat" in path.as_posix()]
    assert paths == ["0.png", "1.png", "2.png", "new.png"]
    assert len(pets.load("train", Path("data"))) == 7
    (over,) = pets.passed_over("train", Path("data"))
    assert over == "links of train to what is there already, or to nothing, are passed over (7)"


def test_a_class_may_be_a_link_and_a_file_in_two_classes_is_named(pets: Domain) -> None:
    outside = image("../elsewhere/0.png", 9).resolve().parent
    Path("data/s/train/emu").symlink_to(outside)
    Path("data/s/train/dog/same.png").symlink_to(outside / "0.png")
    assert pets.class_names(Path("data")) == ("cat", "dog", "emu")
    assert len(pets.load("train", Path("data"))) == 8
    (over,) = pets.passed_over("train", Path("data"))
    assert over == "1 train images count in two classes, by links (first 0.png in dog and emu)"


def test_pipes_and_sockets_are_never_opened(pets: Domain) -> None:
    os.mkfifo("data/s/train/cat/pipe.png")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("data/s/train/cat/end.png")
        Path("data/s/train/cat/null.png").symlink_to("/dev/zero")
        assert len(pets.load("train", Path("data"))) == 6


def test_a_folder_that_cannot_be_read_is_one_sentence(pets: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"the folder data/s/train/dog cannot be read \(Permission denied\)"):
        pets.load("train", Path("data"))


# names


def test_names_are_compared_as_letters(pets: Domain) -> None:
    image("train/caf\u00e9/0.png")
    image("test/cafe\u0301/0.png")
    assert pets.class_names(Path("data")) == ("caf\u00e9", "cat", "dog")
    assert len(pets.load("test", Path("data"))) == 7
    image("train/cafe\u0301/0.png")
    with pytest.raises(DataError, match=r"has 'caf\u00e9' for the labels"):
        pets.class_names(Path("data"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_of_names_of_any_editor(encoding: str, end: str) -> None:
    arrays("a", [0, 1, 2] * 2)
    Path("data/a_classes.txt").write_bytes(end.join(["caf\u00e9 ", "dog", "\tfox\u200b", ""]).encode(encoding))
    found = get_domain("npz:a", DataSettings()).class_names(Path("data"))
    assert found == ("caf\u00e9", "dog", "fox")


@pytest.mark.parametrize("names", [["cat", "\ufeffdog", "cat "], ["e\u0301", "x", "\u00e9"], ["a", "b\x1b[2J", "c"]])
def test_names_that_are_one_or_cannot_be_shown_are_refused(names: list[str]) -> None:
    arrays("a", [0, 1, 2] * 2)
    for split in ("train", "test"):
        with np.load(f"data/a_{split}.npz") as content:
            np.savez(f"data/a_{split}.npz", **content, classes=np.array(names))
    with pytest.raises(DataError, match=r"for the labels 0 and 2|for label 1, with a character") as caught:
        get_domain("npz:a", DataSettings()).class_names(Path("data"))
    assert "\x1b" not in str(caught.value)
