"""``tl-robust check-plugin``: the sheet, its exit codes, and files that try to stop it."""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_one_file import FILES

from tests.recipes import ROOT
from tl_robust import registry
from tl_robust.auditor.locks import LOCKS
from tl_robust.cli import main
from tl_robust.contracts import folder as folders
from tl_robust.contracts.contract import Contract, contracts_of, demand, kinds
from tl_robust.contracts.one_file import check
from tl_robust.contracts.page import with_list
from tl_robust.contracts.sheet import Line

GOOD = '''
"""Count.

example: tl-robust count
"""


def arguments(parser):
    parser.add_argument("--metric", help="of this metric only")


def run(parsed, console):
    return 0
'''
BAD = GOOD.replace('help="of this metric only"', "").replace("Count.", "[bold]count")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are checked in this process, which is quicker."""

    def checked(path: Path, root: Path | None, limit: float, running: object) -> list[Line]:
        return list(check(path, root))

    monkeypatch.setattr(folders, "check_file", checked)
    monkeypatch.setattr(folders, "PROCESSES", 1)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        ({"count": GOOD}, 0, "1 file: 6 contracts passed, 0 broken, 0 not asked."),
        ({"count": GOOD, "total": BAD}, 1, "2 files: 9 contracts passed, 3 broken, 0 not asked."),
        ({"count": GOOD, "total": "def ("}, 2, "Line 1 is no Python"),
        ({"count": BAD, "total": "import nowhere"}, 2, "No module named 'nowhere'"),
        ({"total": "x = 1"}, 2, "It registers nothing: decorate a class or function"),
        ({"total": "import sys\nsys.exit(3)"}, 2, "SystemExit: 3"),
    ],
    ids=["kept", "broken", "syntax", "import", "nothing", "exit"],
)
def test_exit_codes(
    files: dict[str, str], code: int, says: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (mine / f"{name}.py").write_text(text)
    assert main(["check-plugin", str(mine)]) == code
    said = capsys.readouterr()
    assert says in " ".join(said.out.split())
    assert said.err == ""
    assert main(["check-plugin", str(mine), "--json"]) == code
    sheet = json.loads(capsys.readouterr().out)
    assert sheet["counts"]["broken"] == sum(line["state"] == "broken" for line in sheet["lines"])
    assert {line["file"] for line in sheet["lines"]} == {f"{name}.py" for name in files}
    assert all(line["says"] or line["state"] == "passed" for line in sheet["lines"])


@pytest.mark.usefixtures("here")
def test_one_file_alone_and_every_contract_of_it(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "count.py").write_text(GOOD)
    (mine / "total.py").write_text(BAD)
    assert main(["check-plugin", str(mine), "--only", "count", "--all"]) == 0
    said = capsys.readouterr().out
    assert "total" not in said
    assert said.count("passed") == 6 + 1
    for contract in contracts_of("command").contracts:
        assert contract.name in said


FAILS = '''
"""Fog that cannot be made."""

from dataclasses import dataclass
from tl_robust.threats.corruption import Corruption, corruption

@corruption(axis="density")
@dataclass(frozen=True)
class Fog(Corruption):
    def corrupt(self, images, strength, draws):
        return images.nothing  # line 11
'''


@pytest.mark.usefixtures("here")
def test_the_same_sentence_of_several_contracts_is_one_row(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "fog.py").write_text(FAILS)
    assert main(["check-plugin", str(mine), "--json"]) == 1
    lines = [Line.read(line) for line in json.loads(capsys.readouterr().out)["lines"]]
    broken = [line for line in lines if line.state == "broken"]
    assert len(broken) == 5
    assert all(line.says.endswith(": correct line 11 of fog.py.") for line in broken)
    alike = [line.contract for line in broken if line.says == broken[-1].says]
    assert len(alike) == 4
    assert main(["check-plugin", str(mine)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"broken fog.py threat fog 4 contracts: {', '.join(alike)} Expected an answer, got" in said
    assert said.count("correct line 11 of fog.py.") == 2
    assert "5 broken" in said
    assert main(["check-plugin", str(mine), "--all"]) == 1
    assert " ".join(capsys.readouterr().out.split()).count("correct line 11 of fog.py.") == 5


def test_the_line_of_the_author_is_found_behind_errors_of_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("\n\ndef f():\n    raise ValueError('no')\n")
    known: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), known)

    def wrapped(case: object) -> None:
        try:
            known["f"]()
        except ValueError as error:
            raise RuntimeError("other") from error

    def told(case: object) -> None:
        try:
            known["f"]()
        except ValueError:
            demand(False, "one", "two", "write three")

    def caught(case: object) -> None:
        try:
            known["f"]()
        except ValueError:
            trace = traceback.format_exc()
        demand(False, "one", "two", "write three", trace)

    answers = [Contract("lock", function).answer(None, path) for function in (wrapped, told, caught)]
    assert answers == [
        "expected an answer, got RuntimeError (other): correct line 4 of mine.py.",
        "expected one, got two: write three (line 4 of mine.py).",
        "expected one, got two: correct line 4 of mine.py.",
    ]
    without = [Contract("lock", function).answer(None) for function in (wrapped, told, caught)]
    assert without == [
        "expected an answer, got RuntimeError (other): correct what raises it.",
        *["expected one, got two: write three."] * 2,
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "plugin folder nowhere not found: give the path of a folder of .py files."),
        (["mine"], "plugin folder mine has no .py file"),
        (["mine", "--only", "cuont"], "unknown file of mine 'cuont'"),
        (["mine", "--limit", "0"], "--limit must be above 0 seconds, got 0.0."),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(
    arguments: list[str], says: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-plugin", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert says in said.err


def test_every_kind_has_contracts_that_read_as_sentences() -> None:
    for kind in kinds():
        contracts = contracts_of(kind).contracts
        assert len(contracts) >= 2
        assert len({contract.name for contract in contracts}) == len(contracts)
        for contract in contracts:
            assert contract.kind == kind
            assert contract.says.endswith("."), contract
            assert len(contract.name.split()) >= 3, contract


def test_the_page_lists_every_contract() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert with_list(page) == page, "write it anew: python -m tl_robust.contracts.page docs/plugins.md"
    for kind in kinds():
        for contract in contracts_of(kind).contracts:
            assert f"- **{contract.name}.** " in page


def _block(file: str, marker: str) -> str:
    """The one Python block of a page that has ``marker``."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = (block for block in blocks if marker in block)
    return block


