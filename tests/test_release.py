"""A release: one version everywhere, and the papers that stand beside the code."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from tl_robust import __version__

ROOT = Path(__file__).parent.parent
TEXT = {"type": "string", "minLength": 1}
ENTITY = {"type": "object", "required": ["name"], "additionalProperties": False, "properties": {"name": TEXT}}
PERSON = {
    "type": "object",
    "additionalProperties": False,
    "required": ["family-names"],
    "properties": {"family-names": TEXT, "given-names": TEXT},
}
AUTHORS = {"type": "array", "minItems": 1, "items": {"anyOf": [PERSON, ENTITY]}}
REFERENCE = {
    "type": "object",
    "required": ["authors", "title", "type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["conference-paper", "article", "software"]},
        "title": TEXT,
        "authors": AUTHORS,
        "year": {"type": "integer"},
        "collection-title": TEXT,
        "url": {"type": "string", "pattern": "^https://"},
        "doi": {"type": "string", "pattern": "^10\\."},
    },
}
# The parts of the Citation File Format 1.2.0 that are used, written by hand after its guide.
CITATION = {
    "type": "object",
    "required": ["cff-version", "message", "title", "authors", "type", "version", "date-released", "license"],
    "additionalProperties": False,
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "message": TEXT,
        "title": TEXT,
        "abstract": TEXT,
        "type": {"enum": ["software", "dataset"]},
        "authors": AUTHORS,
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "date-released": {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "license": {"const": "Apache-2.0"},
        "keywords": {"type": "array", "minItems": 1, "uniqueItems": True, "items": TEXT},
        "references": {"type": "array", "items": REFERENCE},
    },
}


def citation() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    return found


def versions() -> list[tuple[str, str]]:
    """Versions and dates of the changelog, the newest first."""
    return re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_package_changelog_and_citation_have_one_version_and_date() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    version, day = versions()[0]
    assert version == __version__, "the newest version of CHANGELOG.md is that of tl_robust/__init__.py"
    assert (citation()["version"], citation()["date-released"]) == (version, day)
    assert date.fromisoformat(day)


def test_the_changelog_starts_with_what_is_not_released() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1:] == [f"{version} - {day}" for version, day in versions()]
    numbers = [tuple(map(int, version.split("."))) for version, _ in versions()]
    assert numbers == sorted(numbers, reverse=True)


def test_the_citation_is_one() -> None:
    Draft202012Validator(CITATION).validate(citation())
    for name in ("title", "authors", "version"):
        with pytest.raises(ValidationError):
            Draft202012Validator(CITATION).validate({key: value for key, value in citation().items() if key != name})


def test_no_page_names_another_version() -> None:
    """Names of wheels, tags and archives in the texts that a release is made by."""
    texts = [ROOT / "SECURITY.md", *(ROOT / "docs" / f"{name}.md" for name in ("install", "release"))]
    for path in texts:
        named = re.findall(r"tl_robust-(\d+\.\d+\.\d+)|\bv(\d+\.\d+\.\d+)", path.read_text())
        assert {version for pair in named for version in pair if version} <= {__version__}, path


def test_security_says_what_is_supported() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    for minor in re.findall(r"Python :: (3\.\d+)", project):
        assert minor in text, f"Python {minor} is not in the table of versions"
    (torch,) = re.findall(r'"torch>=([\d.]+)"', project)
    assert f"torch {torch}" in text
    assert __version__.rpartition(".")[0] in text
    for path in re.findall(r"`(tests/[\w/.]+|tl_robust/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
    assert len(re.findall(r"`tests/", text)) >= 6, "each guarantee names its test"


def test_every_target_that_the_pages_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in ("SECURITY.md", "docs/install.md", "docs/release.md"):
        for target in re.findall(r"(?:^|`)make ([a-z]+(?:-[a-z]+)*)", (ROOT / name).read_text(), re.MULTILINE):
            assert f"\n{target}:" in makefile, f"{name}: make {target}"
