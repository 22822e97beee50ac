"""What a file says is printed as it is: no markup, no escapes, no emoji."""

from __future__ import annotations

import io
import sys

import pytest
from rich.table import Table

from tl_robust.cli.screen import Screen

HOSTILE = "[red]a[/red] [link=x]b :smile: \x1b[2J\x1b]0;title\x07 \u202etxt"
SHOWN = "[red]a[/red] [link=x]b :smile: \\x1b[2J\\x1b]0;title\\x07 \\u202etxt"


def test_messages_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().print(HOSTILE, soft_wrap=True)
    assert capsys.readouterr().out == f"{SHOWN}\n"


def test_tables_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=HOSTILE, caption=HOSTILE, box=None)
    table.add_column(HOSTILE, no_wrap=True)
    table.add_row(HOSTILE)
    Screen().print(table)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.count(SHOWN) == 4, "title, heading, cell and caption"


def test_broken_markup_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().print("[/nothing] [", style="red", soft_wrap=True)
    assert capsys.readouterr().out == "[/nothing] [\n"


def test_a_letter_that_the_terminal_has_not_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    Screen().print("größe \ud800", soft_wrap=True)
    assert raw.getvalue() == b"gr\\xf6\\xdfe \\ud800\n"
