"""The container file and what builds it. A builder may be missing, so that the file is read and its steps are tried."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()


def steps() -> list[tuple[str, str]]:
    """Instructions with what follows them; comments and line breaks are gone."""
    lines = [line for line in (ROOT / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]


def copied() -> list[str]:
    """What is copied into the image."""
    words = [shlex.split(rest) for word, rest in steps() if word == "COPY"]
    return [source for step in words for source in step[:-1] if not source.startswith("--")]


def ignored(path: str) -> bool:
    """Whether ``.dockerignore`` leaves a path out; the last rule that fits counts."""
    out = False
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.lstrip("!")
        parts = [path, *map(str, Path(path).parents)]
        fits = any(fnmatch.fnmatchcase(part, pattern) for part in parts)
        if pattern.startswith("**/"):
            fits = any(fnmatch.fnmatchcase(part, pattern[3:]) for part in Path(path).parts)
        if fits:
            out = not rule.startswith("!")
    return out


def targets(text: str) -> set[str]:
    return set(re.findall(r"\bmake (?!&&)([a-z-]+)", text))


def test_every_step_is_one_and_what_it_names_is_there() -> None:
    words = [word for word, _ in steps()]
    assert words[0] == "FROM"
    assert set(words) <= {"FROM", "RUN", "USER", "WORKDIR", "ARG", "ENV", "COPY", "CMD"}
    for source in copied():
        assert (ROOT / source).exists(), source
        assert not ignored(source), f"{source} is left out by .dockerignore"
    for word, rest in steps():
        if word == "RUN" and "apt-get" not in rest:
            for target in targets(rest):
                assert f"\n{target}:" in MAKEFILE, f"make {target}"
    (command,) = [json.loads(rest) for word, rest in steps() if word == "CMD"]
    assert command == ["make", "bench"]


def test_the_base_has_a_version_that_is_tested() -> None:
    base = steps()[0][1]
    assert base.startswith("python:")
    (minor,) = re.findall(r"python:(3\.\d+)-slim$", base)
    assert f"Python :: {minor}" in (ROOT / "pyproject.toml").read_text()


def test_nothing_runs_as_root_but_what_must() -> None:
    words = [word for word, _ in steps()]
    users = [rest for word, rest in steps() if word == "USER"]
    assert users
    assert users[-1] not in ("root", "0", "0:0")
    before = [rest for word, rest in steps()[: words.index("USER")] if word == "RUN"]
    assert all(re.match(r"apt-get|useradd", rest) for rest in before), "root installs system packages and the user"
    assert any(f"useradd --create-home --uid 1000 {users[-1]}" in rest for rest in before)


@pytest.mark.parametrize(
    "path",
    [
        *("results/store/x.json", ".venv/bin/python", ".venv-audit/bin/python", "data/MNIST/raw/x", ".git/config"),
        *("tl_robust/weights.safetensors", "a.pt", "tl_robust/__pycache__/x.pyc", "shared/x", "tests/test_cli.py"),
        *("experiments/wandb/run", "tl_robust.egg-info/PKG-INFO", "site/index.html"),
    ],
)
def test_what_is_large_or_private_stays_outside(path: str) -> None:
    assert ignored(path)


@pytest.mark.parametrize(
    "path", ["tl_robust/sinks/wandb/runs.py", "tl_robust/results/card.py", "experiments/digits.yaml"]
)
def test_the_package_is_not_left_out(path: str) -> None:
    assert (ROOT / path).exists()
    assert not ignored(path)


def test_nothing_that_is_versioned_and_copied_is_left_out() -> None:
    kept = [path for source in copied() for path in ((ROOT / source).rglob("*") if (ROOT / source).is_dir() else ())]
    lost = [path.relative_to(ROOT) for path in kept if path.suffix in (".py", ".yaml", ".json", ".jinja", ".html")]
    assert len(lost) > 300
    assert [path for path in lost if "__pycache__" not in path.parts and ignored(str(path))] == []


def tool(folder: Path, name: str, answers: bool) -> None:
    """A builder that answers or does not, and writes down what it is asked to do."""
    script = folder / name
    script.write_text(f'#!/bin/sh\n[ "$1" = info ] && exit {0 if answers else 1}\necho "{name} $@" >> {folder}/log\n')
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("podman", "docker", "built"),
    [(True, True, "podman"), (False, True, "docker"), (None, True, "docker"), (False, False, ""), (None, None, "")],
)
def test_make_container_takes_what_answers(
    podman: bool | None, docker: bool | None, built: str, tmp_path: Path
) -> None:
    for name, answers in (("podman", podman), ("docker", docker)):
        if answers is not None:
            tool(tmp_path, name, answers)
    make, shell = shutil.which("make"), shutil.which("sh")
    assert make
    assert shell
    (tmp_path / "sh").symlink_to(shell)
    done = subprocess.run(
        [make, "--no-print-directory", "-C", str(ROOT), "container"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if built:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "log").read_text() == f"{built} build --file Containerfile --tag tl_robust .\n"
    else:
        assert done.returncode == 2
        said = done.stderr.splitlines()[0]
        assert said == "error: neither podman nor docker answers here: install one, or start its service."


@pytest.mark.slow
def test_what_is_copied_can_be_installed_and_knows_its_benches(tmp_path: Path) -> None:
    """What the image gets is enough for ``make setup``: here a wheel is built of it."""
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path / source)
    code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    environment = {**os.environ, "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True, check=True
    ).stdout
    assert "tl_robust/experiments/embedded.yaml" in names
