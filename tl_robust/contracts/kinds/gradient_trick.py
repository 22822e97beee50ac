"""A gradient trick changes the gradient; an attack with it keeps what attacks promise."""

from __future__ import annotations

from tl_robust.contracts.attack_parts import contracts_of_part

CONTRACTS = contracts_of_part("gradient trick", "tricks", {"steps": 3, "step_size": 0.4})
