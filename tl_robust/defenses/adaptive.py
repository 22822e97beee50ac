"""The attacker who has read the file of a defense."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, fields

from tl_robust.attacks import ATTACKS
from tl_robust.attacks.objectives import OBJECTIVES
from tl_robust.attacks.through import THROUGH
from tl_robust.attacks.tricks import parse_tricks
from tl_robust.errors import ConfigError
from tl_robust.registry import Component

VIEWS = ("white", "black", "shadow")


@dataclass(frozen=True)
class Adaptive:
    """An attack by someone who knows the defense; it is run beside the plain attack, and the worst case counts.

    In the views black and shadow the attacker crafts on a model of his own with the same guard around it.

    Attributes:
        why: What it does about the defense, and whose idea it is, in one sentence; it is printed.
        through: What gradients are taken of, a name of ``attacks/through``.
        view: ``white``, ``black`` (from A) or ``shadow`` (from a model for which the attacker repeats strategy and
            defense, with a seed of his own); empty for every view.
        objective: What is maximized instead of the attack's own objective.
        tricks: Gradient tricks before the attack's own.
        attack: What is run in the place of the bench's attack, in the same norm, such as ``strong(steps=20)``.
        backdoor: Settings of the backdoor that an attacker who poisons changes, such as ``labels=clean``, or another
            one with settings: ``blend(alpha=0.1)``; empty where the attack is one of evasion.
        exists: False where no such attack is known: then no number of the defense is to be believed.
    """

    why: str
    through: str = "exact"
    view: str = ""
    objective: str = ""
    tricks: str = ""
    backdoor: str = ""
    exists: bool = True
    attack: str = ""

    def __post_init__(self) -> None:
        if not self.why.strip() or self.view not in ("", *VIEWS):
            raise ConfigError(
                f"an adaptive attack needs a sentence that says why, and view {', '.join(VIEWS)} or none, got "
                f"{self.why!r} and {self.view!r}."
            )
        THROUGH.parse(self.through)
        parse_tricks(self.tricks)
        if self.attack:
            ATTACKS.parse(self.attack)
        if self.objective:
            OBJECTIVES.parse(self.objective)

    @classmethod
    def none(cls, why: str, view: str = "") -> Adaptive:
        """Nobody has written an attack on this defense, for the reason ``why``; every number of it will be red."""
        return cls(why, view=view, exists=False)

    def made_of(self, attack: Component) -> Component:
        """The plain attack, or :attr:`attack`, with this objective and these tricks, as far as it has such settings."""
        if self.attack:
            name, written = ATTACKS.written(self.attack)
            written |= {key: value for key, value in attack.settings if key == "norm"}
            with suppress(ConfigError):  # it may not have this norm
                ATTACKS[name](**written)  # type: ignore[arg-type]
                attack = ATTACKS.component(name, written)
        kind, settings = ATTACKS[attack.name], dict(attack.settings)
        own = {item.name: item.default for item in fields(kind)} | settings
        if self.tricks and "tricks" in own:
            settings["tricks"] = " + ".join(filter(None, (self.tricks, str(own["tricks"]))))
        if self.objective:
            try:
                kind(**(settings | {"objective": self.objective}))  # type: ignore[arg-type]
            except ConfigError:  # such as square: it compares margins and nothing else
                return ATTACKS.component(attack.name, settings)
            settings["objective"] = self.objective
        return ATTACKS.component(attack.name, settings)
