"""Views of source files with numbered lines, to which pages link: plain HTML beside the pages."""

from __future__ import annotations

import posixpath
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

ROOT = Path(__file__).parents[1]


def address(path: str, line: int | None = None) -> str:
    """Where the view of a file stands on the site.

    Args:
        path: The file, from the root of the repository, with forward slashes.
        line: A line of it, from 1.
    """
    return f"source/{path}.html" + (f"#line-{line}" if line else "")


def page(path: str) -> str:
    """The view of a file as HTML."""
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = TextLexer()
    formatter = HtmlFormatter(linenos="inline", lineanchors="line", anchorlinenos=True, cssclass="code")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    styles = (HtmlFormatter(style=style).get_style_defs(".code") for style in ("default", "github-dark"))
    light, dark = (Markup(style) for style in styles)
    code = Markup(highlight((ROOT / path).read_text(encoding="utf-8"), lexer, formatter))
    home = posixpath.relpath("index.html", posixpath.dirname(address(path)))
    return environment.get_template("source.html.j2").render(path=path, code=code, light=light, dark=dark, home=home)
