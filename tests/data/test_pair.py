"""Pairs, limits, the validation split, batches and the sheet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from tl_robust.cli import main
from tl_robust.data.check import Line, check_pair
from tl_robust.data.domain import DOMAINS, DataSettings, Declared
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.pair import PAIRS, DomainModule, DomainPair, get_pair, split_pair
from tl_robust.data.space import SPACES
from tl_robust.data.splits import split_validation
from tl_robust.errors import ConfigError, DataError, UnknownNameError
from tl_robust.registry import load_plugins
from tl_robust.seeding import generator
from tl_robust.types import ImageSet, Recipe

OPTDIGITS = DomainInSpace("optdigits", SPACES.component("digits"))


def made(count: int, classes: int = 10) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 1, 4, 4), generator=generator("made", count), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(count) % classes)


# pairs


def test_any_two_domains_are_a_pair() -> None:
    pair = get_pair("rendered_syn-optdigits", "digits")
    assert (pair.source, pair.target, pair.space) == ("rendered_syn", "optdigits", "digits")
    made_pair = pair(DataSettings(test_limit=30), Recipe(batch_size=7), seed=3)
    assert (
        made_pair.data
        == made_pair.side("target")
        == DomainInSpace(
            "optdigits", SPACES.component("digits"), DataSettings("data", test_limit=30), tuple("0123456789")
        )
    )
    source = made_pair.module("source")
    assert source.data.domain == "rendered_syn"
    assert (source.recipe.batch_size, source.seed) == (7, 3)
    assert torch.equal(torch.cat([ids for _, _, ids in made_pair.test_dataloader()]), torch.arange(30))


def test_a_registered_pair_comes_before_a_generic_one_and_may_override(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "print_digits.py").write_text(
        "from tl_robust.data.pair import PAIRS, DomainPair\n"
        "@PAIRS.register\n"
        "class PrintDigits(DomainPair):\n"
        "    source, target, space = 'rendered_print', 'optdigits', 'digits'\n"
        "    def side(self, role):\n"
        "        return super().side('target')\n"
    )
    with pytest.raises(UnknownNameError):
        get_pair("print_digits", "digits")
    load_plugins(folder)
    pair = get_pair("print_digits", "another space")
    assert pair is PAIRS["print_digits"]
    assert pair.space == "digits"
    assert pair().side("source").domain == "optdigits"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("optdigitz", r"unknown pair .*'optdigitz'; did you mean 'optdigits'\?"),
        ("mnits-usps", r"unknown domain 'mnits'; did you mean 'mnist'\? Known: .*mnist, "),
        ("mnist-upsp", r"unknown domain 'upsp'; did you mean 'usps'\?"),
        ("mnist-", "unknown domain ''"),
        ("mnist-usps-mnist", r"unknown domain 'usps-mnist'; did you mean"),
    ],
)
def test_an_unknown_name_shows_the_closest(name: str, says: str) -> None:
    with pytest.raises(UnknownNameError, match=says):
        get_pair(name, "digits")


def test_a_domain_is_no_pair_with_itself() -> None:
    with pytest.raises(ConfigError, match=r"^pair 'usps-usps' has the same domain twice"):
        get_pair("usps-usps", "digits")


KNOWN = ["mnist", "usps", "npz", "folder", "rendered_syn", "photos", "checkpoint:net", "checkpoint:my-net"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("mnist-usps", ("mnist", "usps")),
        ("npz:a-npz:b", ("npz:a", "npz:b")),
        ("npz:a-b-npz:c", ("npz:a-b", "npz:c")),
        ("npz:a-npz:b-c", ("npz:a", "npz:b-c")),
        ("npz:a-b-c-folder:d-e/f-g", ("npz:a-b-c", "folder:d-e/f-g")),
        ("npz:a-b-mnist", ("npz:a-b", "mnist")),
        ("mnist-npz:a-b", ("mnist", "npz:a-b")),
        ("npz:a-mnist-usps", ("npz:a-mnist", "usps")),
        ("npz:usps-mnist-npz:c", ("npz:usps-mnist", "npz:c")),
        ("npz:-x-npz:c", ("npz:-x", "npz:c")),
        ("npz:a:b-npz:c", ("npz:a:b", "npz:c")),
        ("photos-folder:photos", ("photos", "folder:photos")),
        ("checkpoint:net-mnist", ("checkpoint:net", "mnist")),
        ("checkpoint:my-net-npz:a-b", ("checkpoint:my-net", "npz:a-b")),
        ("checkpoint:other-mnist", ("checkpoint:other", "mnist")),
        ("nzp:a-npz:b", ("nzp:a", "npz:b")),
    ],
)
def test_source_and_target_may_have_dashes_and_colons(name: str, parts: tuple[str, str]) -> None:
    assert split_pair(name, KNOWN) == parts


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("npz:a", r"unknown pair \(a registered one, or source-target\) 'npz:a'"),
        ("npz:a-b", "unknown domain 'b'"),
        ("a-npz:b", "unknown domain 'a'"),
        ("npz:a-", "unknown domain ''"),
        ("-npz:a", "unknown domain ''"),
        (":a-npz:b", "unknown domain ':a'"),
        ("photo-mnist", "unknown domain 'photo'; did you mean 'photos'"),
        ("npz:a-npz:a", "pair 'npz:a-npz:a' has the same domain twice"),
        ("npz:a-b-npz:a-b", "pair 'npz:a-b-npz:a-b' has the same domain twice"),
    ],
)
def test_what_cannot_be_a_source_and_a_target(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}"):
        split_pair(name, KNOWN)


def test_declared_and_generic_domains_are_pairs() -> None:
    settings = DataSettings(domains=(Declared("photos", "npz:x", ("cat", "dog")),))
    pair = get_pair("photos-npz:a-b", "digits", settings)
    assert (pair.source, pair.target) == ("photos", "npz:a-b")
    assert get_pair("npz:a-b-npz:c", "digits").source == "npz:a-b"
    with pytest.raises(UnknownNameError, match="unknown domain 'photos'"):
        get_pair("photos-npz:a-b", "digits")
    with pytest.raises(UnknownNameError, match=r"unknown domain 'photo'; did you mean 'photos'\?"):
        get_pair("mnist-photo", "digits", settings)
    with pytest.raises(UnknownNameError, match=r"unknown domain 'nzp'; did you mean 'npz'\?"):
        get_pair("nzp:a-npz:b", "digits")
    with pytest.raises(ConfigError, match="domain 'mnist' has files and classes of its own: write mnist, not mnist:a"):
        get_pair("mnist:a-npz:b", "digits")
    assert "photos" not in DOMAINS


def save(name: str, classes: int = 3, count: int = 60, top: int = 256, **more: Any) -> None:
    """Files of a domain ``npz:NAME`` in ``data``."""
    Path("data").mkdir(exist_ok=True)
    for split in ("train", "test"):
        pixels = torch.randint(0, top, (count, 8, 8, 3), generator=generator("save", name, split), dtype=torch.uint8)
        np.savez(f"data/{name}_{split}.npz", images=pixels.numpy(), labels=np.arange(count) % classes, **more)


def test_a_pair_has_a_space_with_settings_and_the_classes_of_both() -> None:
    save("x", 3)
    save("y", 4)
    space = SPACES.component("square", {"side": 16})
    declared = (
        Declared("photos", "npz:x", ("cat", "dog", "fox")),
        Declared("scans", "npz:y", ("emu", "fox", "", "cat")),
        Declared("others", "npz:x", ("ape", "cow", "elk")),
    )
    pair = get_pair("photos-scans", space, DataSettings(cache="", domains=declared))(
        DataSettings(cache="", domains=declared), Recipe(val_share=0.2)
    )
    assert pair.space == pair.component() == space
    assert pair.classes() == ("cat", "fox"), "in the source's order"
    source, target = pair.side("source"), pair.side("target")
    assert (source.labels, target.labels) == (("cat", "fox"), ("cat", "fox"))
    assert source.images("train").labels.bincount().tolist() == [20, 20]
    assert target.images("train").labels.bincount().tolist() == [15, 15]
    assert target.images("test").images.shape == (30, 3, 16, 16)
    assert pair.in_space("others").labels == ("ape", "cow", "elk"), "shares no class: its own"
    assert pair.data == target
    images, labels, _ = next(iter(pair.test_dataloader()))
    assert images.shape[1:] == (3, 16, 16)
    assert set(labels.tolist()) == {0, 1}


# limits


def test_a_smaller_limit_is_inside_a_larger_one_and_fixed() -> None:
    def pixels(limit: int) -> list[bytes]:
        images = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=limit)).images("train")
        return [image.numpy().tobytes() for image in images.images]

    few, more, every = pixels(50), pixels(300), pixels(0)
    assert (len(few), len(more), len(every)) == (50, 300, 1197)
    assert set(few) < set(more) < set(every)
    assert [image for image in every if image in set(few)] == few, "in the order of the whole split"
    assert few != every[:50]
    assert pixels(5000) == every
    fifty = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=50)).images("train")
    assert fifty.labels[:10].tolist() == [4, 7, 6, 0, 7, 8, 2, 4, 0, 7], "the subset never moves"
    assert fifty.labels.bincount().tolist() == [5] * 10, "each class has its share"


def test_each_split_has_its_own_limit() -> None:
    data = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(test_limit=40))
    assert (len(data.images("train")), len(data.images("test"))) == (1197, 40)


@pytest.mark.parametrize("name", ["train_limit", "test_limit"])
def test_a_negative_limit_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^data.{name} must be 0 \(all\) or more, got -1\.$"):
        DataSettings(**{name: -1})


# validation


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_validation_split_is_disjoint_complete_and_stratified(share: float) -> None:
    images = OPTDIGITS.images("train")
    learn, held = split_validation(images, share)
    assert torch.equal(torch.cat([learn, held]).sort().values, torch.arange(len(images)))
    assert torch.equal(learn, learn.sort().values)
    assert torch.equal(held, held.sort().values)
    expected = [round(share * count) for count in images.labels.bincount().tolist()]
    assert images.labels[held].bincount().tolist() == expected


def test_the_validation_split_depends_on_the_images_alone() -> None:
    torch.manual_seed(1)
    first = split_validation(made(200), 0.2)
    torch.manual_seed(2)
    torch.rand(5)
    again = split_validation(made(200), 0.2)
    assert torch.equal(first[1], again[1])
    other = made(200)
    other.images[0, 0, 0, 0] ^= 1
    assert not torch.equal(split_validation(other, 0.2)[1], first[1])


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (10, 0.1)])
def test_too_few_images_to_hold_any_out_is_an_error(count: int, share: float) -> None:
    with pytest.raises(
        DataError, match=rf"^{count} training images are too few .* {share:.0%} .*raise data.train_limit"
    ):
        split_validation(made(count), share)
    learn, held = split_validation(made(20), 0.1)
    assert (len(learn), len(held)) == (10, 10), "of two images of a class one is held out"


# the module under a Trainer


# what is learned from


def batches(module: DomainModule) -> dict[str, list[tuple[Tensor, ...]]]:
    return {
        name: [tuple(part.clone() for part in batch) for batch in loader]
        for name, loader in (("train", module.train_dataloader()), ("val", module.val_dataloader()))
    }


def equal(one: list[tuple[Tensor, ...]], other: list[tuple[Tensor, ...]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("select", ["best", "test"])
def test_a_filter_sees_what_is_learned_from_and_leaves_the_held_out_part(select: str) -> None:
    data = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=120, test_limit=40))
    recipe = Recipe(batch_size=16, val_share=0.25, select=select, augment="crop")
    seen: list[ImageSet] = []

    def keep(images: ImageSet) -> ImageSet:
        seen.append(images)
        return images.take((images.labels < 5).nonzero().squeeze(1))

    plain, filtered = batches(DomainModule(data, recipe, 3)), batches(DomainModule(data, recipe, 3, keep))
    assert equal(plain["val"], filtered["val"])
    (given,) = seen
    learned = data.images("train")
    if select == "best":
        learned = learned.take(split_validation(learned, 0.25)[0])
    assert given.fingerprint == learned.fingerprint
    labels = torch.cat([batch[1] for batch in filtered["train"]])
    assert set(labels.tolist()) == set(range(5))
    assert len(labels) == int((learned.labels < 5).sum())


def test_a_filter_that_keeps_all_changes_no_draw() -> None:
    data = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=120))
    recipe = Recipe(batch_size=16, augment="crop")
    plain = batches(DomainModule(data, recipe, 3))
    assert equal(plain["train"], batches(DomainModule(data, recipe, 3, lambda images: images))["train"])


def test_a_filter_that_keeps_nothing_is_said() -> None:
    data = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=120))
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(DataError, match=r"^a split has no images"):
        DomainModule(data, Recipe(), keep=lambda images: images.take(none)).train_dataloader()


class Witness(LightningModule):
    """Notes which samples it meets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[str, list[list[int]]] = {"train": [], "val": [], "test": []}

    def note(self, stage: str, batch: tuple[Tensor, Tensor, Tensor], first: int) -> Tensor:
        if first == 0:
            self.seen[stage].append([])
        self.seen[stage][-1] += batch[2].tolist()
        return self.weight.sum()

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> Tensor:
        return self.note("train", batch, index)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> None:
        self.note("val", batch, index)

    def test_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> None:
        self.note("test", batch, index)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 with torch 2.9 and later
