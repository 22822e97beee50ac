"""A file of many models: what it asks for, and one sentence with the place for each mistake."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tl_robust.auditor.many_file import read
from tl_robust.errors import ConfigError

GOOD = """
data: photos
network: resnet18
eps: [4/255, 0.1]
classes: [no, 010, 12:30]
parents:
  oak: oak.safetensors
  elm: {from: elm.safetensors}
  ash: {from: ash.safetensors, network: {name: dtn, width: 0.5}}
models:
  mine-1: {from: a.safetensors, parent: oak, stated: 0.9}
  no: {from: b.safetensors, parent: elm, data: others, decoys: [oak, ash]}
  free: {from: c.safetensors, classes: [yes, 007]}
"""
FREE = "free: {from: c.safetensors, classes: [yes, 007]}"


def written(folder: Path, text: str) -> Path:
    path = folder / "many.yaml"
    path.write_text(text)
    return path


def test_what_a_good_file_asks_for(tmp_path: Path) -> None:
    first, second, third = read(written(tmp_path, GOOD))
    assert [each.name for each in (first, second, third)] == ["mine-1", "no", "free"]
    assert [each.parent for each in (first, second, third)] == ["oak", "elm", ""]
    assert first.request.model == {"name": "mine-1", "from": "a.safetensors"}
    assert first.request.parent == {"name": "oak", "from": "oak.safetensors"}
    assert first.request.decoys == ({"name": "elm", "from": "elm.safetensors"},)
    assert (first.request.stated, first.request.data, first.request.network) == (0.9, "photos", "resnet18")
    assert first.request.eps == (4 / 255, 0.1)
    assert first.request.classes == ("no", "010", "12:30"), "names are read as they are written"
    assert second.request.data == "others"
    assert math.isnan(second.request.stated)
    assert [decoy["name"] for decoy in second.request.decoys if isinstance(decoy, dict)] == ["oak", "ash"]
    assert (third.request.parent, third.request.decoys) == ("", ())
    assert isinstance(third.request.model, dict)
    assert third.request.model["classes"] == ["yes", "007"]
    assert third.request.seed == 0


def test_decoys_for_all_models_leave_out_the_parent_of_each(tmp_path: Path) -> None:
    (tmp_path / "else.npz").write_bytes(b"")
    decoys = f"decoys: [oak, elm, {tmp_path / 'else.npz'}, {{from: more.npz, network: dtn}}]\n"
    first, second, _ = read(written(tmp_path, GOOD.replace(", decoys: [oak, ash]", "") + decoys))
    said = [decoy for decoy in first.request.decoys if isinstance(decoy, dict)]
    assert [decoy.get("name", decoy["from"]) for decoy in said] == ["elm", str(tmp_path / "else.npz"), "more.npz"]
    assert second.request.decoys[0] == {"name": "oak", "from": "oak.safetensors"}
    twins = GOOD.replace("elm: {from: elm.safetensors}", "elm: oak.safetensors")
    alone, *_ = read(written(tmp_path, twins))
    assert alone.request.decoys == (), "a parent under another name is no decoy"
    none, *_ = read(written(tmp_path, GOOD + "decoys: []\n"))
    assert none.request.decoys == ()


MISTAKES = {
    "unknown_key": (GOOD + "epss: 1\n", "unknown key 'epss'; did you mean 'eps'?"),
    "unknown_key_of_a_model": (
        GOOD.replace("stated: 0.9", "statd: 0.9"), "unknown key of models.mine-1 'statd'; did you mean 'stated'?",
    ),
    "attacks_of_one_model": (
        GOOD.replace("stated: 0.9", "eps: 0.1"), "unknown key of models.mine-1 'eps'",
    ),
    "unknown_key_of_a_parent": (
        GOOD.replace("elm: {from", "elm: {form: x, from"), "unknown key of parents.elm 'form'; did you mean 'from'?",
    ),
    "unknown_parent": (
        GOOD.replace("parent: oak", "parent: oek"), "unknown parent of models.mine-1 'oek'; did you mean 'oak'?",
    ),
    "unknown_decoy": (
        GOOD.replace("[oak, ash]", "[oak, asch]"),
        "unknown model among models.no.decoys (no file either) 'asch'; did you mean 'ash'?",
    ),
    "unknown_decoy_of_all": (
        GOOD + "decoys: [els]\n", "unknown model among decoys (no file either) 'els'; did you mean 'elm'?",
    ),
    "no_models": (GOOD.partition("models:")[0], "models: names none: expected a mapping"),
    "empty": ("", "expected keys with values, among them models: and data:."),
    "a_list": ("- data\n", "expected keys with values, among them models: and data:."),
    "a_list_of_models": (GOOD.partition("models:")[0] + "models: [a.npz]\n", "models must be a mapping from names"),
    "parents_as_text": (GOOD.replace("parents:\n", "parents: x\nothers:\n"), "unknown key 'others'"),
    "a_model_without_file": (GOOD.replace(FREE, "free: {parent: oak}"), "models.free must be a file"),
    "a_model_of_nothing": (GOOD.replace(FREE, "free:"), "models.free must be a file"),
    "a_name_that_is_a_path": (GOOD.replace("free:", "../free:"), "models.../free: name must be usable as a folder"),
    "a_name_of_the_store": (GOOD.replace("free:", "store:"), "models.store: name cannot be 'store'"),
    "no_data": (GOOD.replace("data: photos", ""), "models.mine-1.data is missing"),
    "a_size_that_is_none": (GOOD.replace("0.1]", "big]"), ": eps must hold numbers such as 0.03 or 8/255"),
    "a_size_out_of_bounds": (GOOD.replace("0.1]", "8]"), ": eps must be above 0, up to 1"),
    "stated_in_percent": (GOOD.replace("0.9}", "90}"), "models.mine-1.stated must be a share from 0 to 1, got 90.0."),
    "images_as_text": (GOOD + "images: many\n", ": images must be a whole number, got 'many'."),
    "key_twice": (GOOD + "data: photos\n", "line 14: the key 'data' stands there twice."),
    "a_tag": (GOOD + "seed: !!python/object/apply:os.system ['true']\n", ": seed must be a whole number"),
    "another_tag": (GOOD + "norm: !!python/name:os.system ''\n", "a value cannot have the tag"),
    "norm_of_all": (GOOD + "norm: l1\n", ": norm must be linf or l2, got l1."),
    "no_yaml": (GOOD + "seed: [1\n", "is not valid YAML"),
    "too_deep": ("[" * 5000, "values stand too deep inside each other"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_with_its_place(tmp_path: Path, mistake: str) -> None:
    text, sentence = MISTAKES[mistake]
    with pytest.raises(ConfigError) as error:
        read(written(tmp_path, text))
    said = str(error.value)
    assert said.startswith(f"{tmp_path / 'many.yaml'}")
    assert sentence in said
    assert "\n" not in said


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "many.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(tmp_path / "many.yaml")
