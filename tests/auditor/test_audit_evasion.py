"""Evasion in an audit: its numbers are those of the attacks, and nothing is computed twice."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.auditor.families import NETWORK, Family
from tl_robust import attacks
from tl_robust.audit.record import Audit, Finding
from tl_robust.auditor.conduct import conduct
from tl_robust.engines.observer import Observer
from tl_robust.errors import ConfigError, DataError, UnknownNameError

EPS = [16 / 255, 32 / 255]


@pytest.fixture(scope="module")
def audit(family: Family) -> Audit:
    return conduct(family.request())


def one(audit: Audit, view: str, attack: str, eps: float) -> Finding:
    (found,) = (
        finding
        for finding in audit.findings
        if (finding.threat, finding.view, finding.attack) == ("evasion", view, attack)
        and math.isclose(finding.eps, eps)
    )
    return found


def turned(family: Family, surrogate: str, same_labels: bool = False) -> dict[str, torch.Tensor]:
    """Which images each attack from a model turns at each eps, bool ``[K,N]``, by the function for two models."""
    made = {}
    for name, attack in (("fgsm", attacks.get("fgsm")), ("mi(steps=3)", attacks.get("mi", steps=3))):
        outcome = attacks.evaluate(
            attack, surrogate=family.networks[surrogate], victims={"b": family.networks["child"]},
            images=family.test.images, labels=family.test.labels, eps=EPS, same_labels=same_labels,
        )["b"]  # fmt: skip
        made[name] = (outcome.adv_b != outcome.label) & (outcome.clean_b == outcome.label)
    return made


def test_accuracies_are_those_of_the_attacks(audit: Audit, family: Family) -> None:
    expected = turned(family, "parent")
    clean = one(audit, "", "", 0.0)
    for attack, hits in expected.items():
        for place, eps in enumerate(EPS):
            found = one(audit, "black", attack, eps)
            assert found.value == pytest.approx(clean.value - float(hits[place].double().mean()), abs=0.03)
            assert found.low < found.high
            assert 0.05 < found.value < clean.value - 0.05
    whole = one(audit, "black", "worst of fgsm, mi(steps=3)", EPS[1])
    both = torch.tensor(one(audit, "black", "fgsm", EPS[1]).hits) & torch.tensor(
        one(audit, "black", "mi(steps=3)", EPS[1]).hits
    )
    assert torch.equal(torch.tensor(whole.hits), both)


def test_the_white_box_is_the_model_itself(audit: Audit, family: Family) -> None:
    outcome = attacks.evaluate(
        attacks.get("pgd", steps=3), surrogate=family.networks["child"], victims={"b": family.networks["child"]},
        images=family.test.images, labels=family.test.labels, eps=EPS,
    )["b"]  # fmt: skip
    right = (outcome.adv_b[1] == outcome.label) & (outcome.clean_b == outcome.label)
    assert one(audit, "white", "pgd(steps=3)", EPS[1]).value == pytest.approx(float(right.double().mean()), abs=0.04)


def test_the_price_compares_the_worst_of_all_attacks(audit: Audit, family: Family) -> None:
    right = torch.tensor(one(audit, "", "", 0.0).hits)
    shares = [
        float(torch.stack(list(turned(family, name).values()))[:, 1].any(0)[right].double().mean())
        for name in ("parent", "decoy0", "decoy1")
    ]
    assert audit.price
    assert audit.price.parent.value == pytest.approx(shares[0], abs=0.03)
    assert audit.price.unrelated.value == pytest.approx(sum(shares[1:]) / 2, abs=0.03)
    assert (audit.price.models, audit.price.price.n) == (2, int(right.sum()))


def test_an_audit_goes_on_where_another_stopped(audit: Audit, family: Family) -> None:
    class Watch(Observer):
        def __init__(self) -> None:
            self.computed: list[str] = []

        def begin(self, stage: str, label: str) -> None:
            self.computed.append(f"{stage} {label}")

    watch = Watch()
    again = conduct(family.request(), watch)
    assert watch.computed == []
    assert replace(again, date="") == replace(audit, date="")
    conduct(family.request(transfer=("fgsm", {"name": "mi", "steps": 2}), decoys=()), watch)
    assert [line for line in watch.computed if line.startswith("attack ")] == [
        "attack mi(steps=2) on checkpoint:parent against npz:patterns"
    ]


@pytest.mark.gpu
def test_a_gpu_finds_the_same(audit: Audit, family: Family, tmp_path: Path) -> None:
    other = conduct(family.request(accelerator="gpu", results=tmp_path))
    assert other.made["device"] != audit.made["device"]
    found = {finding.key: finding.value for finding in other.findings}
    for finding in audit.findings:
        assert found[finding.key] == pytest.approx(finding.value, abs=0.05), finding.key


def test_what_the_inputs_do_not_allow_is_said(family: Family) -> None:
    alone = conduct(family.request(decoys=()))
    assert alone.price is None
    assert any(item.name == "parent_price" and "--decoy" in item.reason for item in alone.not_run)
    unknown = conduct(family.request(decoys=(), parent=""))
    assert unknown.parent is None
    assert {item.name for item in unknown.not_run} >= {"parent_price", "robust_accuracy"}
    assert {finding.view for finding in unknown.findings if finding.threat == "evasion"} == {"", "white"}


def test_a_parent_that_knows_the_classes_is_attacked_by_their_labels(family: Family) -> None:
    """The child's own file as its parent: as many classes, and right far more often than a guess."""
    made = conduct(family.request(parent=str(family.folder / "child.safetensors"), decoys=()))
    assert made.parent
    assert made.parent.classes == made.model.classes
    assert made.parent.name == "child_2"
    other = conduct(family.request(decoys=()))
    assert other.parent
    assert other.parent.classes == tuple(f"parent {place}" for place in range(5))


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"transfer": ("fgsmm",)}, UnknownNameError, "did you mean 'fgsm'"),
        ({"strong": {"name": "pgd", "stepz": 3}}, UnknownNameError, "did you mean 'steps'"),
        ({"network": ""}, ConfigError, "holds weights alone: say which network"),
        ({"network": {"name": "dtn", "width": 0.1}}, DataError, "does not fit network"),
        ({"model": "nowhere.safetensors"}, DataError, "nowhere.safetensors not found"),
        ({"data": "npz:nothing"}, DataError, "npz:nothing not found"),
        ({"data": "nowhere"}, ConfigError, "'nowhere' is no folder, and no domain either"),
        ({"classes": ("a", "b")}, ConfigError, "share no class"),
        ({"eps": (0.0,)}, ConfigError, "--eps must be above 0"),
        ({"norm": "l7"}, ConfigError, "--norm must be linf or l2"),
        ({"stated": 93.0}, ConfigError, "--stated must be a share from 0 to 1"),
        ({"images": -1}, ConfigError, "--images must be 0"),
        ({"reference": "nowhere.npz"}, DataError, "No such file"),
    ],
)
def test_wrong_inputs_are_told_in_one_sentence(
    family: Family, changes: dict[str, object], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        conduct(family.request(**changes))


def test_the_names_of_folders_may_lack_letters(family: Family, tmp_path: Path) -> None:
    from PIL import Image

    names = ("Border collie", "Eel", "fox-terrier", "Ant", "bee eater")
    folders = ("ant", "bee_eater", "border-collie", "EEL", "fox terrier")
    order = [folders.index(name) for name in ("border-collie", "EEL", "fox terrier", "ant", "bee_eater")]
    for place, name in enumerate(order):
        (tmp_path / "photos" / folders[name]).mkdir(parents=True)
        own = family.test.images[family.test.labels == place]
        for index, image in enumerate(own[:12]):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / folders[name] / f"{index}.png")
    made = conduct(family.request(classes=names, data=str(tmp_path / "photos"), decoys=(), transfer=("fgsm",)))
    assert made.model.classes == names
    assert made.data.name == "photos, test split"
    assert one(made, "", "", 0.0).value > 0.7
    assert NETWORK["name"] == made.model.network