def test_a_trainer_takes_the_module_as_it_is() -> None:
    data = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=100, test_limit=30))
    module = DomainModule(data, Recipe(batch_size=16, val_share=0.2), seed=4)
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    witness = Witness()
    trainer.fit(witness, datamodule=module)
    trainer.test(witness, datamodule=module, verbose=False)
    learn, held = split_validation(data.images("train"), 0.2)
    one, two = witness.seen["train"]
    assert sorted(one) == sorted(two) == learn.tolist()
    assert one != two
    assert witness.seen["val"] == [held.tolist(), held.tolist()]
    assert witness.seen["test"] == [list(range(30))]


# the sheet


def test_the_sheet_of_the_embedded_pair_passes() -> None:
    sheet = check_pair(get_pair("rendered_syn-optdigits", "digits")())
    assert [line.check for line in sheet if not line.passed] == []
    found = {line.check: line.found for line in sheet}
    assert found["source rendered_syn: sizes"] == "6000 train, 1000 test"
    assert found["target optdigits: sizes"] == "1197 train, 600 test"
    assert found["target optdigits: test balance"] == "60 to 60 images a class, 10 classes"
    assert found["target optdigits: train images"] == "uint8 [3, 32, 32] of [3, 32, 32], 0 to 255 of 0 to 255"
    assert found["target optdigits: class names"].startswith("10 of its 10 classes are used, matched by name: 0, 1, 2")
    assert found["target optdigits: train and test disjoint"] == "0 images in both, by content"
    assert found["labels of source and target"] == "the same 10 labels in the same order"
    assert found["target optdigits: data card"].startswith("1,797 real handwritten digits")


