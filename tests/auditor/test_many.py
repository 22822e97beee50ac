"""Many audits from one file, and the same audit from Python, on networks of a few hundred weights."""

from __future__ import annotations

import csv
import inspect
import re
import shutil
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

import tl_robust
from tests.auditor.tiny_models import NETWORK, QUICK, saved, tiny, trained
from tl_robust.audit import audit_file
from tl_robust.audit.by_parent import lines
from tl_robust.auditor import audit
from tl_robust.auditor.options import request_of
from tl_robust.auditor.request import Request
from tl_robust.cli.program import main

SHARED = f"""
data: photos
images: 0
eps: 16/255
transfer: [fgsm]
strong: fgsm
accelerator: cpu
network: {NETWORK}
parents: {{oak: oak.safetensors, elm: {{from: elm.safetensors}}}}
"""
MODELS = """
models:
  oak-0: {from: oak_child0.safetensors, parent: oak}
  damaged: {from: damaged.safetensors, parent: elm}
  oak-1: {from: oak_child1.safetensors, parent: oak, decoys: []}
  as_told: {from: elm_child0.safetensors, parent: elm, stated: 0.2}
  elm-0: {from: elm_child0.safetensors, parent: elm}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which many audits ran."""
    folder = tiny(tmp_path_factory.mktemp("many"))
    (folder / "damaged.safetensors").write_bytes((folder / "elm.safetensors").read_bytes()[:200])
    (folder / "trees.yaml").write_text(SHARED + MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["audits", "trees.yaml", "--plain"]) == 2, "one model is damaged, and one breaks a lock"
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "by_parent.csv").read_text().splitlines()))


def test_what_one_model_breaks_does_not_stop_the_others(made: Path) -> None:
    folder = made / "results" / "audits" / "trees"
    written = {path.parent.name for path in folder.glob("*/audit.json")}
    assert written == {"oak-0", "oak-1", "as_told", "elm-0"}
    assert all((folder / name / "risk.html").is_file() for name in written)
    audits = [audit_file.read(folder / name / "audit.json") for name in ("oak-0", "oak-1", "as_told", "elm-0")]
    assert [found.model.name for found in audits] == ["oak-0", "oak-1", "as_told", "elm-0"]
    assert {found.parent.name for found in audits if found.parent} == {"oak", "elm"}
    found = rows(folder)
    expected = [(line.name, str(len(line.models)), f"{line.transfer.value:.6g}") for line in lines(audits)]
    assert [(row["parent"], row["models"], row["transfer"]) for row in found] == expected
    assert {row["parent"]: row["models"] for row in found} == {"oak": "2", "elm": "1"}
    page = " ".join(re.sub("<[^>]+>", " ", (folder / "by_parent.html").read_text()).split())
    assert "Models without numbers" in page
    assert re.search(r"damaged elm [^.]*damaged\.safetensors", page)
    assert "as_told elm as_stated failed: " in page


def test_other_parents_with_the_same_network_are_the_decoys_unless_the_file_says_otherwise(made: Path) -> None:
    folder = made / "results" / "audits" / "trees"
    first, second, last = (audit_file.read(folder / name / "audit.json") for name in ("oak-0", "oak-1", "elm-0"))
    assert [other.name for other in first.others] == ["elm"]
    assert [other.name for other in last.others] == ["oak"]
    assert second.others == ()
    assert first.price is not None
    assert second.price is None
    assert {row["parent"]: row["price_n"] for row in rows(folder)} == {"oak": "1", "elm": "1"}


