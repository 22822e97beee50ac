"""Words of docstrings that name a thing of the code, as Markdown."""

from __future__ import annotations

import re

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|data|exc):`~?\.?([^`]+)`")


def as_markdown(text: str) -> str:
    """Turn ``:class:`Name``` and two backquotes into code.

    >>> as_markdown("see :class:`Name` and ``other``")
    'see `Name` and `other`'
    """
    return _ROLE.sub(r"`\1`", text).replace("``", "`")
