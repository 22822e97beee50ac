"""What others call a finding: the words of its threat, of its attack, and what its view or its number adds to them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tl_robust.audit.numbers import known, names
from tl_robust.registry import Registry, registry
from tl_robust.results.faces import FACES, methods_of
from tl_robust.types.terms import ATLAS as ATLAS
from tl_robust.types.terms import NIST as NIST
from tl_robust.types.terms import Terms, joined
from tl_robust.types.terms import words as words

PARENT: Terms = {ATLAS: "AML.T0007"}  # discovery of a parent; NIST has no word for it


def terms_of(threat: str, view: str = "", name: str = "", attack: str = "") -> dict[str, str]:
    """The words of others for a finding, those of the threat first; several with commas between them.

    Args:
        threat: Registered name; one that is not known here has no words.
        view: What the attacker has.
        name: Of the number; ``which_parent`` is about something else than its threat, whose words are left out.
        attack: As a finding names it, with its settings; of a backdoor's alarm the defense that sounds it.
    """
    if name == "which_parent":
        return dict(PARENT)
    face = FACES.get(threat)
    sources = [face.terms, face.terms_of_view.get(view, {})] if face else []
    number = [known(name).terms] if name in names() else []
    return joined(*sources, *_of_attack(threat, attack), *number)


def _of_attack(threat: str, attack: str) -> list[Terms]:
    kinds: list[Registry[Any]] = [*methods_of(threat), *([_defenses()] if attack else [])]
    heads = [part.partition("(")[0].strip() for part in attack.split(" + ")]
    return [kind[head].TERMS for head in heads for kind in kinds if head in kind]


@lru_cache(maxsize=1)
def _defenses() -> Registry[Any]:
    return registry("defense")
