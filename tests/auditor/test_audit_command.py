"""The command ``audit``: what it writes, what it prints, and what its exit code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.auditor.families import Family
from tl_robust.audit import audit_file
from tl_robust.cli import main

WRITTEN = {"audit.json", "audit.sarif", "bom.cdx.json", "model_card.md", "risk.html"}


def words(family: Family, out: Path, *more: str, model: str = "child") -> list[str]:
    return [
        "audit", str(family.folder / f"{model}.safetensors"), "--parent", str(family.folder / "parent.safetensors"),
        "--decoy", str(family.folder / "decoy0.safetensors"), "--decoy", str(family.folder / "decoy1.safetensors"),
        "--network", "{name: dtn, width: 0.05}", "--data", "npz:patterns", "--root", str(family.folder),
        "--eps", "16/255", "32/255", "--transfer", "fgsm", "{name: mi, steps: 3}", "--strong", "{name: pgd, steps: 3}",
        "--results", str(family.folder / "results"), "--workers", "1", "--accelerator", "cpu", "--plain",
        "--out", str(out), *more,
    ]  # fmt: skip


def policy(tmp_path: Path, *rules: str) -> str:
    (tmp_path / "policy.yaml").write_text("rules:\n" + "".join(f"  - {rule}\n" for rule in rules))
    return str(tmp_path / "policy.yaml")


def test_all_files_are_written_and_say_the_same(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(family, tmp_path / "out")) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    audit = audit_file.read(tmp_path / "out" / "audit.json")
    assert audit.price
    told = " ".join(capsys.readouterr().out.split())
    assert f"The public parent costs {100 * audit.price.price.value:.1f} points" in told
    assert "Risk sheet: " in told
    page = (tmp_path / "out" / "risk.html").read_text()
    assert f"{100 * audit.price.price.value:.1f} points" in page
    assert json.loads((tmp_path / "out" / "bom.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    assert "base_model: parent" in (tmp_path / "out" / "model_card.md").read_text()
    (run,) = json.loads((tmp_path / "out" / "audit.sarif").read_text())["runs"]
    assert {result["kind"] for result in run["results"]} <= {"pass", "informational", "notApplicable"}


@pytest.mark.parametrize(
    ("rules", "more", "code"),
    [
        (["robust_accuracy@16/255 >= 0.0"], [], 0),
        (["robust_accuracy[black]@32/255 >= 0.999"], [], 1),
        (["robust_accuracy[white]@32/255 >= 0.02"], [], 0),  # 0 of 100 with an interval that reaches 3.6 %
        (["robust_accuracy[white]@32/255 >= 0.02"], ["--strict"], 3),
        (["parent_price <= -0.5"], [], 1),
        (["robust_accuracy@1/255 >= 0.4"], [], 2),
        (["robust_accuracyy@16/255 >= 0.4"], [], 2),
    ],
)
def test_the_exit_code_is_what_the_policy_says(
    family: Family, tmp_path: Path, rules: list[str], more: list[str], code: int
) -> None:
    assert main(words(family, tmp_path / "out", "--policy", policy(tmp_path, *rules), *more)) == code


def test_a_later_audit_is_compared_with_an_earlier_one(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(family, tmp_path / "first")) == 0
    rule = f"{{not_worse_than: '{tmp_path / 'first' / 'audit.json'}', margin: 0.05}}"
    assert main(words(family, tmp_path / "same", "--policy", policy(tmp_path, rule))) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "it gained +0.0 points [0.0, 0.0], sample by sample" in said
    # the parent itself is right on nothing, so that a lock stops it
    assert main(words(family, tmp_path / "other", "--policy", policy(tmp_path, rule), model="decoy0")) == 2


def test_a_failed_lock_stops_the_audit_and_is_written_down(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {name: tensor.clone() for name, tensor in family.networks["child"].state_dict().items()}
    state["classifier.weight"], state["classifier.bias"] = state["classifier.weight"] * 0, state["classifier.bias"] * 0
    save_file(state, family.folder / "constant.safetensors")
    assert main(words(family, tmp_path / "out", model="constant")) == 2
    audit = audit_file.read(tmp_path / "out" / "audit.json")
    assert (audit.findings, audit.price) == ((), None)
    assert [lock.name for lock in audit.failed_locks] == ["head_is_trained"]
    told = capsys.readouterr().out
    assert "failed  head_is_trained" in told
    assert "Nothing was attacked" in told


def test_an_accuracy_that_is_not_as_stated_stops_it(family: Family, tmp_path: Path) -> None:
    assert main(words(family, tmp_path / "out", "--stated", "0.4")) == 2
    assert [lock.name for lock in audit_file.read(tmp_path / "out" / "audit.json").failed_locks] == ["as_stated"]
    assert main(words(family, tmp_path / "out", "--stated", "0.95")) == 0


def test_a_lock_may_be_passed_over_by_name(family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(family, tmp_path / "out", "--stated", "0.4", "--despite", "as_stated")) == 0
    audit = audit_file.read(tmp_path / "out" / "audit.json")
    (lock,) = (lock for lock in audit.locks if lock.name == "as_stated")
    assert lock.passed is None
    assert lock.reason.startswith("It failed, and was passed over by --despite.")
    assert audit.price
    assert main(words(family, tmp_path / "out", "--stated", "0.4", "--despite", "class_order")) == 2
    assert main(words(family, tmp_path / "out", "--despite", "as_statd")) == 2
    assert "did you mean 'as_stated'" in capsys.readouterr().err


def test_nothing_is_written_where_an_input_is_wrong(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(family, tmp_path / "out", "--policy", str(tmp_path / "none.yaml"))) == 2
    assert main(words(family, tmp_path / "out", model="none")) == 2
    assert not (tmp_path / "out").exists()
    (first, second) = capsys.readouterr().err.splitlines()
    assert first.startswith("error: cannot read the policy")
    assert "none.safetensors not found" in second


def test_torch_is_asked_for_one_thread_again(family: Family, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    assert main(words(family, tmp_path / "out")) == 0
    assert torch.get_num_threads() == before
