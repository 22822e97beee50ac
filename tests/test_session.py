"""A bench that ran before: what stands is kept, what was damaged or grew is written again, what shrank is moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tl_robust.cli import main
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.sinks.base import SINKS as REGISTERED
from tl_robust.sinks.base import Sink, in_order
from tl_robust.sinks.report import drawing
from tl_robust.sinks.report import page as report
from tl_robust.sinks.report.drawing import draw

PAGES = ("report.html", "report.md", "curves.svg")
SETTINGS = ("axes.strategy=[scratch,finetune]", "axes.attack=[fgsm]", "wandb.mode=disabled")


class Bench:
    """A bench on the command line, and the folder of its results."""

    def __init__(self, file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.written = folder / "tiny", 0
        self.arguments = [str(file), f"results={folder}", *SETTINGS]
        write = report.write

        def counted(*arguments: object, **named: object) -> object:
            self.written += 1
            return write(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(report, "write", counted)

    def run(self, seeds: str = "0") -> dict[str, bytes]:
        """Run it with some seeds; the pages."""
        assert main(["run", *self.arguments, f"axes.seed=[{seeds}]", "--plain"]) == 0
        return {name: (self.folder / name).read_bytes() for name in PAGES if (self.folder / name).exists()}


@pytest.fixture
def bench(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(report, "_bundle", lambda: "")  # 1 MB of JavaScript, slow to make
    monkeypatch.setattr(drawing, "draw", lambda chart, *_: b"<svg/>")
    monkeypatch.setattr("tl_robust.sinks.report.figures.draw", lambda chart, *_: b"<svg/>")
    return Bench(tiny, tmp_path / "r", monkeypatch)


def test_the_same_settings_write_nothing_again_and_damaged_pages_are_written_again(bench: Bench) -> None:
    pages = bench.run()
    assert pages.keys() == set(PAGES)
    begin = time.monotonic()
    assert bench.run() == pages
    assert time.monotonic() - begin < 10
    assert bench.written == 1
    damages: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
        lambda path: path.unlink(),
    ]
    for place, (name, damage) in enumerate(zip(PAGES, damages, strict=True), 2):
        damage(bench.folder / name)
        assert bench.run() == pages
        assert bench.written == place
    (bench.folder / ".report").write_bytes(b"\xff\x00")
    assert bench.run() == pages


def test_one_more_seed_replaces_the_report_and_one_less_moves_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    one = bench.run("0")
    two = bench.run("0,1")
    assert two["report.md"] != one["report.md"]
    assert not (bench.folder / "earlier").exists()
    capsys.readouterr()
    assert bench.run("0") == one
    said = [line for line in capsys.readouterr().out.splitlines() if "moved to" in line]
    assert len(said) == 1
    assert "axes.seed" in said[0]
    (earlier,) = (bench.folder / "earlier").iterdir()
    assert {name: (earlier / name).read_bytes() for name in PAGES} == two
    count = bench.written
    assert bench.run("0") == one
    assert bench.written == count, "the settings that are there now are those of the report"


def test_a_figure_that_could_not_be_drawn_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tl_robust.sinks.report.figures.draw", draw)
        patch.setattr(drawing, "PROGRAM", "raise MemoryError('no address space')")
        pages = bench.run()
    assert "curves.svg" not in pages
    assert b"The figure is missing" in pages["report.md"]
    assert b"no address space" in pages["report.md"]
    assert b"](curves.svg)" in bench.run()["report.md"]


SINKS = {
    "breaks": """
from tl_robust.sinks.base import sink

@sink()
def breaks(views):
    yield "Nowhere: at all"
    raise RuntimeError("no luck")
""",
    "doubts": """
from tl_robust.sinks.base import Problem, sink

@sink(after=("report", "wandb"))
def doubts(views):
    assert (views.folder / "report.html").is_file()
    yield Problem("half of it is missing.")
""",
}


def test_a_sink_that_breaks_takes_no_other_with_it_and_is_told(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in SINKS.items():
        (tmp_path / "plugins" / f"{name}.py").write_text(text)
    assert main(["run", *bench.arguments, "axes.seed=[0]", "--plain"]) == 1
    said = capsys.readouterr()
    assert "warning: sink breaks failed (RuntimeError: no luck).\n" in said.out
    assert "warning: half of it is missing.\n" in said.out
    assert said.err == "error: these sinks failed: breaks. The results and all other views are whole.\n"
    order = ["Trust checks:", "accuracy under attack in %", "Nowhere: at all", "Tables: ", "Report: "]
    assert [said.out.index(text) for text in order] == sorted(said.out.index(text) for text in order)


def test_sinks_that_wait_for_each_other_or_for_none_are_one_sentence() -> None:
    REGISTERED.register(Sink(lambda views: [], after=("second",)), "elsewhere.first")
    with pytest.raises(UnknownNameError, match="unknown sink 'second'"):
        in_order()
    REGISTERED.register(Sink(lambda views: [], after=("first",)), "elsewhere.second")
    with pytest.raises(ConfigError, match=r"^these sinks wait for each other: .*first.*second"):
        in_order()
