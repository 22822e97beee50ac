"""Names with settings as tables and bench files write them: ``pgd(steps=20, norm=l2)``."""

from __future__ import annotations

import ast
import re

from tl_robust.errors import ConfigError

Scalar = bool | int | float | str | None


def described(kind: str, text: str) -> tuple[str, dict[str, Scalar]]:
    """Name and settings of ``name(setting=1, other=text)``, as components are written; nothing is looked up.

    Raises:
        ConfigError: Not of that form.
    """
    form = re.fullmatch(r"\s*([\w-]+)\s*(?:\(([^()]*)\))?\s*", text)
    settings: dict[str, Scalar] = {}
    for part in filter(str.strip, (form.group(2) or "").split(",")) if form else ():
        key, found, value = (item.strip() for item in part.partition("="))
        if not found:
            form = None
            break
        settings[key] = _value(value)
    if not form:
        raise ConfigError(f"a {kind} must be a name or name(setting=value, ...), got {text!r}.")
    return form.group(1), settings


def _value(text: str) -> Scalar:
    if fraction := re.fullmatch(r"(\d+)/([1-9]\d*)", text):
        return int(fraction[1]) / int(fraction[2])
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float | str | None) else text
