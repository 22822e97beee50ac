"""The bill of materials of what the package needs."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from datetime import UTC, datetime
from email.message import Message
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.audit.sarif_parts import _list, _object, fits, official_bom
from tl_robust import __version__

ROOT = Path(__file__).parent.parent.parent
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

HASHES = _list(_object("alg content", content={"type": "string", "pattern": "^[0-9a-f]{64}$"}), 1)
LICENSE = {
    "oneOf": [
        _object("expression"),
        _object("license", license=_object("name")),
        _object("license", license=_object("id")),
    ]
}
PART: dict[str, Any] = _object(
    "type bom-ref name version purl",
    "licenses components",
    type={"const": "library"},
    licenses=_list(LICENSE, 1) | {"maxItems": 1},
    purl={"type": "string", "pattern": "^pkg:pypi/[a-z0-9-]+@[A-Za-z0-9.%]+$"},
    components=_list(_object("type bom-ref name hashes", type={"const": "file"}, hashes=HASHES), 1),
)
SBOM = _object(
    "$schema bomFormat specVersion serialNumber version metadata components dependencies",
    bomFormat={"const": "CycloneDX"},
    specVersion={"const": "1.6"},
    serialNumber={"pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    version={"const": 1},
    metadata=_object("timestamp component", component=PART),
    components=_list(PART, 1),
    dependencies=_list(_object("ref dependsOn", dependsOn=_list({"type": "string"}) | {"uniqueItems": True}), 1),
)


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom_maker", ROOT / "experiments" / "sbom.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


MAKER = _maker()


@pytest.fixture(scope="module")
def parts() -> Any:
    return MAKER.parts_of(MAKER.direct()[""])


@pytest.fixture(scope="module")
def document(parts: Any) -> Any:
    roots = {MAKER.normal(requirement.name) for requirement in MAKER.direct()[""]}
    return MAKER.bom(parts, roots, __version__, NOW)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def counts(text: str) -> bool:
    marker = Requirement(text).marker
    return marker is None or marker.evaluate({"extra": ""})


def test_the_document_fits_the_parts_of_the_standard_that_are_used(document: Any) -> None:
    fits(SBOM, document)


def test_the_document_fits_the_official_schema(document: Any) -> None:
    official_bom().validate(document)


def test_everything_that_is_needed_is_in_it_at_its_version(document: Any) -> None:
    listed = {part["name"]: part for part in document["components"]}
    asked = {normal(Requirement(text).name) for text in DEPENDENCIES["dependencies"]}
    assert asked <= set(listed)
    for name, part in listed.items():
        installed = metadata.distribution(name)
        assert part["version"] == installed.version
        more = {normal(Requirement(text).name) for text in installed.requires or () if counts(text)}
        assert more <= set(listed), f"{name} needs {more - set(listed)}"
    assert "pytest" not in listed, "what only developers need is not shipped to anyone"
    own = document["metadata"]["component"]
    assert (own["version"], own["licenses"]) == (__version__, [{"license": {"id": DEPENDENCIES["license"]}}])


def test_the_graph_says_who_needs_what(document: Any) -> None:
    graph = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    refs = {part["name"]: part["bom-ref"] for part in document["components"]}
    assert refs["torch"] in graph[document["metadata"]["component"]["bom-ref"]]
    assert refs["numpy"] in graph[refs["scipy"]]
    assert set(graph) == {*refs.values(), document["metadata"]["component"]["bom-ref"]}
    assert {other for others in graph.values() for other in others} == set(refs.values())


def test_every_license_is_known_or_said_to_be_unknown(parts: Any, document: Any) -> None:
    for part in document["components"]:
        assert "licenses" in part or f"{part['name']}: declares no license" in MAKER.told(parts), part["name"]
    for part in parts.values():
        assert part.permissive or any(line.startswith(f"{part.name}: ") for line in MAKER.told(parts))
    assert parts["torchmetrics"].license == "Apache-2.0"
    assert parts["certifi"].license == "MPL-2.0"
    assert "certifi: MPL-2.0" in MAKER.told(parts)


def test_the_same_installation_gives_the_same_document(parts: Any, document: Any) -> None:
    roots = {MAKER.normal(requirement.name) for requirement in MAKER.direct()[""]}
    assert MAKER.bom(parts, roots, __version__, NOW) == document
    assert MAKER.bom(parts, roots, "9.9", NOW)["serialNumber"] != document["serialNumber"]


@pytest.mark.parametrize(
    ("declared", "read", "permissive"),
    [
        ({"License-Expression": "MIT", "License": "GPL"}, "MIT", True),
        ({"License": "Apache License, Version 2.0"}, "Apache-2.0", True),
        ({"License": "GPL-3.0-only"}, "GPL-3.0-only", False),
        ({"License": "a long\ntext", "Classifier": "License :: OSI Approved :: BSD License"}, "BSD License", True),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT", True),
        ({"License": "NVIDIA Proprietary Software"}, "NVIDIA Proprietary Software", False),
        (
            {"License": "Apache 2.0", "Classifier": "License :: Other/Proprietary License"},
            "Apache-2.0, or Other/Proprietary License", False,
        ),
        ({"License-Expression": "MPL-2.0 AND MIT"}, "MPL-2.0 AND MIT", False),
        ({"License-Expression": "GPL-3.0-only OR MIT"}, "GPL-3.0-only OR MIT", True),
        (
            {"License-Expression": "Apache-2.0 WITH LLVM-exception AND MIT"},
            "Apache-2.0 WITH LLVM-exception AND MIT", True,
        ),
        ({"License-Expression": "(MIT OR GPL-3.0-only) AND MIT"}, "(MIT OR GPL-3.0-only) AND MIT", False),
        ({}, "", False),
    ],
)  # fmt: skip
def test_a_license_is_read_as_it_is_declared(declared: dict[str, str], read: str, permissive: bool) -> None:
    facts = Message()
    for name, value in declared.items():
        facts[name] = value
    assert MAKER.license_of(facts) == read
    assert MAKER.Part("x", "1", read, (), "").permissive == permissive


def test_a_package_without_a_license_is_named() -> None:
    nameless = MAKER.Part("x", "1", "", (), "0" * 64)
    assert MAKER.told({"x": nameless}) == ["x: declares no license"]
    document = MAKER.bom({"x": nameless}, ["x"], "1", NOW)
    fits(SBOM, document)
    assert "licenses" not in document["components"][0]


def test_what_is_not_installed_is_said_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MAKER, "direct", lambda extras: {"": [Requirement("no-such-package>=1")]})
    monkeypatch.setattr(sys, "argv", ["sbom.py", "--extra", "ray", "--out", str(tmp_path / "out.json")])
    assert MAKER.main() == 2
    said = capsys.readouterr().err
    assert said == (
        "error: no-such-package, which pyproject.toml asks for, is not installed: pip install 'tl_robust[ray]'.\n"
    )
    assert not (tmp_path / "out.json").exists()


def test_the_command_writes_the_document(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sbom.py", "--out", str(tmp_path / "out.json")])
    assert MAKER.main() == 0
    fits(SBOM, json.loads((tmp_path / "out.json").read_text()))
    assert "certifi: MPL-2.0" in capsys.readouterr().out


def test_the_table_of_the_documentation_has_every_package_that_is_asked_for() -> None:
    """In the order of pyproject.toml, with the license of what is installed here."""
    text = (ROOT / "docs" / "install.md").read_text()
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (all|dashboard|dp|hf|ray|timm) \| (.+) \|$", text, flags=re.MULTILINE)
    asked = MAKER.direct(MAKER.EXTRAS)
    assert [(name, extra) for name, extra, _ in rows] == [
        (normal(requirement.name), extra or "all")
        for extra, requirements in asked.items()
        for requirement in requirements
    ]
    for name, _, told in rows:
        try:
            assert MAKER.license_of(metadata.distribution(name).metadata) == told, f"make sbom: {name}"
        except metadata.PackageNotFoundError:
            assert told