BAD = """
import torch
from tl_robust.data.domain import DOMAINS, Domain
from tl_robust.types import ImageSet

@DOMAINS.register
class Bad(Domain):
    {card}
    classes = tuple({names!r})
    reads = 0

    def read(self, split, root, download):
        Bad.reads += {moves}
        draws = torch.Generator().manual_seed({shared} or int(split == "train"))
        images = torch.randint(0, {top}, (100, 1, 8, 8), generator=draws)
        images[1:] = torch.randint(0, {top}, (99, 1, 8, 8), generator=torch.Generator().manual_seed(len(split)))
        images[0, 0, 0, 0] = Bad.reads
        return ImageSet(images.to(torch.uint8), torch.arange(100) % (10 if split == "train" else {classes}))
"""


def bad_lines(tmp_path: Path, **change: object) -> list[Line]:
    """The lines of the sheet that did not pass."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    text = BAD.format(
        **(
            {"card": '"""Made for this test."""', "top": 256, "classes": 10, "shared": 0, "names": "0123456789"}
            | {"moves": 0}
            | change
        )
    )
    (folder / "made_bad.py").write_text(text)
    load_plugins(folder)
    pair: type[DomainPair] = get_pair("optdigits-made_bad", "digits")
    return [line for line in check_pair(pair()) if not line.passed]


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, []),
        ({"top": 100}, ["train images", "test images"]),
        ({"classes": 9}, ["classes in both splits"]),
        ({"card": ""}, ["data card"]),
        ({"moves": 1}, ["train read again", "test read again"]),
    ],
    ids=["good", "dark", "a class in one split", "no card", "other pixels at each reading"],
)
def test_the_sheet_finds_what_is_wrong(change: dict[str, object], failing: list[str], tmp_path: Path) -> None:
    assert [line.check for line in bad_lines(tmp_path, **change)] == [f"target made_bad: {name}" for name in failing]


def test_a_sheet_of_a_domain_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="made_bad has '8' for the labels 8 and 9"):
        bad_lines(tmp_path, names="0123456788")


def test_the_sheet_finds_one_image_that_is_in_both_splits(tmp_path: Path) -> None:
    (line,) = bad_lines(tmp_path, shared=3)
    assert line.check in ("target made_bad: train and test disjoint", "target made_bad: validation and test disjoint")
    assert line.found == "1 images in both, by content"


def test_reading_again_needs_no_cache_where_nothing_is_kept(tmp_path: Path) -> None:
    Path("results").mkdir()
    Path("results/cache").touch()  # a file: no folder can be made
    assert bad_lines(tmp_path) == []


DECLARED = """
name: declared
space: {name: square, side: 8}
domains:
  photos: {from: "npz:x", classes: [cat, dog, fox]}
  scans: {from: "npz:y", classes: [fox, cat, emu]}
  others: {from: "npz:y", classes: [ape, cow, elk]}
