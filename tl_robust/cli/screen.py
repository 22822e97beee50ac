"""The terminal as commands print to it: names and messages are shown as they are, never obeyed."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from tl_robust.text import plain


class Screen(Console):
    """A console on which text of a file can neither style itself (markup) nor control the terminal (escapes)."""

    def __init__(self) -> None:
        for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter gets its escape, not an error
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        super().__init__(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """All strings pass here: messages, and the cells and titles of tables."""
        return super().render_str(plain(text), **options)
