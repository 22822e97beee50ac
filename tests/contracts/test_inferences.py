"""The contracts of every registered inference, and of those with modes in each of them."""

from __future__ import annotations

from typing import Any

import pytest
from asked import ask, every

from tl_robust import inference
from tl_robust.contracts.contract import Contract, contracts_of
from tl_robust.registry import Scalar

LIRA: list[dict[str, Scalar]] = [
    {"mode": mode, "variance": variance} for mode in ("online", "offline") for variance in ("own", "shared", "shrunken")
]
MODES: list[tuple[str, dict[str, Scalar]]] = [
    ("parent_gap", {"signal": "margin"}),
    ("calibrated", {"signal": "loss", "over": "out"}),
    *(("lira", settings) for settings in LIRA),
    ("rmia", {"mode": "offline"}),
]
OF_CASES = [contract for contract in contracts_of("inference").contracts if not contract.once]


@every("inference")
def test_every_inference_keeps_its_contracts(contract: Contract, case: Any) -> None:
    ask(contract, case)


@pytest.mark.parametrize(
    ("name", "settings"), MODES, ids=["-".join([name, *map(str, each.values())]) for name, each in MODES]
)
@pytest.mark.parametrize("contract", OF_CASES, ids=str)
def test_so_does_every_mode(contract: Contract, name: str, settings: dict[str, Scalar]) -> None:
    ask(contract, inference.get(name, **settings))