axes:
  pair: [photos-scans, {name: photos-others, space: {name: square, side: 16, classes: own}}]
  strategy: [scratch]
"""


def sheet(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, tuple[str, str]], str]:
    """Exit code, check to (ok or FAILED, finding), and what went to stderr."""
    Path("declared.yaml").write_text(DECLARED)
    code = main(["check-pair", *arguments])
    said = capsys.readouterr()
    found = {}
    for line in said.out.splitlines():
        if line.startswith((" ", "Left out: ")):  # a long finding goes on
            continue
        result, _, rest = line.partition(" ")
        check, *finding = (part.strip() for part in rest.strip().split("  ") if part.strip())
        found[check] = (result, " ".join(finding))
    return code, found, said.err


def test_check_pair_of_declared_domains(capsys: pytest.CaptureFixture[str]) -> None:
    save("x")
    save("y")
    code, found, error = sheet(capsys, "photos-scans", "--bench", "declared.yaml")
    assert (code, error) == (0, "")
    assert {result for result, _ in found.values()} == {"ok"}
    assert found["source photos: class names"][1] == "2 of its 3 classes are used, matched by name: cat, fox"
    assert found["target scans: sizes"][1] == "40 train, 40 test"
    assert found["target scans: test images"][1].startswith("uint8 [3, 8, 8] of [3, 8, 8]")
    assert found["labels of source and target"][1] == "the same 2 labels in the same order"
    assert len(list(Path("results/cache").glob("[0-9a-f]*"))) == 4, "the second reading leaves nothing"
    assert not list(Path("results/cache").glob(".check-*"))
    code, found, _ = sheet(capsys, "photos-scans", "--bench", "declared.yaml", "data.train_limit=30", "space.side=9")
    assert code == 0
    assert found["target scans: sizes"][1] == "30 train, 40 test"
    assert found["target scans: test images"][1].startswith("uint8 [3, 9, 9]")


def test_check_pair_takes_the_space_that_the_bench_gives_the_pair(capsys: pytest.CaptureFixture[str]) -> None:
    save("x")
    save("y")
    code, found, _ = sheet(capsys, "photos-others", "--bench", "declared.yaml")
    assert code == 0
    assert found["target others: test images"][1].startswith("uint8 [3, 16, 16]")
    assert found["labels of source and target"][1].startswith("3 and 3 labels: B gets a new classifier")


def test_check_pair_finds_what_is_wrong_with_a_declared_domain(capsys: pytest.CaptureFixture[str]) -> None:
    save("x")
    save("y", top=90)
    for split in ("train", "test"):
        with np.load(f"data/y_{split}.npz") as arrays:
            images, labels = arrays["images"], arrays["labels"]
        images[4] = 7  # an image of cat that is in both splits
        np.savez(f"data/y_{split}.npz", images=images, labels=labels)
    code, found, error = sheet(capsys, "photos-scans", "--bench", "declared.yaml")
    assert (code, error) == (1, "")
    assert {check for check, (result, _) in found.items() if result != "ok"} == {
        *("target scans: train images", "target scans: test images", "target scans: train and test disjoint"),
    }
    np.savez("data/y_test.npz", images=images, labels=np.zeros(60, int))
    other = "data.test_limit=1000"  # settings for which nothing is in memory yet
    code, found, error = sheet(capsys, "photos-scans", "--bench", "declared.yaml", other)
    assert (code, found) == (2, {})
    assert "scans: all 60 test images are of one class ('fox')" in error


def test_check_pair_finds_a_test_split_that_is_the_training_split(capsys: pytest.CaptureFixture[str]) -> None:
    save("x")
    save("y")
    Path("data/y_test.npz").write_bytes(Path("data/y_train.npz").read_bytes())
    code, found, _ = sheet(capsys, "photos-scans", "--bench", "declared.yaml")
    assert code == 1
    shared = [found[f"target scans: {part} and test disjoint"] for part in ("train", "validation")]
    assert [result for result, _ in shared] == ["FAILED", "FAILED"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["photos-scans"], "unknown domain 'photos'"),
        (["photo-scans", "--bench", "declared.yaml"], "unknown domain 'photo'; did you mean 'photos'?"),
        (["photos-scans", "--bench", "nowhere.yaml"], "cannot read the bench file nowhere.yaml"),
        (["photos-scans", "--bench", "declard"], "unknown bench"),
        (
            ["photos-others", "--bench", "declared.yaml", "axes.pair=[]"],
            "source and target share no class (source: cat",
        ),
        (
            ["photos-scans", "--bench", "declared.yaml", "data.root=nowhere"],
            "photos not found in nowhere: expected x_train.npz",
        ),
        (["photos-scans", "--bench", "declared.yaml", "domains.scans.from=npz:z"], "scans not found in data"),
        (
            ["photos-scans", "--bench", "declared.yaml", "domains.scans.classes=no.txt"],
            "names data/no.txt is not there",
        ),
        (["photos-scans", "--bench", "declared.yaml", "domains.scans.clases=[a]"], "did you mean 'classes'?"),
        (["photos-scans", "--bench", "declared.yaml", "space.side=4"], "must be 8 to 1024 pixels, got 4"),
        (["photos-scans", "--bench", "declared.yaml", "data.train_limit=2"], "too few to hold out"),
        (["checkpoint:net-scans", "--bench", "declared.yaml"], "unknown domain 'checkpoint'"),
    ],
)
def test_check_pair_of_bad_input_is_one_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save("x")
    save("y")
    code, found, error = sheet(capsys, *arguments)
    assert (code, found) == (2, {})
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert says in error
