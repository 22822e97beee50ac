"""Charts are drawn in a process of their own: what it lacks costs the picture and nothing else."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from tl_robust.errors import ResultsError
from tl_robust.sinks.report import drawing
from tl_robust.sinks.report.drawing import draw

CHART = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.20.json",
    "data": {"values": [{"x": 1, "y": 2}, {"x": 2, "y": 3}]},
    "mark": "line",
    "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
}


def test_a_memory_limit_costs_the_picture_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen

    def limited(*arguments: object, **named: object) -> object:
        limit = (4 << 30, 4 << 30)
        return popen(*arguments, **named, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit))  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", limited)
    with pytest.raises(ResultsError, match=r"could not be drawn .*ulimit -v unlimited") as caught:
        draw(CHART, "svg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import os; os.kill(os.getpid(), 9)", "it was ended by signal 9"),
        ("raise SystemExit(3)", "it said nothing"),
        ("pass", "it said nothing"),
        ("import time; time.sleep(60)", "TimeoutExpired"),
    ],
)
def test_an_engine_that_fails_is_one_sentence(program: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "PROGRAM", program)
    monkeypatch.setattr(drawing, "SECONDS", 1)
    with pytest.raises(ResultsError, match=says):
        draw(CHART, "svg")


def test_an_interpreter_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ResultsError, match="FileNotFoundError"):
        draw(CHART, "svg")
