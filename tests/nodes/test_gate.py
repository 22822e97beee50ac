"""Fast modes: nearly the same logits, compared with full precision, and refused where they differ too much."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tl_robust.bench.plan import make_plan
from tl_robust.bench.runner import gather, run
from tl_robust.config import load
from tl_robust.errors import UnknownNameError
from tl_robust.models import build, fast
from tl_robust.models.fast import MODES, accelerate, best_batch, check_modes
from tl_robust.nodes import crafting
from tl_robust.nodes.examination import EXAMINATIONS, Examinee
from tl_robust.nodes.gate import compare, gate_places
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.types import Outcome

N = 300


def network() -> nn.Module:
    torch.manual_seed(1)
    made = build(Component("dtn", 1, (("width", 0.1),)), (3, 32, 32), 10)
    made(torch.rand(64, 3, 32, 32))  # BatchNorm learns, so that folding it is not the identity
    return made.eval()


@pytest.mark.parametrize(
    ("mode", "close"), [("fold", 1e-5), ("subpixel", 1e-5), ("bf16", 0.05), ("channels_last", 1e-5)]
)
def test_a_fast_mode_gives_nearly_the_same_logits_and_gradients(mode: str, close: float) -> None:
    plain, images = network(), torch.rand(20, 3, 32, 32)
    quick = accelerate(plain, [mode])
    assert plain.state_dict().keys() == network().state_dict().keys()  # it is left as it was
    found = []
    for model in (plain, quick):
        given = images.clone().requires_grad_()
        logits = model(given)
        assert logits.dtype == torch.float32
        found.append((logits.detach(), torch.autograd.grad(logits.logsumexp(1).sum(), given)[0]))
    scale = float(found[0][0].abs().max())
    assert float((found[0][0] - found[1][0]).abs().max()) <= close * scale
    cosine = torch.cosine_similarity(found[0][1].flatten(1), found[1][1].flatten(1))
    assert float(cosine.min()) > 1 - 10 * close


def test_modes_compose_in_their_own_order() -> None:
    assert check_modes(["bf16", "fold"]) == ("fold", "bf16")
    quick = accelerate(network(), ["bf16", "fold"])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    assert {parameter.dtype for parameter in quick.parameters()} == {torch.bfloat16}
    with pytest.raises(UnknownNameError, match="unknown fast mode 'fp8'"):
        accelerate(network(), ["fp8"])


def test_the_fastest_batch_is_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(fast.time, "perf_counter", lambda: clock[0])

    def model(images: torch.Tensor) -> torch.Tensor:
        clock[0] += abs(len(images) - 500) + 100  # by far the fastest an image at 500
        return images.flatten(1)

    assert best_batch(model, torch.rand(7, 1, 2, 2)) == 500


def outcome(wrong: int, ids: torch.Tensor) -> Outcome:
    """Right everywhere but for the samples 0 to ``wrong``, under attack."""
    label = ids % 3
    adv = torch.where(ids < wrong, (label + 1) % 3, label)[None]
    some, flag = torch.zeros(1, len(ids)), torch.zeros(len(ids), dtype=torch.bool)
    return Outcome(ids, label, label, label, adv, adv, some, torch.tensor([0.1]), flag, some == 0, ~flag)


def test_the_gate_compares_the_same_samples() -> None:
    part = torch.arange(0, N, 3)
    shuffled = torch.randperm(N)
    gate = compare({"b": outcome(0, shuffled)}, {"b": outcome(0, part)})
    assert (gate.samples, gate.accuracy, gate.predictions, gate.passed) == (100, 0, 0, True)
    gate = compare({"b": outcome(0, shuffled)}, {"b": outcome(3, part)})
    assert (gate.accuracy, gate.passed) == (pytest.approx(0.01), True)  # one of 100
    gate = compare({"b": outcome(0, shuffled)}, {"b": outcome(6, part)})
    assert (gate.accuracy, gate.predictions, gate.passed) == (pytest.approx(0.02), pytest.approx(0.02), False)


def test_the_gate_looks_at_all_classes() -> None:
    labels = torch.arange(1000) // 100
    place = gate_places(labels, 50)
    assert len(place) == 50
    assert labels[place].bincount().min() >= 4
    assert len(gate_places(labels[:7], 50)) == 7


def broken(model: nn.Module) -> nn.Module:
    return nn.Sequential(model, nn.Linear(10, 10))


@pytest.mark.parametrize("case", ["passes", "refused", "fails", "inside"])
def test_a_bench_uses_a_fast_mode_only_where_it_agrees(
    case: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[{name: pgd, steps: 2}]"]
    if case == "inside":
        few[-1] = "axes.attack=[{name: pgd, steps: 2, objective: feature}]"
    if case == "refused":
        monkeypatch.setitem(MODES, "fold", broken)
    if case == "fails":
        monkeypatch.setattr(crafting, "accelerate", lambda *given: (_ for _ in ()).throw(RuntimeError("no luck")))

    def made(overrides: list[str]) -> tuple[dict[str, object], list[list[float]]]:
        config = load(tiny, [f"results={tmp_path / 'r'}", *few, *overrides])
        finished = run(make_plan(config.bench), config.bench, Store(config.results / "store"))
        assert not finished.failures
        curves = [result.curves["robust_accuracy"].value.tolist() for result in finished.results]
        return dict(finished.results[0].provenance), curves

    plain, curves = made([])
    assert "gate" not in plain
    found, quick = made(["fast=[fold]"])
    assert found["outcome"] != plain["outcome"]  # another key: the numbers may differ
    assert found["fast"] == ["fold"]
    for one, other in zip(curves, quick, strict=True):
        assert one == pytest.approx(other, abs=0.011)
    if case == "passes":
        assert found["gate"]["passed"]
        assert found["gate"]["samples"] == 80
        assert found["refused"] == ""
    elif case == "refused":
        assert not found["gate"]["passed"]
        assert "of accuracy differ" in found["refused"]
        assert curves == quick  # crafted again in full
    else:
        assert found["refused"] == {
            "fails": "RuntimeError: no luck", "inside": "the objective looks inside the network",
        }[case]  # fmt: skip
        assert curves == quick


def test_a_measured_batch_is_recorded(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crafting, "best_batch", lambda model, images: 33)
    config = load(tiny, [f"results={tmp_path / 'r'}", "axes.seed=[0]", "axes.strategy=[scratch]", "attack_batch=0"])
    bench = replace(config.bench)
    finished = run(make_plan(bench), bench, Store(config.results / "store"))
    assert {result.provenance["attack_batch"] for result in finished.results} == {33}


def test_the_time_of_trust_checks_is_known(tiny: Path, tmp_path: Path) -> None:
    config = load(tiny, [f"results={tmp_path / 'r'}", "axes.seed=[0]", "axes.strategy=[scratch]"])
    plan, store = make_plan(config.bench), Store(config.results / "store")
    finished = run(plan, config.bench, store)
    examinees = [node for node in plan.nodes if isinstance(node, Examinee)]
    spent = sum(store.manifest(EXAMINATIONS, one.key)["made"]["seconds"] for one in examinees)
    assert finished.seconds["examinations"] == pytest.approx(spent)
    assert spent > 0
    assert all(result.verdict.level in ("green", "amber", "red") for result in finished.results)
    for one in examinees:  # a damaged examination is named, made again, and until then not believed
        (tmp_path / "r" / "store" / "examinations" / one.key / "examination.npz").write_bytes(b"cut")
    doubted = gather(plan, store)
    assert all(result.verdict.level != "green" for result in doubted.results)
    assert any("could not examine" in reason for reason in doubted.results[0].verdict.reasons)
    again = run(plan, config.bench, store)
    assert [one.verdict for one in again.results] == [one.verdict for one in finished.results]
