"""What a part of attacks promises: an attack that has it keeps the contracts of attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tl_robust import attacks
from tl_robust.attacks import Attack
from tl_robust.contracts.attack_cases import few_copies
from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, NotAskedError
from tl_robust.contracts.kinds import attack
from tl_robust.errors import ConfigError

PROMISES: tuple[Callable[[Attack], None], ...] = (
    attack.keeps_the_budget_and_the_range,
    attack.is_the_identity_at_eps_zero,
    attack.gives_the_same_at_an_eps_alone_and_in_any_grid,
    attack.repeats_itself_and_leaves_the_global_generator_alone,
    attack.does_not_depend_on_the_batch,
    attack.does_not_depend_on_the_order,
    attack.leaves_the_model_as_it_was,
    attack.restores_the_model_after_an_error,
    attack.leaves_its_inputs_alone,
    attack.works_in_any_gradient_mode_of_its_caller,
)


def contracts_of_part(kind: str, setting: str, more: dict[str, Any]) -> Contracts:
    """The contracts of a kind of parts, asked of PGD with the part in linf and l2.

    Args:
        kind: The kind of the parts.
        setting: The setting of PGD that names one.
        more: Other settings of that PGD.
    """

    def cases(named: Named) -> Iterator[tuple[str, Attack]]:
        for norm in ("linf", "l2"):
            settings: dict[str, Any] = more | {
                setting: few_copies(named.name) if setting == "tricks" else named.name,
                "norm": norm,
            }
            try:
                yield norm, attacks.get("pgd", **settings)
            except ConfigError as error:
                raise NotAskedError(f"No attack can be made with it alone ({str(error).rstrip('.')}).") from error

    contracts = Contracts(kind, cases)
    shared(contracts)
    for promise in PROMISES:
        contracts(promise)
    return contracts
