"""Keys of whole plans against those of version 1.0: a refactor leaves them, so that every store stays of use.

Fingerprints of images are replaced by those of shapes and labels: pixels depend on how a machine rounds, keys do not.
"""

import hashlib
from functools import cached_property
from pathlib import Path

import pytest

from tl_robust.config import load
from tl_robust.types import ImageSet

GOLDEN = Path(__file__).parent / "keys.txt"
TINY = ["axes.network[0].width=0.2", "recipe.epochs=12", "recipe.lr=0.02", "eps=[0,2/255,8/255]"]  # of the curves
EMBEDDED = "018cd9008f7622a2b512b17686471f7629d6f6264b76bebe3e62939c9f00d4da"


@pytest.fixture(autouse=True)
def _no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(images: ImageSet) -> str:
        return hashlib.sha256(f"{tuple(images.images.shape)} {images.labels.tolist()}".encode()).hexdigest()

    fingerprint = cached_property(of)
    fingerprint.__set_name__(ImageSet, "fingerprint")
    monkeypatch.setattr(ImageSet, "fingerprint", fingerprint)


def keys(bench: Path, *overrides: str) -> str:
    """Kind and key of every entry and cell, sorted, one a line."""
    plan = load(bench, overrides).plan
    lines = {f"{node.KIND.folder} {key}" for node in plan.nodes for key in node.entries}
    return "".join(f"{line}\n" for line in sorted(lines | {f"cell {cell.key}" for cell in plan.cells}))


def test_the_tiny_bench_has_the_keys_it_had(tiny: Path) -> None:
    found = keys(tiny, *TINY)
    assert found.splitlines() == GOLDEN.read_text().splitlines()
    assert found.count("cell ") == 24


def test_embedded_has_the_keys_it_had() -> None:
    found = keys(Path(__file__).parents[2] / "experiments" / "embedded.yaml")
    assert found.count("\n") == 341
    assert hashlib.sha256(found.encode()).hexdigest() == EMBEDDED


def test_another_setting_is_another_key(tiny: Path) -> None:
    """What this file compares is not the same for every bench."""
    shared = set(keys(tiny, *TINY, "recipe.lr=0.03").splitlines()) & set(GOLDEN.read_text().splitlines())
    assert not shared
