"""Help, closest names, and what is not imported for them."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tl_robust import __version__, attacks, claims, metrics, models, strategies, trust
from tl_robust.attacks.objectives import OBJECTIVES
from tl_robust.attacks.rules import RULES
from tl_robust.attacks.tricks import TRICKS
from tl_robust.cli import main
from tl_robust.cli.commands.list import KINDS
from tl_robust.cli.parser import parse
from tl_robust.data.domain import DOMAINS
from tl_robust.data.pair import PAIRS
from tl_robust.data.space import SPACES
from tl_robust.registry import names_in

COMMANDS = sorted(
    path.stem.replace("_", "-")
    for path in (Path(__file__).parent.parent / "tl_robust" / "commands").glob("*.py")
    if path.stem not in ("__init__", "base")
)
HEAVY = {
    "torch", "lightning", "torchmetrics", "torchvision", "wandb", "scipy", "sklearn", "altair", "numpy", "omegaconf",
}  # fmt: skip


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_help_lists_every_command_with_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(capsys, "--help")
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", shown, flags=re.MULTILINE), name
    assert "\nexample: tl-robust run embedded axes.seed=[0,1,2,3,4]\n" in shown
    assert help_of(capsys) == help_of(capsys, "-h") == shown  # also without arguments


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example_that_it_takes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    last = help_of(capsys, command, "--help").rstrip().splitlines()[-1]
    begin = f"example: tl-robust {command} "
    assert last.startswith(begin)
    module, parsed = parse(shlex.split(last.removeprefix("example: tl-robust ")))
    assert module.__name__.rpartition(".")[2].replace("_", "-") == command
    if overrides := getattr(parsed, "overrides", []):
        assert all("=" in item or Path(item).name for item in overrides)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert help_of(capsys, "--version") == f"tl-robust {__version__}\n"


def test_nothing_heavy_is_imported_for_help_and_list() -> None:
    helps = [[name, "--help"] for name in COMMANDS]
    code = f"""
import contextlib, io, json, sys
from tl_robust.cli import main
found = {{}}
for arguments in [[], ["--help"], ["--version"], ["rnu"], ["list"], ["list", "--json"], *{helps}]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with contextlib.suppress(SystemExit):
            main(arguments)
    found[" ".join(arguments)] = sorted({HEAVY} & set(sys.modules))
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found) == len(COMMANDS) + 6
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean 'run'?"),
        (["checkpair", "mnist-usps"], "did you mean 'check-pair'?"),
        (["zzzz"], "unknown command 'zzzz'. Known: check-pair, claims"),
        (["--versoin"], "unknown option '--versoin'; did you mean '--version'?"),
        (["--plain", "run", "embedded"], "unknown option '--plain'"),
        (["run", "embedded", "--plian"], "unknown option of tl-robust run '--plian'; did you mean '--plain'?"),
        (["run", "--plian", "embedded", "axes.seed=[0]"], "did you mean '--plain'?"),
        (["report", "embedded", "--figrue=docs"], "did you mean '--figure'?"),
        (["plan", "embedded", "--precison"], "did you mean '--precision'?"),
        (["merge", "a", "--uot", "b", "--out", "c"], "did you mean '--out'?"),
        (["list", "--jsno"], "did you mean '--json'?"),
        (["doctor", "--reslts", "x"], "did you mean '--results'?"),
        (["run", "embedded", "--axes.seed=[0]"], "keys of a bench file have no dashes, write axes.seed=[0]"),
        (["run", "embedded", "--workers=2"], "write workers=2"),
        (["dashboard", "spce", "embedded"], "unknown action 'spce'; did you mean 'spec'?"),
        (["run"], "the following arguments are required: bench; see tl-robust run --help"),
        (["merge"], "required: FOLDER, --out"),
        (["compare", "a", "b", "--rows", "many"], "argument --rows: invalid int value: 'many'"),
        (["list", "attacks"], "tl-robust list has no use for attacks"),
        (["merge", "a", "--out"], "argument --out: expected one argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert expected in said.err
    assert "--helper" not in said.err


def test_overrides_may_stand_before_and_after_options() -> None:
    for order in (["a=1", "--plain", "b=2"], ["--plain", "a=1", "b=2"], ["a=1", "b=2", "--plain"]):
        _, parsed = parse(["run", "embedded", *order])
        assert parsed.overrides == ["a=1", "b=2"]
        assert parsed.plain
    assert parse(["run", "embedded"])[1].overrides == []


# list


def test_names_that_are_read_are_those_that_are_registered() -> None:
    registries = [
        attacks.ATTACKS, OBJECTIVES, RULES, TRICKS, claims.CLAIMS, DOMAINS, metrics.METRICS, models.NETWORKS, PAIRS,
        SPACES, strategies.STRATEGIES, trust.CHECKS,
    ]  # fmt: skip
    assert {registry.kind: registry._package.removeprefix("tl_robust.") for registry in registries} == KINDS
    for registry in registries:
        assert names_in(KINDS[registry.kind]) == registry.names(), registry.kind


def test_every_registry_is_listed() -> None:
    package = Path(__file__).parent.parent / "tl_robust"
    made = [
        re.findall(r'Registry\("([\w ]+)", "tl_robust\.([\w.]+)"\)', path.read_text()) for path in package.rglob("*.py")
    ]
    assert dict(item for found in made for item in found) == KINDS
