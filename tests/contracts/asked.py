"""Every contract of a kind with everything of this kind that the package has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tl_robust.contracts.contract import Contract, Named, NotAskedError, contracts_of
from tl_robust.registry import registry


def every(kind: str, *, keep: Callable[[Contract, str, Any], bool] = lambda *_: True) -> pytest.MarkDecorator:
    """A test with ``contract`` and ``case`` for each that ``keep`` takes; one for all where it is asked of a name."""
    asked, once = [], dict[Contract, list[Any]]()
    for name, contract, title, case in _asked(kind):
        if contract.once:
            once.setdefault(contract, []).append(case)
        elif keep(contract, title, case):
            asked.append(pytest.param(contract, case, id="-".join(filter(None, [str(contract), name, title]))))
    asked += [pytest.param(contract, cases, id=f"{contract}-{kind}") for contract, cases in once.items()]
    return pytest.mark.parametrize(("contract", "case"), asked)


def _asked(kind: str) -> Iterator[tuple[str, Contract, str, Any]]:
    known, items = contracts_of(kind), registry(kind)
    for name in items.names():
        try:
            for contract, title, case in known.asked(Named(kind, name, items[name])):
                yield name, contract, title, case
        except NotAskedError:  # such as a frame that needs a setting
            continue


def ask(contract: Contract, case: Any) -> None:
    """The test: it fails with the sentence of a broken contract."""
    if contract.once:
        for named in case:
            with suppress(NotAskedError):
                contract(named)
        return
    try:
        contract(case)
    except NotAskedError as reason:
        pytest.skip(str(reason))
