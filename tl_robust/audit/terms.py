"""What others call an attack, by who does: the words of its threat, and what its view or its number adds to them.

Sources: NIST AI 100-2 e2025 and MITRE ATLAS 5.6.1. Where no one has a word of their own, there is none here.
"""

from __future__ import annotations

from collections.abc import Mapping

from tl_robust.results.faces import FACES

NIST, ATLAS = "NIST AI 100-2", "MITRE ATLAS"
TRANSFER = {NIST: "transferability of attacks", ATLAS: "AML.T0043.002, AML.T0005.002, AML.T0002"}
BY_VIEW: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("evasion", "white"): {NIST: "white-box evasion", ATLAS: "AML.T0043.000"},
    ("evasion", "black"): TRANSFER,
    ("evasion", "shadow"): {NIST: "black-box evasion", ATLAS: "AML.T0043.002, AML.T0005"},
}
BY_NAME: Mapping[str, Mapping[str, str]] = {
    "parent_price": TRANSFER,
    "which_parent": {NIST: "", ATLAS: "AML.T0007"},  # neither has a word for the discovery of a parent
}


def terms_of(threat: str, view: str = "", name: str = "") -> dict[str, str]:
    """The words of others for a finding, those of the threat first; several with commas between them.

    Args:
        threat: Registered name; one that is not known here has no words.
        view: What the attacker has.
        name: Of the metric. One that is about something else than its threat replaces the words of that.
    """
    own = BY_NAME.get(name, {})
    face = {} if name == "which_parent" or threat not in FACES else FACES[threat].terms
    sources = (face, BY_VIEW.get((threat, view), {}), own)
    named = {who: [word for source in sources for word in words(source.get(who, ""))] for who in (*face, NIST, ATLAS)}
    return {who: ", ".join(dict.fromkeys(found)) for who, found in named.items() if found}


def words(text: str) -> list[str]:
    """The words of one of them: ``AML.T0015, AML.T0043`` are two."""
    return [word.strip() for word in text.split(",") if word.strip()]