def test_contracts_are_asked_as_the_page_says() -> None:
    exec(_block("docs/plugins.md", "for line in lines"), {})


def test_a_contract_is_added_as_the_recipe_says(mine: Path) -> None:
    contracts = contracts_of("lock").contracts
    before = list(contracts)
    try:
        exec(_block("CONTRIBUTING.md", "tells_a_number"), {})
        path = mine / "many_images.py"
        for count, state in (("There are {count}", "passed"), ("There are some", "broken")):
            path.write_text(FILES["many_images"][1].replace("There are {count}", count))
            registry._loaded_plugins.clear()
            LOCKS._items.pop("many_images", None)
            (line,) = (line for line in check(path.resolve(), None) if line.contract == "tells a number")
            assert line.state == state
    finally:
        contracts[:] = before


@pytest.mark.slow
def test_the_sheet_of_the_page_is_what_comes(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The attack of the page breaks what the page shows; what else lies in that folder is in the recipes."""
    (mine / "far_signs.py").write_text(_block("docs/plugins.md", "class FarSigns"))
    assert main(["check-plugin", str(mine)]) == 1
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    line = re.compile(r"^(passed|broken|not asked) +far_signs\.py +attack +far_signs +(\S.*?) *$", flags=re.MULTILINE)
    shown, said = (line.findall(text) for text in (page, capsys.readouterr().out))
    assert shown == said
    assert len(said) > 8


ATTACK = '''
from dataclasses import dataclass
from tl_robust.attacks import ATTACKS, Attack

@ATTACKS.register
@dataclass(frozen=True)
class Mine(Attack):
    """Does nothing."""

    def perturb(self, problem, eps):
        {line}
        for size in eps:
            yield problem.clean
'''
HOSTILE: dict[str, tuple[str, Callable[[Line], bool]]] = {
    "endless": ("while True:\n    pass", lambda line: line.state == "unread" and "more than 20 seconds" in line.says),
    "ends": ("import os\nos._exit(0)", lambda line: line.state == "unread" and "exit code 0" in line.says),
    "half": (ATTACK.format(line="import os; os._exit(0)"), lambda line: "exit code 0" in line.says),
    "exits": ("import os\nos._exit(7)", lambda line: line.state == "unread" and "exit code 7" in line.says),
    "closes": (f"import os\nprint('x' * 10**6)\nos.close(1)\nos.close(2)\n{GOOD}", lambda line: line.state == "passed"),
    "huge": ("import torch\nx = torch.ones(10**13)", lambda line: line.state == "unread" and "memory" in line.says),
    "kills": ("import os\nos.kill(0, 9)", lambda line: line.state == "unread" and "exit code -9" in line.says),
    "pgd": (
        ATTACK.format(line="pass"),
        lambda line: line.state == "unread" and "Two attacks are named 'pgd'" in line.says,
    ),
    "stops": (ATTACK.format(line="import os; os._exit(1)"), lambda line: "exit code 1" in line.says),
    "sleeps": (ATTACK.format(line="import time; time.sleep(99)"), lambda line: "more than 20 seconds" in line.says),
}


@pytest.mark.slow
def test_hostile_files_do_not_stop_the_sheet(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (text, _) in HOSTILE.items():
        (mine / f"{name}.py").write_text(text)
    (mine / "zz.py").write_text(GOOD.replace("tl-robust count", "tl-robust zz"))
    assert main(["check-plugin", str(mine), "--json", "--limit", "20"]) == 2
    lines = [Line.read(line) for line in json.loads(capsys.readouterr().out)["lines"]]
    for name, (_, told) in HOSTILE.items():
        own = [line for line in lines if line.file == f"{name}.py"]
        assert any(told(line) for line in own), (name, own)
    assert {line.state for line in lines if line.file == "zz.py"} == {"passed"}


@pytest.mark.slow
def test_a_plugin_is_checked_in_under_20_seconds(mine: Path) -> None:
    (mine / "mine.py").write_text(ATTACK.format(line="pass"))
    start = time.monotonic()
    assert main(["check-plugin", str(mine)]) == 1
    assert time.monotonic() - start < 20
