"""What others call an attack, a defense or a number, by who does.

Sources: NIST AI 100-2 e2025, and MITRE ATLAS 5.6.1, whose techniques and mitigations have ids (AML.T0015, AML.M0003).
Words are no promise: whoever names a mitigation does not say that it suffices.
"""

from __future__ import annotations

from collections.abc import Mapping

NIST, ATLAS = "NIST AI 100-2", "MITRE ATLAS"

Terms = Mapping[str, str]  # several words of one of them have commas between them
NONE: Terms = {}

TRANSFER: Terms = {NIST: "transferability of attacks", ATLAS: "AML.T0043.002, AML.T0005.002, AML.T0002"}


def words(text: str) -> list[str]:
    """The words of one of them: ``AML.T0015, AML.T0043`` are two."""
    return [word.strip() for word in text.split(",") if word.strip()]


def joined(*sources: Terms) -> dict[str, str]:
    """The words of all sources, each once; who names nothing is left out.

    >>> joined({"A": "one, two"}, {"B": ""}, {"A": "two, three"})
    {'A': 'one, two, three'}
    """
    named: dict[str, list[str]] = {}
    for source in sources:
        for who, text in source.items():
            named.setdefault(who, []).extend(words(text))
    return {who: ", ".join(dict.fromkeys(found)) for who, found in named.items() if found}
