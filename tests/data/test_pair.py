"""Pairs, limits, the validation split, batches and the sheet."""

import itertools
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from tl_robust.data.check import Line, check_pair
from tl_robust.data.domain import DataSettings, DomainInSpace, split_validation
from tl_robust.data.pair import PAIRS, Batches, DomainModule, DomainPair, get_pair
from tl_robust.errors import ConfigError, DataError, UnknownNameError
from tl_robust.registry import load_plugins
from tl_robust.seeding import generator
from tl_robust.types import ImageSet, Recipe

OPTDIGITS = DomainInSpace("optdigits", "digits")


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
        == DomainInSpace("optdigits", "digits", DataSettings("data", test_limit=30))
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


# limits


def test_a_smaller_limit_is_inside_a_larger_one_and_fixed() -> None:
    def pixels(limit: int) -> list[bytes]:
        images = DomainInSpace("optdigits", "digits", DataSettings(train_limit=limit)).images("train")
        return [image.numpy().tobytes() for image in images.images]

    few, more, every = pixels(50), pixels(300), pixels(0)
    assert (len(few), len(more), len(every)) == (50, 300, 1197)
    assert set(few) < set(more) < set(every)
    assert [image for image in every if image in set(few)] == few, "in the order of the whole split"
    assert few != every[:50]
    assert pixels(5000) == every
    fifty = DomainInSpace("optdigits", "digits", DataSettings(train_limit=50)).images("train")
    assert fifty.labels[:10].tolist() == [4, 6, 7, 8, 2, 2, 4, 0, 3, 7], "the subset never moves"


def test_each_split_has_its_own_limit() -> None:
    data = DomainInSpace("optdigits", "digits", DataSettings(test_limit=40))
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


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (10, 0.1), (40, 0.1)])
def test_too_few_images_to_hold_any_out_is_an_error(count: int, share: float) -> None:
    with pytest.raises(
        DataError, match=rf"^{count} training images are too few .* {share:.0%} .*raise data.train_limit"
    ):
        split_validation(made(count), share)


# batches


def ids_of(batches: Batches) -> list[int]:
    return torch.cat([ids for _, _, ids in batches]).tolist()


def test_an_epoch_is_a_permutation_and_epochs_differ() -> None:
    batches = Batches(made(53), 8, seed=5)
    first, second = ids_of(batches), ids_of(batches)
    assert sorted(first) == sorted(second) == list(range(53))
    assert first != second
    assert first != list(range(53))
    again = Batches(made(53), 8, seed=5)
    assert [ids_of(again), ids_of(again)] == [first, second]
    assert ids_of(Batches(made(53), 8, seed=6)) != first


def test_the_order_does_not_depend_on_the_global_generator_nor_on_batch_size() -> None:
    torch.manual_seed(1)
    first = ids_of(Batches(made(53), 8, seed=5))
    torch.manual_seed(2)
    assert ids_of(Batches(made(53), 11, seed=5)) == first


def test_without_a_seed_the_order_is_kept() -> None:
    batches = Batches(made(20), 8, index=torch.tensor([7, 3, 11, 19, 0]))
    assert ids_of(batches) == ids_of(batches) == [7, 3, 11, 19, 0]


def test_images_are_pixels_over_255_with_their_labels_and_ids() -> None:
    images = made(20)
    for seen, labels, ids in Batches(images, 8, seed=1):
        assert seen.dtype == torch.float32
        assert torch.equal(seen, images.images[ids] / 255)
        assert torch.equal(labels, images.labels[ids])
        assert 0 <= seen.min() < 0.1 < 0.9 < seen.max() <= 1


def test_a_batch_is_a_copy() -> None:
    images = made(20)
    before = images.images.clone()
    for seen, labels, _ in Batches(images, 8):
        seen.zero_()
        labels.zero_()
    assert torch.equal(images.images, before)
    assert images.labels.tolist() == [*range(10), *range(10)]


@pytest.mark.parametrize("seed", [None, 2])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 16, 17, 18, 31, 34])
def test_ranks_share_the_samples_and_len_counts_batches(count: int, world: int, seed: int | None) -> None:
    index = torch.arange(40)[40 - count :]
    ranks = [Batches(made(40), 8, index, seed, rank=rank, world=world) for rank in range(world)]
    seen = [list(batches) for batches in ranks]
    assert [len(batches) for batches in ranks] == [len(batches) for batches in seen]
    assert all(len(ids) > 0 for batches in seen for _, _, ids in batches)
    ids = [[int(one) for _, _, part in batches for one in part] for batches in seen]
    share = count // world
    if seed is not None and share > 1 and share % 8 == 1:
        share -= 1  # BatchNorm cannot train on a last batch of one
    assert {len(part) for part in ids} == {share}, "as many samples on each rank: no rank waits for another"
    together = list(itertools.chain(*ids))
    assert len(set(together)) == len(together)
    assert set(together) <= set(index.tolist())


def test_another_lone_sample_is_left_out_in_each_epoch() -> None:
    batches = Batches(made(33), 8, seed=1)
    left_out = [set(range(33)) - set(ids_of(batches)) for _ in range(4)]
    assert [len(out) for out in left_out] == [1, 1, 1, 1]
    assert len(set().union(*left_out)) > 1


# the module under a Trainer


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
    data = DomainInSpace("optdigits", "digits", DataSettings(train_limit=100, test_limit=30))
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
    assert found["target optdigits: test classes"] == "60 to 60 images a class, 10 classes"
    assert found["target optdigits: train shape"] == "(3, 32, 32), expected (3, 32, 32)"
    assert found["target optdigits: train and test disjoint"] == "0 images in both"
    assert found["target optdigits: data card"].startswith("1,797 real handwritten digits")


BAD = """
import torch
from tl_robust.data.domain import DOMAINS, Domain
from tl_robust.types import ImageSet

@DOMAINS.register
class Bad(Domain):
    {card}
    classes = tuple("0123456789")

    def read(self, split, root, download):
        draws = torch.Generator().manual_seed({shared} or int(split == "train"))
        images = torch.randint(0, {top}, (100, 1, 8, 8), generator=draws)
        images[1:] = torch.randint(0, {top}, (99, 1, 8, 8), generator=torch.Generator().manual_seed(len(split)))
        return ImageSet(images.to(torch.uint8), torch.arange(100) % {classes})
"""


def bad_lines(tmp_path: Path, **change: object) -> list[Line]:
    """The lines of the sheet that did not pass."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    text = BAD.format(**({"card": '"""Made for this test."""', "top": 256, "classes": 10, "shared": 0} | change))
    (folder / "made_bad.py").write_text(text)
    load_plugins(folder)
    pair: type[DomainPair] = get_pair("optdigits-made_bad", "digits")
    return [line for line in check_pair(pair()) if not line.passed]


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, []),
        ({"top": 100}, ["train range", "test range"]),
        ({"classes": 9}, ["train classes", "test classes"]),
        ({"card": ""}, ["data card"]),
    ],
    ids=["good", "dark", "a class without images", "no card"],
)
def test_the_sheet_finds_what_is_wrong(change: dict[str, object], failing: list[str], tmp_path: Path) -> None:
    assert [line.check for line in bad_lines(tmp_path, **change)] == [f"target made_bad: {name}" for name in failing]


def test_the_sheet_finds_one_image_that_is_in_both_splits(tmp_path: Path) -> None:
    (line,) = bad_lines(tmp_path, shared=3)
    assert line.check in ("target made_bad: train and test disjoint", "target made_bad: validation and test disjoint")
    assert line.found == "1 images in both"
