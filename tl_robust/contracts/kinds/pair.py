"""What a pair promises: two different domains in one space, fit for a benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.contracts.kinds.domain import MISSING
from tl_robust.data.check import check_pair
from tl_robust.data.domain import DataSettings
from tl_robust.data.pair import PAIRS, DomainPair
from tl_robust.data.space import get_space
from tl_robust.errors import DataError


@dataclass(frozen=True)
class Asked:
    """A pair and where its data are.

    Attributes:
        kind: Its class.
        root: Folder of data sets; None where none was given.
    """

    kind: type[DomainPair]
    root: Path | None

    @property
    def pair(self) -> DomainPair:
        """The pair on these data, without a cache."""
        return self.kind(DataSettings(root=str(self.root or "no_data_root"), cache="", train_limit=500, test_limit=200))


def cases(named: Named) -> Iterator[tuple[str, Asked]]:
    """The pair with the folder of data sets."""
    yield "", Asked(PAIRS[named.name], named.root)


CONTRACTS = Contracts("pair", cases)


@CONTRACTS
def has_two_domains_in_a_space(asked: Asked) -> None:
    """Source and target are two known domains, and both are mapped into a known space."""
    pair = asked.pair
    source, target = (pair.side(role) for role in ("source", "target"))
    demand(source.domain != target.domain, "two different domains", f"{source.domain} twice", "name another target")
    demand(source.space == target.space, f"one space, {source.space}", str(target.space), "give both sides the same")
    get_space(source.space)


@CONTRACTS
def is_fit_for_a_benchmark(asked: Asked) -> None:
    """All that ``tl-robust check-pair`` looks at is in order: classes, shapes, splits without shared images."""
    try:
        sheet = check_pair(asked.pair)
    except DataError as error:
        if "not found" in str(error):
            raise NotAskedError(MISSING if asked.root is None else str(error)) from error
        raise
    for line in sheet:
        demand(line.passed, f"{line.check} to be in order", line.found, "repair the domain, or choose another space")
