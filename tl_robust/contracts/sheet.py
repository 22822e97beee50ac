"""A sheet: what became of each contract of each registered object of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tl_robust.contracts.contract import Contract, Named, NotAskedError, contracts_of, crash

State = Literal["passed", "broken", "not asked", "unread"]


@dataclass(frozen=True)
class Line:
    """What became of one contract.

    Attributes:
        file: Name of the file in the folder.
        kind: The kind that it registered something as; empty where it was not read.
        name: The registered name.
        contract: What was promised, as a sentence reads.
        state: ``unread`` where the file could not be read at all.
        says: One sentence where it is broken, was not asked, or was not read; else empty.
    """

    file: str
    kind: str
    name: str
    contract: str
    state: State
    says: str = ""

    def written(self) -> dict[str, str]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Line:
        """The line that :meth:`written` wrote.

        Raises:
            TypeError: It has other fields.
        """
        return cls(**{str(name): value for name, value in written.items()})


def lines(named: Named) -> Iterator[Line]:
    """All contracts of a registered object; one that is asked of several cases has one line.

    It is broken where it is broken for any case, and not asked where it could be asked of none.
    """
    known = contracts_of(named.kind)
    told: dict[Contract, list[tuple[State, str]]] = {contract: [] for contract in known.contracts}
    no_case = ""
    try:
        for contract, title, case in known.asked(named):
            told[contract].append(_asked(contract, title, case, named.path))
    except NotAskedError as reason:
        no_case = str(reason)
    except Exception as error:  # noqa: BLE001  (an author's class may raise anything when an object is made of it)
        no_case = ""
        made = "it can be made with its own settings"
        yield Line(_file(named), named.kind, named.name, made, "broken", crash(error, named.path))
    for contract, answers in told.items():
        state, says = _worst(answers) if answers else ("not asked", no_case or "No object of it could be made.")
        yield Line(_file(named), named.kind, named.name, contract.name, state, says)


def _asked(contract: Contract, title: str, case: Any, path: Path | None) -> tuple[State, str]:
    try:
        said = contract.answer(case, path)
    except NotAskedError as reason:
        return "not asked", str(reason)
    return ("broken", f"{title}: {said}" if title else _sentence(said)) if said else ("passed", "")


def _worst(answers: list[tuple[State, str]]) -> tuple[State, str]:
    """The first that is broken; else passed where any was kept."""
    order: tuple[State, ...] = ("broken", "passed", "not asked")
    return min(answers, key=lambda answer: order.index(answer[0]))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _file(named: Named) -> str:
    return named.path.name if named.path else ""
