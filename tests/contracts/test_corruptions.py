"""What authors of corruptions are told, on the recipe of CONTRIBUTING.md and on edits of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import RECIPES
from tl_robust.contracts.one_file import check

FOG = RECIPES["fog"][1]
FORMULA = "(1 - strength) * images + strength * self.gray"
CONTRACTS = {
    "gives finite images of the same form",
    "gives the images back at strength 0",
    "corrupts alike again and draws by its draws",
    "corrupts each image for itself",
}


def sheet(block: str, folder: Path) -> dict[str, tuple[str, str]]:
    """State and sentence by contract."""
    path = folder / "fog.py"
    path.write_text(block)
    return {line.contract: (line.state, line.says) for line in check(path.resolve(), None)}


def altered(formula: str) -> str:
    assert FORMULA in FOG
    return f"import torch\n{FOG.replace(FORMULA, formula)}"


def test_the_recipe_keeps_them_all(tmp_path: Path) -> None:
    found = sheet(FOG, tmp_path)
    assert CONTRACTS.issubset(found)
    assert {state for state, _ in found.values()} == {"passed"}


@pytest.mark.parametrize(
    "formula",
    [
        "images - 2 * strength",
        "images + 9 * strength * draws.normal('fog')",
        "images + strength * (draws.uniform('fog') - 0.5)",
        "images.clone().mul_(1 - strength)",
    ],
)
def test_what_is_clipped_or_drawn_by_draws_is_right(formula: str, tmp_path: Path) -> None:
    found = sheet(altered(formula), tmp_path)
    assert {name: found[name] for name in CONTRACTS} == dict.fromkeys(CONTRACTS, ("passed", ""))


def test_a_draw_of_the_process_is_named_with_what_to_write(tmp_path: Path) -> None:
    found = sheet(altered("images - 2 * strength + torch.randn_like(images)"), tmp_path)
    assert {name for name in CONTRACTS if found[name][0] == "broken"} == CONTRACTS - {
        "gives finite images of the same form"
    }
    says = found["corrupts alike again and draws by its draws"][1]
    assert says.startswith("Expected no draw from torch's global generator, got one or more: draw with draws.normal(")
    assert found["gives the images back at strength 0"][1].startswith(
        "Expected the images as they were at strength 0, got pixels that differ by up to "
    )
    assert "in batches of 1 at strength 0, got pixels" in found["corrupts each image for itself"][1]


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("images.add_(strength)", "got others: begin with images = images.clone()."),
        ("images[:, :, :8]", "Expected images torch.float32 [6, 3, 32, 32] at strength 0, as it was given, got"),
        ("None", "got NoneType: return the corrupted images."),
        ("images / strength", "Expected finite numbers at strength 0, got others: guard each division"),
    ],
)
def test_images_of_another_form_are_said_once(formula: str, says: str, tmp_path: Path) -> None:
    found = sheet(altered(formula), tmp_path)
    state, said = found["gives finite images of the same form"]
    assert state == "broken"
    assert says in said


def test_another_order_alone_breaks_it_too(tmp_path: Path) -> None:
    found = sheet(altered("images[draws.sample_id.argsort()]"), tmp_path)
    assert {name for name in CONTRACTS if found[name][0] == "broken"} == {"corrupts each image for itself"}
    assert "the same images in another order at strength 0" in found["corrupts each image for itself"][1]


def test_an_error_is_named_by_the_authors_own_line(tmp_path: Path) -> None:
    block = altered("images @ images.reshape(7, 7)")
    line = next(place for place, text in enumerate(block.splitlines(), 1) if "reshape(7, 7)" in text)
    found = sheet(block, tmp_path)
    for name in (*CONTRACTS, "makes its record"):
        state, says = found[name]
        assert state == "broken"
        assert "RuntimeError" in says
        assert says.endswith(f": correct line {line} of fog.py."), says
