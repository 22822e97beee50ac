"""The wheel: what is in it, and that it runs from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
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


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since building leaves files behind."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("tl_robust", "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, tmp_path_factory.mktemp("wheel"), "wheel")


def names_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_the_wheel_has_the_package_with_benches_and_data(wheel: Path) -> None:
    names = names_of(wheel)
    ours = {str(file.relative_to(ROOT)) for file in (ROOT / "tl_robust").rglob("*") if file.suffix not in (".pyc", "")}
    assert ours <= names
    benches = {name for name in names if "experiments" in name}
    assert benches == {f"tl_robust/experiments/{name}" for name in BENCHES}
    assert {name.partition("/")[0] for name in names} == {"tl_robust", f"tl_robust-{__version__}.dist-info"}


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


def test_a_wheel_of_the_source_archive_is_the_same(source: Path, wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    archive = build(source, tmp_path, "sdist")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    assert names_of(build(unpacked, tmp_path / "made", "wheel")) == names_of(wheel)


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
    small = ["axes.seed=[0]", "axes.attack=[fgsm]", "recipe.epochs=1", "recipes={}", "data.train_limit=500",
             "data.test_limit=100", "axes.target_images=[1]", "wandb.mode=disabled"]  # fmt: skip
    done = subprocess.run(
        [environment / "bin" / "tl-robust", "run", "embedded", *small], cwd=tmp_path / "empty", env=_environment([]),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty" / "results" / "embedded" / "report.html").is_file()
