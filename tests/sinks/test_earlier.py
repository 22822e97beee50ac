"""A report of other settings is moved, never replaced, and the same settings change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tl_robust.errors import ResultsError
from tl_robust.results import earlier
from tl_robust.sinks.base import files

FILES = files()
VIEWS = (*FILES, "config.yaml")
DEFAULTS = {"axes": {"defense": ["none"]}, "fresh": 3, "eps": ["no setting of an earlier version"]}
ASKED = {
    "name": "bench", "eps": [0, "8/255"],
    "axes": {"seed": [0, 1], "attack": ["fgsm", {"name": "pgd", "steps": 5}]},
    "data": {"root": "data", "train_limit": 0}, "recipe": {"epochs": 3}, "workers": 0,
    "trainer": {"accelerator": "cpu"},
}  # fmt: skip


def text(**more: object) -> str:
    """A configuration; dots name nested keys."""
    asked = yaml.safe_load(yaml.safe_dump(ASKED))
    for name, value in more.items():
        place = asked
        *folders, last = name.split("__")
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return yaml.safe_dump(asked)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a report, its tables and something of the user's own."""
    home = tmp_path / "results" / "bench"
    home.mkdir(parents=True)
    for name in VIEWS:
        (home / name).write_text(f"old {name}")
    (home / "mine.txt").write_text("mine")
    (home / "config.yaml").write_text(text())
    return home


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"axes__seed": [0]}, "axes.seed"),
        ({"axes__attack": ["fgsm"]}, "axes.attack"),
        ({"axes__attack": ["fgsm", {"name": "pgd", "steps": 9}]}, "axes.attack"),
        ({"eps": [0, "8/255", "16/255"]}, "eps"),
        ({"data__train_limit": 100}, "data.train_limit"),
        ({"recipe__epochs": 1, "data__test_limit": 5}, "recipe.epochs, data.test_limit"),
        ({"recipes__usps__epochs": 1}, "recipes.usps.epochs"),
        ({"fast": ["bf16"]}, "fast"),
        ({"trainer__precision": "bf16-mixed"}, "trainer.precision"),
    ],
)
def test_other_settings_move_what_was_there_and_are_named(folder: Path, more: dict[str, object], named: str) -> None:
    said = earlier.keep(folder, text(**more), FILES, DEFAULTS)
    (home,) = (folder / "earlier").iterdir()
    assert f"other settings ({named}): moved to {home}. name=NAME keeps" in said
    for name in VIEWS:
        assert (home / name).read_text() == (text() if name == "config.yaml" else f"old {name}")
        assert (folder / name).exists() == (name == "config.yaml")
    assert (folder / "config.yaml").read_text() == text(**more)
    assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"axes__seed": [0, 1, 2]},
        {"axes__seed": [2, 1, 0], "axes__attack": ["bim", {"name": "pgd", "steps": 5}, "fgsm"]},
        {"workers": 4, "data__root": "/else", "data__download": True, "data__cache": "x", "results": "y"},
        {"wandb": {"mode": "disabled"}, "trainer__accelerator": "cuda", "trainer__devices": 1, "attack_batch": 7},
    ],
)
def test_the_same_or_more_values_of_an_axis_move_nothing(folder: Path, more: dict[str, object]) -> None:
    assert earlier.keep(folder, text(**more), FILES, DEFAULTS) == ""
    assert not (folder / "earlier").exists()
    assert (folder / "report.html").read_text() == "old report.html"
    assert (folder / "config.yaml").read_text() == text(**more)


@pytest.mark.parametrize(
    ("more", "named"),
    [({"axes__defense": ["none"], "fresh": 3}, ""), ({"axes__defense": ["none", "distill"]}, ""),
     ({"axes__defense": ["distill"]}, "axes.defense"), ({"fresh": 4}, "fresh")],
)  # fmt: skip
def test_a_setting_that_an_earlier_version_did_not_have_was_at_its_default(
    folder: Path, more: dict[str, object], named: str
) -> None:
    said = earlier.keep(folder, text(**more), FILES, DEFAULTS)
    assert said == "" if not named else f"other settings ({named})" in said


def test_every_move_has_a_folder_of_its_own(folder: Path) -> None:
    for seeds in ([0], [1], [2]):
        assert earlier.keep(folder, text(axes__seed=seeds), FILES, DEFAULTS)
        (folder / "report.html").write_text(f"report {seeds}")
    found = sorted(path.read_text() for path in (folder / "earlier").glob("*/report.html"))
    assert found == ["old report.html", "report [0]", "report [1]"]


def test_a_first_report_and_a_folder_without_one_say_nothing(tmp_path: Path) -> None:
    assert earlier.keep(tmp_path / "new", text(), FILES, DEFAULTS) == ""
    assert earlier.keep(tmp_path / "new", text(axes__seed=[5]), FILES, DEFAULTS) == ""
    assert (tmp_path / "new" / "config.yaml").read_text() == text(axes__seed=[5])


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"{", b"- a\n", b""])
def test_a_damaged_configuration_is_another_one(folder: Path, damage: bytes) -> None:
    (folder / "config.yaml").write_bytes(damage)
    assert "moved to" in earlier.keep(folder, text(), FILES, DEFAULTS)
    assert (next((folder / "earlier").iterdir()) / "report.html").read_text() == "old report.html"


def test_a_move_that_fails_is_one_sentence_and_loses_nothing(folder: Path) -> None:
    (folder / "earlier").write_text("in the way")
    with pytest.raises(
        ResultsError, match=r"^cannot keep the earlier report in .*: free the disk, or set name=NAME\.$"
    ):
        earlier.keep(folder, text(axes__seed=[0]), FILES, DEFAULTS)
    assert (folder / "report.html").read_text() == "old report.html"
    assert (folder / "config.yaml").read_text() == text()