def test_audits_share_what_they_compute_and_go_on_where_they_stopped(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "results" / "audits" / "trees"
    before = (folder / "by_parent.csv").read_bytes()
    shutil.rmtree(folder)
    assert main(["audits", "trees.yaml", "--plain"]) == 2
    said = capsys.readouterr().out
    assert "attack 1/" not in said, "nothing is attacked again"
    assert "1 of 5  oak-0: results/audits/trees/oak-0/risk.html" in said
    assert (folder / "by_parent.csv").read_bytes() == before


def test_audits_of_others_make_the_same_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "results" / "audits" / "trees"
    before = (folder / "by_parent.csv").read_bytes()
    files = sorted(map(str, folder.glob("*/audit.json")))
    assert main(["audits", str(folder)]) == 2, "one of them breaks a lock"
    assert (folder / "by_parent.csv").read_bytes() == before
    assert main(["audits", *files[::-1], *files, "--out", "apart"]) == 2
    assert (here / "apart" / "by_parent.csv").read_bytes() == before
    good = [file for file in files if "as_told" not in file]
    assert main(["audits", *good, "--out", "apart"]) == 0
    capsys.readouterr()
    (here / "broken.json").write_text("{")
    assert main(["audits", *good, "broken.json", "--out", "apart"]) == 2
    said = capsys.readouterr()
    assert "✖ broken.json (parent: none declared) has no numbers: broken.json" in said.out
    assert main(["audits", "broken.json", "--out", "nothing"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: broken.json ")
    assert said.err.count("\n") == 1
    assert not (here / "nothing").exists()


def test_the_worst_exit_code_is_that_of_all(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "results" / "audits" / "trees"
    good = [str(folder / name / "audit.json") for name in ("oak-0", "elm-0")]
    bad = str(folder / "as_told" / "audit.json")
    for rule, options, files, code in (
        ("robust_accuracy[white]@16/255 >= 0", [], good, 0),
        ("robust_accuracy[white]@16/255 >= 1", [], good, 1),
        ("robust_accuracy[white]@16/255 >= 1", [], [*good, bad], 2),
        ("attack_success <= 0.5", ["--strict"], good, 3),
        ("attack_success <= 0.5", [], good, 0),
    ):
        (here / "policy.yaml").write_text(f"rules:\n- {rule}\n")
        assert main(["audits", *files, "--policy", "policy.yaml", "--out", "apart", *options]) == code, rule
    capsys.readouterr()
    assert main(["audits", *good, "trees.yaml"]) == 2
    assert "trees.yaml must stand alone" in capsys.readouterr().err
    assert main(["audits", "photos"]) == 2
    assert "photos holds no audit.json" in capsys.readouterr().err


def test_python_gives_the_record_that_the_command_writes(here: Path) -> None:
    model, parent = here / "oak_child0.safetensors", here / "oak.safetensors"
    options: dict[str, Any] = {
        "network": {"name": "dtn", "width": 0.1, "norm": "group", "dropout": 0},
        "eps": "16/255", "images": 0, "transfer": ["fgsm"], "strong": "fgsm", "accelerator": "cpu",
    }  # fmt: skip
    found = audit(model, here / "photos", parent=parent, decoys=[here / "elm.safetensors"], **options)
    command = ["audit", str(model), "--parent", str(parent), "--decoy", str(here / "elm.safetensors")]
    assert main([*command, "--data", str(here / "photos"), "--network", NETWORK, *QUICK, "--out", "one"]) == 0
    written = audit_file.read(here / "one" / "audit.json")
    assert audit_file.content(replace(found, date="")) == audit_file.content(replace(written, date=""))
    assert tl_robust.auditor.audit is audit


def test_the_example_of_the_call_runs(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With these files under the names of the example, and one attack in place of all."""
    text = inspect.getdoc(audit) or ""
    code = inspect.cleandoc(text.partition("Example::")[2])
    assert code.count("\n") > 3
    shutil.copy(here / "oak_child0.safetensors", tmp_path / "mine.safetensors")
    shutil.copy(here / "oak.safetensors", tmp_path / "public.safetensors")
    shutil.copytree(here / "photos", tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    assert 'network="resnet18", ' in code
    quick = f'network="""{NETWORK}""", transfer=["fgsm"], strong="fgsm", accelerator="cpu", '
    exec(code.replace('network="resnet18", ', quick), {})
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Accuracy on clean images  1\.000 \[0\.912, 1\.000\]", said[0])
    assert said[1].startswith("Accuracy under attack fgsm 0.")


def test_the_call_has_the_options_of_a_request_with_their_defaults() -> None:
    parameters = inspect.signature(audit).parameters
    assert set(parameters) == {*(item.name for item in fields(Request)), "observer"}
    for item in fields(Request):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if default is not MISSING:
            assert repr(parameters[item.name].default) == repr(default), item.name


def test_a_call_with_a_wrong_value_says_which(tmp_path: Path) -> None:
    for options, sentence in (
        ({"eps": "big"}, "eps must hold numbers such as 0.03 or 8/255, got 'big'."),
        ({"eps": []}, "eps must be above 0, up to 1, got none."),
        ({"eps": [0.1, 2]}, "eps must be above 0, up to 1, got 0.1, 2.0."),
        ({"norm": "l1"}, "norm must be linf or l2, got l1."),
        ({"images": -1}, "images must be 0 (all) or more, got -1."),
        ({"images": 1.5}, "images must be a whole number, got 1.5."),
        ({"stated": 93}, "stated must be a share from 0 to 1, got 93.0."),
        ({"parent": 7}, "parent must be a name, a path or a mapping, got 7."),
        ({"reference": 7}, "reference must be a text, got 7."),
        ({"data": ""}, "data is missing: an audit needs model and data."),
        ({"classes": 7}, "classes must be a list of names, or a file with one name a line, got 7."),
        ({"transfer": []}, "transfer must be one attack or more, got none."),
        ({"accelerator": "tpu"}, "accelerator must be auto, cpu or gpu, got tpu."),
        ({"workers": -1}, "workers must be 0 (one a CPU core, at most 4) or more, got -1."),
    ):
        with pytest.raises(tl_robust.errors.ConfigError) as error:
            request_of({"model": "mine", "data": "images", **options})
        assert str(error.value) == sentence
    with pytest.raises(tl_robust.errors.ConfigError, match="did you mean 'parent'"):
        request_of({"model": "mine", "data": "images", "parents": ""})
    with pytest.raises(tl_robust.errors.ConfigError, match="data is missing"):
        request_of({"model": "mine"})
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    made = request_of({"model": Path("m"), "data": Path("d"), "classes": tmp_path / "names.txt", "decoys": Path("x")})
    assert (made.model, made.data, made.classes, made.decoys) == ("m", "d", ("ant", "bee"), ("x",))
    assert request_of({"model": "m", "data": "d", "classes": "ant,bee"}).classes == ("ant", "bee")


def test_a_parent_of_another_network_is_no_decoy(here: Path) -> None:
    from tl_robust.auditor.many_file import read

    saved(trained(3), here / "other.safetensors")
    shutil.copy(here / "oak.safetensors", here / "copy.safetensors")
    more = "  ash: {from: other.safetensors, network: resnet18}\n  twin: oak.safetensors\n  copy: copy.safetensors\n"
    text = SHARED.replace("parents: {oak: oak.safetensors, elm: {from: elm.safetensors}}\n",
                          f"parents:\n  oak: oak.safetensors\n  elm: elm.safetensors\n{more}")  # fmt: skip
    (here / "kinds.yaml").write_text(f"{text}models:\n  oak-0: {{from: oak_child0.safetensors, parent: oak}}\n")
    (asked,) = read(here / "kinds.yaml")
    assert [decoy["name"] for decoy in asked.request.decoys if isinstance(decoy, dict)] == ["elm"]
