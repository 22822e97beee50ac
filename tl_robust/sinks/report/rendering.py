"""Turns blocks into HTML with ``templates/``: Jinja escapes every text, whoever wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tl_robust.audit.words import CLASSES
from tl_robust.results.names import DECISIONS, EFFECTS, MARKS
from tl_robust.sinks.report.blocks import Block
from tl_robust.text import plain

NUMBER = re.compile(r"(\d+\.\d %)( \[[^\]]*\])")  # a percentage with its interval


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tl_robust.sinks.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,  # a typo in a template is an error, no empty text
        finalize=_seen,
        trim_blocks=True,
    )
    environment.filters["numbers"] = _numbers
    environment.filters["tojson"] = _json
    environment.globals["marks"] = {mark: level for level, mark in (MARKS | DECISIONS | EFFECTS).items()} | CLASSES
    return environment


def page(context: Mapping[str, Any], template: str = "page.html.j2") -> str:
    """A whole page.

    Args:
        context: What the template names; of the report title, facts, sections, strategies, charts and bundle.
        template: Its name.
    """
    return _environment().get_template(template).render(context)


def fragment(block: Block) -> str:
    """One block as it stands in the page; not one with charts, whose places depend on the rest of the page."""
    return str(_environment().get_template("blocks.html.j2").module.show(block))  # type: ignore[attr-defined]


def _seen(value: object) -> object:
    """Control characters in texts of strangers are shown as escapes; what a template made is left as it is."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _numbers(text: str) -> Iterator[tuple[str, str, str]]:
    """The parts of a text: words, then a percentage and its interval; the last has words alone."""
    pieces: Sequence[str] = NUMBER.split(text)  # three for each number, and what follows the last
    yield from zip(pieces[:-1:3], pieces[1::3], pieces[2::3], strict=True)
    yield pieces[-1], "", ""


def _json(value: object) -> Markup:
    """JSON without a letter that could end the script around it."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
