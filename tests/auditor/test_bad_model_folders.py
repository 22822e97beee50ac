"""Folders of published models that cannot be used: one sentence, exit code 2, and no code of theirs is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.auditor import damages
from tests.auditor.refusals import PICKLED, command, refused
from tests.models.published_made import CLASSES, changed, hf_folder, images, quiet, vit


@pytest.fixture
def animals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which images of the classes of published models lie."""
    monkeypatch.chdir(tmp_path)
    for place, pixels in enumerate(images(32, 32, 10)):
        path = tmp_path / "animals" / CLASSES[place % 5] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return tmp_path


CODE = "from pathlib import Path\nPath({canary!r}).touch()\n"
FOLDER = {"network": None, "parent": None, "decoy": None, "data": "animals"}


def damaged(folder: Path, damage: str) -> None:
    """Damage a published folder in one way."""
    config, tensors = folder / "config.json", folder / "model.safetensors"
    content = tensors.read_bytes()
    (folder / "evil.py").write_text(CODE.format(canary=str(folder.parent / "canary")))
    if damage == "cut":
        tensors.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        tensors.write_bytes(b"")
    elif damage == "missing":
        tensors.unlink()
    elif damage == "pickle":
        tensors.unlink()
        runs = damages.Runs(folder.parent / "canary")
        damages.put(folder / "pytorch_model.bin", damages.content(lambda file: torch.save({"a": runs}, file)))
    elif damage == "config":
        config.write_text(config.read_text()[:100])
    elif damage == "code":
        changed(config, auto_map={"AutoModelForImageClassification": "evil.Net"}, architectures=["Net"])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("cut", "hf_cut/model.safetensors cannot be read ("),
        ("empty", "hf_empty/model.safetensors cannot be read ("),
        ("missing", "hf_missing"),
        ("pickle", PICKLED),
        ("config", "hf_config/config.json cannot be read ("),
        ("code", "hf_code"),
        ("other", "does not fit network 'hf'"),
        ("processor", "hf_processor/preprocessor_config.json"),
    ],
)
def test_a_damaged_folder_of_hugging_face(
    damage: str, sentence: str, animals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = animals / f"hf_{damage}"
    hf_folder(folder, vit())
    damaged(folder, damage)
    if damage == "other":
        changed(folder / "config.json", hidden_size=48)
    if damage == "processor":
        (folder / "preprocessor_config.json").write_text("{")
    assert sentence in refused(command({**FOLDER, "model": folder.name}), animals, capsys)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("cut", "timm_cut/model.safetensors cannot be read ("),
        ("empty", "timm_empty/model.safetensors cannot be read ("),
        ("missing", "timm_missing"),
        ("pickle", PICKLED),
        ("config", "timm_config/config.json cannot be read ("),
        ("other", "timm cannot build 'test_resnet' with this configuration ("),
        ("unknown", "unknown arch of network 'timm' 'no_such_net'; did you mean "),
    ],
)
def test_a_damaged_folder_of_timm(
    damage: str, sentence: str, animals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timm = quiet(pytest.importorskip, "timm")
    folder = animals / f"timm_{damage}"
    net = quiet(timm.create_model, "test_vit", num_classes=5)
    settings = {"label_names": list(CLASSES), "input_size": (3, 160, 160)}
    quiet(timm.models.save_for_hf, net, str(folder), model_config=settings, safe_serialization=True)
    damaged(folder, damage)
    if damage in ("other", "unknown"):
        changed(folder / "config.json", architecture="test_resnet" if damage == "other" else "no_such_net")
    assert sentence in refused(command({**FOLDER, "model": folder.name}), animals, capsys)


def test_a_folder_of_a_model_that_cannot_be_used(animals: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are refused before any library of models is needed."""
    for name, config, sentence in (
        ("folder_empty", "", "folder_empty/config.json cannot be read ("),
        ("folder_cut", '{"architectures": ["ViT', "folder_cut/config.json cannot be read ("),
        ("folder_list", "[]", "folder_list/config.json holds list in place of a mapping"),
        ("folder_other", "{}", "folder_other/config.json is of no known layout"),
    ):
        damages.put(animals / name / "config.json", config.encode())
        assert sentence in refused(command({**FOLDER, "model": name}), animals, capsys)
        assert sentence in refused(command({**FOLDER, "model": "other", "parent": name}), animals, capsys)
