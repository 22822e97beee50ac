"""How docstrings are read for the pages: words that name a thing of the code become code."""

from __future__ import annotations

from typing import Any

from griffe import Extension, Object

from handbook.roles import as_markdown


class Roles(Extension):
    """Turns ``:class:`Name``` into code: the pages are Markdown."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of an object that was read."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
