"""The wheel: what is in it, and that it runs from an empty folder."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tl_robust import __version__
from tl_robust.cli.commands.base import path

ROOT = Path(__file__).parent.parent
BENCHES = sorted(file.name for file in (ROOT / "experiments").glob("*.yaml"))
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
SITE = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]


def build(source: Path, out: Path, kind: str) -> Path:
    command = [sys.executable, "-c", BUILD.format(kind=kind), str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, env=_environment([]))
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


def _environment(paths: list[Path]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}


STRAYS = (
    *("tl_robust/weights.safetensors", "tl_robust/results/table.csv", "tl_robust/data/notes.txt", "tests/strays.py"),
    *("results/x/report.html", "data/MNIST/raw/train.npz", "experiments/own/results.json", "site/index.html"),
)
BESIDE = (
    *("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"),
    *("CHANGELOG.md", "CITATION.cff", "SECURITY.md"),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since building leaves files behind; with files that somebody forgot there and nobody should get."""
    folder = tmp_path_factory.mktemp("source")
    for name in BESIDE:
        shutil.copy(ROOT / name, folder)
    for name in ("tl_robust", "experiments", "tests", "docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in STRAYS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("stray")
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def archive(source: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built where the wheel was built before: what that left behind is not in it."""
    return build(source, tmp_path_factory.mktemp("archive"), "sdist")


def contents_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def package_files() -> set[str]:
    """The files of the package in this checkout, by their endings."""
    endings = (".py", ".yaml", ".json", ".typed", ".j2", ".css", ".js")
    files = {path for path in (ROOT / "tl_robust").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.suffix for path in files} <= set(endings), "a new kind of file: does it belong into the wheel?"
    return {str(path.relative_to(ROOT)) for path in files}


def test_the_wheel_has_the_package_and_the_benches_and_nothing_else(wheel: Path) -> None:
    facts = f"tl_robust-{__version__}.dist-info"
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
    expected = package_files() | {f"tl_robust/experiments/{name}" for name in BENCHES}
    assert set(contents_of(wheel)) == expected | {f"{facts}/{name}" for name in about}
    for kind, least in (
        ("py.typed", 1),
        (".schema.json", 3),
        ("templates/", 8),
        ("config/profiles/", 2),
        (".py", 300),
    ):
        assert sum(kind in name for name in expected) >= least, kind


def test_the_source_archive_has_what_builds_the_wheel_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as file:
        names = {member.name.partition("/")[2] for member in file.getmembers() if member.isfile()}
    ours = {name for name in names if not name.startswith("tl_robust.egg-info/")}
    made = {"PKG-INFO", "setup.cfg"}
    assert ours == package_files() | {f"experiments/{name}" for name in BENCHES} | set(BESIDE) | made


def test_who_reads_the_metadata_knows_what_it_is(wheel: Path) -> None:
    text = contents_of(wheel)[f"tl_robust-{__version__}.dist-info/METADATA"].decode()
    facts = email.message_from_string(text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert facts["Name"] == "tl_robust"
    assert facts["License-Expression"] == "Apache-2.0"
    assert facts["License-File"] == "LICENSE"
    assert facts["Requires-Python"] == project["requires-python"]
    assert facts["Description-Content-Type"] == "text/markdown"
    assert facts.get_payload().lstrip().startswith("# tl_robust")
    assert {"dashboard", "dp", "hf", "ray", "timm"} <= set(facts.get_all("Provides-Extra"))
    classifiers = set(facts.get_all("Classifier"))
    assert {"Typing :: Typed", "Development Status :: 4 - Beta"} <= classifiers
    assert not any(name.startswith("License ::") for name in classifiers), (
        "the expression says it, and both are refused"
    )
    urls = [entry.split(", ")[1] for entry in facts.get_all("Project-URL")]
    known = (ROOT / "CITATION.cff").read_text()
    assert all(f"url: {url}\n" in known for url in urls), "only addresses that exist; a host of one's own is added here"
    minors = sorted(int(name.rpartition(".")[2]) for name in classifiers if "Python :: 3." in name)
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert project["requires-python"] == f">=3.{minors[0]}"
    assert contents_of(wheel)[f"tl_robust-{__version__}.dist-info/entry_points.txt"].decode().split() == [
        "[console_scripts]", "tl-robust", "=", "tl_robust.cli:main",
    ]  # fmt: skip


def test_the_benches_in_the_wheel_are_those_of_the_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        for name in BENCHES:
            assert file.read(f"tl_robust/experiments/{name}") == (ROOT / "experiments" / name).read_bytes()


def test_the_version_stands_in_one_place(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        metadata = file.read(f"tl_robust-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert not re.search(
        r"^version *=", (ROOT / "pyproject.toml").read_text().partition("[tool.")[0], flags=re.MULTILINE
    )


def test_a_wheel_of_the_source_archive_is_the_same(archive: Path, wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    assert contents_of(build(unpacked, tmp_path / "made", "wheel")) == contents_of(wheel)


@pytest.mark.slow
def test_two_builds_are_the_same_file(
    source: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    first, second = (build(source, folder, "wheel").read_bytes() for folder in folders)
    assert first == second


def test_benches_of_the_wheel_are_found_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    code = (
        "import tl_robust, tl_robust.cli.commands.base as base; print(tl_robust.__file__); print(base.path('embedded'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "empty", env=_environment([tmp_path / "site"]),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    package, bench = map(Path, done.stdout.split())
    assert package == tmp_path / "site" / "tl_robust" / "__init__.py"
    assert bench == package.parent / "experiments" / "embedded.yaml"
    assert done.stderr == ""


def test_a_bench_of_the_checkout_is_found_from_any_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert path("embedded").samefile(ROOT / "experiments" / "embedded.yaml")
    assert capsys.readouterr().err == ""


def test_a_local_bench_comes_first_and_a_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "embedded.yaml").write_text("mine")
    (tmp_path / "experiments" / "own.yaml").write_text("mine")
    assert path("embedded").read_text() == "mine"
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "experiments/embedded.yaml of this folder is used, not the file of this name in the package" in said.err
    assert path("own").read_text() == "mine"
    assert path("digits").samefile(ROOT / "experiments" / "digits.yaml")
    assert capsys.readouterr().err == ""


def test_the_checkout_is_not_said_twice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert path("embedded") == Path("experiments/embedded.yaml")
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_an_installed_wheel_runs_a_bench_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """Into a new environment that sees the libraries of this one."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip())
    (site / "libraries.pth").write_text("\n".join(entry for entry in SITE if entry.endswith("-packages")))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
    ]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, env=_environment([]))
    (tmp_path / "empty").mkdir()
    program = environment / "bin" / "tl-robust"
    listed = subprocess.run(
        [program, "list"], cwd=tmp_path / "empty", env=_environment([]), capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    for name in ("fgsm", "finetune", "robust_accuracy", "squeeze"):
        assert re.search(rf"\b{name}\b", listed.stdout), name
    small = ["axes.seed=[0]", "axes.attack=[fgsm]", "recipe.epochs=1", "recipes={}", "data.train_limit=500",
             "data.test_limit=100", "axes.target_images=[1]", "wandb.mode=disabled"]  # fmt: skip
    done = subprocess.run(
        [program, "run", "embedded", *small], cwd=tmp_path / "empty", env=_environment([]),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty" / "results" / "embedded" / "report.html").is_file()
