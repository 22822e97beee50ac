"""The contracts of every registered metric, and what ratios and names alone promise."""

from typing import Any

import pytest
from asked import ask, every
from torch import Tensor

from tl_robust import metrics
from tl_robust.contracts.contract import Contract
from tl_robust.contracts.records import outcome
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.metrics import METRICS, rate
from tl_robust.types import Outcome

OF_ANY = ("tells_readers_what_it_is", "gives_a_curve_of_every_record")


@every("metric", keep=lambda contract, title, name: str(contract) in OF_ANY or METRICS[name].of is Outcome)
def test_every_metric_keeps_its_contracts(contract: Contract, case: Any) -> None:
    ask(contract, case)


@pytest.mark.parametrize("name", ["surrogate_ratio", "transfer_ratio"])
@pytest.mark.parametrize("harmed", [1, 2, 3])
def test_bootstrap_sets_without_harm_are_undefined_not_rounding_noise(name: str, harmed: int) -> None:
    """Of 997 samples few are harmed below the line: a resampled set holds none of them with probability exp(-harmed).

    Above the line are two others; a ratio of counts of resampled samples cannot be 100 here.
    """
    black, _ = outcome(997)
    right = ((black.clean_a == black.label) & (black.clean_b == black.label)).nonzero().flatten()
    below, above = black.label.expand(4, 997).clone(), black.label.expand(4, 997).clone()
    below[1:, right[:harmed]] = (black.label[right[:harmed]] + 1) % 4
    above[1:, right[10:12]] = (black.label[right[10:12]] + 1) % 4
    clean = {"clean_a": black.label, "clean_b": black.label}
    both = Outcome(**black.tensors() | clean | {"adv_a": below, "adv_b": above})
    white = Outcome(**black.tensors() | clean | {"adv_a": below, "adv_b": below})
    curve = metrics.get(name).curve(both, white)
    assert curve.value[1:].tolist() == pytest.approx([2 / harmed] * 3)
    assert bool((curve.low[1:] >= 0).all())
    assert bool((curve.high[1:] < 100).all())


def test_names() -> None:
    assert set(metrics.names()) >= {
        "robust_accuracy", "error_rate", "fooling_rate", "match_rate", "same_mistake", "surrogate_accuracy",
        "transfer_ratio", "surrogate_ratio", "curve_area", "half_eps",
    }  # fmt: skip
    with pytest.raises(UnknownNameError, match=r"unknown metric 'robust_acuracy'; did you mean 'robust_accuracy'"):
        metrics.get("robust_acuracy")


def test_a_name_is_taken_once() -> None:
    def again(outcome: Outcome) -> tuple[Tensor, Tensor]:
        """Again."""
        return outcome.adv_b == outcome.label, outcome.label == outcome.label

    again.__module__ = "plugin.error_rate"
    with pytest.raises(ConfigError, match=r"two metrics are named 'error_rate' .*: rename one of the files"):
        rate()(again)
    assert METRICS["error_rate"].doc != "Again."
