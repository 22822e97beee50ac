"""The contracts of every kind that has no file of its own here, asked of all that the package has."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from asked import ask, every

from tl_robust.cli.parser import own_commands
from tl_robust.contracts.contract import Contract, Named, contracts_of

QUICK = ("trust check", "claim", "lock", "space")
LONG = ("threat", "engine", "sink", "step rule", "gradient trick", "objective", "way through a guard")


def _all(kinds: tuple[str, ...]) -> pytest.MarkDecorator:
    values = [value for kind in kinds for value in every(kind).args[1]]
    return pytest.mark.parametrize(("contract", "case"), values)


@_all(QUICK)
def test_every_component_keeps_the_contracts_of_its_kind(contract: Contract, case: Any) -> None:
    ask(contract, case)


@pytest.mark.slow
@_all(LONG)
def test_so_does_one_whose_contracts_take_long(contract: Contract, case: Any) -> None:
    ask(contract, case)


@pytest.mark.slow
@every("domain")
def test_domains_that_are_here_read_as_they_should(contract: Contract, case: Any) -> None:
    ask(contract, case)


@pytest.mark.parametrize("name", own_commands())
def test_every_command_keeps_its_contracts(name: str) -> None:
    stem = name.replace("-", "_")
    module = importlib.import_module(f"tl_robust.cli.commands.{stem}")
    for contract, _, case in contracts_of("command").asked(Named("command", stem, module)):
        contract(case)
