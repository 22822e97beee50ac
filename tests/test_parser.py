"""Help, closest names, and what is not imported for them."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tl_robust import __version__
from tl_robust.cli import main
from tl_robust.cli.parser import own_commands, parse
from tl_robust.registry import Registry, kinds, names_in

COMMANDS = sorted(
    path.stem.replace("_", "-")
    for path in (Path(__file__).parent.parent / "tl_robust" / "cli" / "commands").glob("*.py")
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
        (["zzzz"], "unknown command 'zzzz'. Known: audit, audits, card, check-pair, check-plugin"),
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
        (["list", "attack", "pgd"], "tl-robust list has no use for pgd"),
        (["list", "attacks"], "unknown kind 'attacks'; did you mean 'attack'?"),
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


def test_every_command_is_found() -> None:
    assert len(COMMANDS) > 10
    assert sorted(own_commands()) == COMMANDS


# commands of plugins

HELLO = '''
"""Greet a bench.

example: tl-robust greet-it hello
"""


def arguments(parser):
    from tl_robust.cli.commands.base import bench_arguments

    bench_arguments(parser)
    parser.add_argument("--loud", action="store_true", help="with an exclamation mark")


def run(parsed, console):
    console.print(f"hello {parsed.bench} {parsed.overrides}{'!' * parsed.loud}")
    return 3
'''


@pytest.fixture
def greeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bench whose plugin folder has a command; a file that must never be imported is beside it."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "experiments" / "hello.yaml").write_text("name: hello\nplugins: [../mine]\n")
    (tmp_path / "mine" / "greet_it.py").write_text(HELLO)
    (tmp_path / "mine" / "trap.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "mine" / "run.py").write_text(HELLO.replace("hello", "not me"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_of_a_plugin_is_reached_by_its_bench(greeting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["greet-it", "hello", "--loud", "a=1"]) == 3
    assert capsys.readouterr().out == "hello hello ['a=1']!\n"
    elsewhere = greeting / "else"
    elsewhere.mkdir()
    (greeting / "experiments").rename(elsewhere / "benches")
    (elsewhere / "benches" / "hello.yaml").write_text("name: hello\nplugins: [../../mine]\n")
    assert main(["greet-it", "hello"]) == 2  # no bench of this folder has it
    assert "unknown command 'greet-it'" in capsys.readouterr().err
    assert main(["greet-it", str(elsewhere / "benches" / "hello.yaml")]) == 3


def test_help_and_closest_names_know_the_commands_of_plugins(
    greeting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = help_of(capsys, "--help")
    assert re.search(r"^commands of plugins of the benches in experiments/.*:\n  greet-it +Greet a bench\.$", shown,
                     flags=re.MULTILINE)  # fmt: skip
    assert "not me" not in shown
    own = help_of(capsys, "greet-it", "--help")
    assert own.rstrip().endswith("example: tl-robust greet-it hello")
    assert "--loud" in own
    assert main(["greet", "hello"]) == 2
    assert "did you mean 'greet-it'?" in capsys.readouterr().err
    assert main(["greet-it", "hello", "--luod"]) == 2
    assert "did you mean '--loud'?" in capsys.readouterr().err
    assert main(["greet-it"]) == 2
    assert "required: bench" in capsys.readouterr().err


def test_a_command_of_the_package_is_not_replaced(greeting: Path) -> None:
    module, _ = parse(["run", "hello"])
    assert module.__name__ == "tl_robust.cli.commands.run"


@pytest.mark.parametrize("content", [b"\xff", b"- a", b"plugins: 3", b"plugins: [nowhere]", b"plugins: [", b""])
def test_a_bench_that_cannot_be_read_brings_no_commands(
    greeting: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (greeting / "experiments" / "hello.yaml").write_bytes(content)
    (greeting / "mine" / "greet_it.py").write_bytes(b"def arguments(")
    assert "greet-it" not in help_of(capsys, "--help")
    assert main(["greet-it", "hello"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# list


def test_names_that_are_read_are_those_that_are_registered() -> None:
    package = Path(__file__).parent.parent / "tl_robust"
    sources = [path for path in package.rglob("*.py") if "Registry" in path.read_text()]
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in sources]
    values = [value for name in names for value in vars(importlib.import_module(name)).values()]
    registries = {value.kind: value for value in values if isinstance(value, Registry) and value._package}
    assert {kind: registry._package for kind, registry in registries.items()} == {
        kind: f"tl_robust.{folder}" for kind, folder in kinds().items()
    }
    for kind, registry in registries.items():
        folder = package.joinpath(*kinds()[kind].split("."))  # a threat's file may have metrics of its own
        here = [name for name in registry.names() if Path(registry._modules[name]).parent == folder]
        assert names_in(kinds()[kind]) == here, kind
    assert kinds().keys() - {"pair"} <= {kind for kind in registries if names_in(kinds()[kind])}


def test_every_kind_is_found_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"attack", "claim", "domain", "metric", "network", "pair", "sink", "strategy"} <= kinds().keys()
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed.keys() == {*kinds(), "command"}
    assert listed["command"] == COMMANDS
    assert {"report", "tables", "wandb"} <= set(listed["sink"])
    assert "evasion" in listed["threat"]
