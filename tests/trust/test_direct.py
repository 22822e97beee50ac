"""All checks from Python in one call: an honest model is green, a masked one is not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks, evaluate, trust
from tl_robust.errors import ConfigError
from tl_robust.trust import CHECKS, verdicts
from tl_robust.types import Evidence, Verdict

EPS = [0, 8 / 255, 0.1, 0.25]


@pytest.fixture
def given(digits: tuple[Tensor, Tensor]) -> dict[str, Any]:
    return {"images": digits[0][:100], "labels": digits[1][:100], "eps": EPS}


def masked(network: nn.Module) -> Any:
    """Quantized input: the gradient is zero."""
    return lambda images: network(images.mul(15).round() / 15)


def test_an_honest_pair_is_green_and_a_masked_victim_is_red(
    networks: dict[str, nn.Module], given: dict[str, Any]
) -> None:
    a = networks["dtn"]
    victims = {"honest": networks["residual"], "itself": a, "masked": masked(a)}
    found = verdicts(attacks.get("pgd"), surrogate=a, victims=victims, **given)
    assert found["honest"] == found["itself"] == Verdict()
    assert found["masked"].level == "red"
    assert any("masks its gradients" in reason for reason in found["masked"].reasons)


@pytest.mark.parametrize("name", ["pgd", "fgsm"])
def test_a_white_box_number_of_a_masked_model_is_red(
    networks: dict[str, nn.Module], given: dict[str, Any], name: str
) -> None:
    model = masked(networks["dtn"])
    found = verdicts(attacks.get(name), surrogate=model, victims={"b": model}, **given)["b"]
    assert found.level == "red"
    assert verdicts(
        attacks.get(name), surrogate=networks["dtn"], victims={"b": networks["dtn"]}, **given
    )["b"] == Verdict()  # fmt: skip


def test_it_runs_what_a_bench_runs(networks: dict[str, nn.Module], given: dict[str, Any]) -> None:
    a, b, attack = networks["dtn"], masked(networks["linear"]), attacks.get("pgd", steps=3)
    outcome = evaluate(attack, surrogate=a, victims={"b": b}, seed=4, **given)["b"]
    white = evaluate(attack, surrogate=b, victims={"b": b}, seed=4, **given)["b"]
    seen = [trust.examine(model, *given.values(), "linf", seed=4) for model in (a, b)]
    expected = trust.judge(Evidence(outcome, {"white": white}, *seen))
    assert expected.level == "red"
    assert verdicts(attack, surrogate=a, victims={"b": b}, seed=4, **given)["b"] == expected
    assert verdicts(attack, surrogate=a, victims={"b": b}, seed=4, outcomes={"b": outcome}, **given)["b"] == expected


def test_bytes_are_images_too(networks: dict[str, nn.Module], given: dict[str, Any]) -> None:
    as_bytes = given | {"images": given["images"].mul(255).round().to(torch.uint8)}
    a, b = networks["dtn"], networks["linear"]
    assert verdicts(attacks.get("fgsm"), surrogate=a, victims={"b": b}, **as_bytes)["b"] == Verdict()


def test_a_surrogate_of_other_labels(networks: dict[str, nn.Module], given: dict[str, Any]) -> None:
    def shifted(images: Tensor) -> Tensor:
        return networks["dtn"](images).roll(3, 1)

    given |= {"surrogate": shifted, "victims": {"b": networks["residual"]}}
    assert verdicts(attacks.get("pgd"), same_labels=False, **given)["b"] == Verdict()
    mistaken = verdicts(attacks.get("pgd"), **given)["b"]
    assert mistaken.level == "red"
    assert any("no better than chance" in reason for reason in mistaken.reasons)


def test_two_victims_that_are_one_are_named(networks: dict[str, nn.Module], given: dict[str, Any]) -> None:
    """A defense that does nothing; one model under two names is no alarm."""
    a, b = networks["dtn"], networks["linear"]
    found = verdicts(
        attacks.get("fgsm"), surrogate=a, victims={"plain": b, "again": b, "defended": lambda x: b(x)}, **given
    )
    assert [verdict.level for verdict in found.values()] == ["amber"] * 3
    assert "victim defended and victim plain; victim defended and victim again" in found["defended"].reasons[0]
    assert "again" not in found["plain"].reasons[0]


def test_outcomes_of_others_are_refused(networks: dict[str, nn.Module], given: dict[str, Any]) -> None:
    a, b, attack = networks["dtn"], networks["linear"], attacks.get("fgsm")
    outcomes = evaluate(attack, surrogate=a, victims={"b": b}, **given)
    for change, text in (
        ({"victims": {"b": b, "c": b}}, "'c' has others or is missing"),
        ({"victims": {"c": b}}, "has others or is missing"),
        ({"labels": (given["labels"] + 1) % 10}, "'b' has others or is missing"),
        ({"eps": [0, 0.5]}, r"outcomes\['b'\] has eps"),
    ):
        with pytest.raises(ConfigError, match=text):
            verdicts(attack, **{"surrogate": a, "victims": {"b": b}, "outcomes": outcomes} | given | change)


def test_every_check_has_a_say(networks: dict[str, nn.Module], given: dict[str, Any]) -> None:
    model = lambda images: networks["dtn"](images).softmax(1)  # noqa: E731
    found = verdicts(attacks.get("fgsm"), surrogate=model, victims={"b": model}, **given)["b"]
    assert any("probabilities" in reason for reason in found.reasons)
    assert {"above_chance", "distinct_outcomes", "finite_logits", "survives_rounding"} <= set(CHECKS.names())
