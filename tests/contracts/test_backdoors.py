"""The contracts of every registered backdoor."""

from asked import ask, every

from tl_robust.contracts.contract import Contract


@every("backdoor")
def test_every_backdoor_keeps_its_contracts(contract: Contract, case: object) -> None:
    ask(contract, case)
