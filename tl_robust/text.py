"""How numbers and names of strangers read, wherever they are shown."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

# Terminals obey control characters, a lone half of a surrogate pair cannot be encoded, and marks of writing direction
# and of lines make a text read as another one. Newline and tab stay: texts of this package have them.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def plain(text: str) -> str:
    r"""A text without what acts instead of being seen: such characters are shown as escapes.

    >>> print(plain("a\x1b[2Jb \u202etxt"))
    a\x1b[2Jb \u202etxt
    """
    return UNSEEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def first_few(names: Sequence[str], most: int, *, count: bool = False) -> str:
    """The first ``most`` names, and a sign that there are others, so that a long list does not bury its sentence.

    >>> first_few(["a", "b", "c"], 2), first_few(["a", "b", "c"], 2, count=True)
    ('a, b, ...', 'a, b and 1 more')
    """
    rest = "" if len(names) <= most else f" and {len(names) - most} more" if count else ", ..."
    return ", ".join(names[:most]) + rest


def eps_text(eps: float) -> str:
    """``8/255`` where it is such a fraction below 1, else four significant digits.

    >>> eps_text(0.0), eps_text(8 / 255), eps_text(0.1234567)
    ('0', '8/255', '0.1235')
    """
    steps = round(eps * 255)
    return f"{steps}/255" if 0 < steps < 255 and abs(eps * 255 - steps) < 1e-3 else f"{eps:.4g}"


def effect_text(effect: float, low: float, high: float, unit: str) -> str:
    """An effect with its interval: shares in points, ratios as they are; ``-`` where there is none.

    >>> effect_text(0.1234, 0.1, 0.15, "share"), effect_text(0.5, 0.4, 0.6, "ratio")
    ('+12.3 points [10.0, 15.0]', '+0.50 [0.40, 0.60]')
    """
    if math.isnan(effect):
        return "-"
    scale, digits, word = (100, 1, " points") if unit == "share" else (1, 2, "")
    value, *ends = (round(scale * item, digits) + 0.0 for item in (effect, low, high))  # + 0.0: no "-0.0"
    return f"{value:+.{digits}f}{word} [{', '.join(f'{end:.{digits}f}' for end in ends)}]"


def p_text(p: float) -> str:
    """A p-value to two digits; ``< 0.001`` below that, ``-`` where there is none.

    >>> p_text(0.0314), p_text(1e-9), p_text(float("nan"))
    ('0.031', '< 0.001', '-')
    """
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.2g}"
