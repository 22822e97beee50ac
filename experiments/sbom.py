"""The bill of materials of what the package needs: versions, licenses, digests, as CycloneDX 1.6.

It reads ``pyproject.toml`` and the metadata of installed packages, and needs no network:

    python experiments/sbom.py                          what the package itself needs, to sbom.cdx.json
    python experiments/sbom.py --extra ray --extra hf   and what two extras add; --extra all: all of them
    python experiments/sbom.py --extra all --table docs/install.md    write its tables of licenses and sizes again

The archive that a package was installed from is gone, so that there is no digest of it. The digest given is that of its
``RECORD``, which holds the SHA-256 of every installed file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement

from tl_robust import __version__

ROOT = Path(__file__).parent.parent
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
EXTRAS = ("dashboard", "dp", "hf", "ray", "timm")  # for users; the others are for those who work on the package
PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC"),
    *("MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
}
# What authors write in place of an SPDX identifier, where it says the same beyond doubt.
WRITTEN = {
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "isc license": "ISC",
    "mit license": "MIT",
}
# Names of permissive licenses that do not say which of several versions they are.
NAMED = frozenset({"Apache Software License", "BSD", "BSD License", "Python Software Foundation License"})
WORDS = PERMISSIVE | {"AND", "OR", "WITH", "LLVM-exception", "MPL-2.0"}  # of SPDX expressions
PROPRIETARY = "Other/Proprietary License"


class NotInstalledError(Exception):
    """Something that is needed is not installed, so that nothing is known of it."""


@dataclass(frozen=True)
class Part:
    """An installed package: its license, empty where none is declared, and what it needs by name."""

    name: str
    version: str
    license: str
    needs: tuple[str, ...]
    record: str

    @property
    def purl(self) -> str:
        """Its address as other programs write it."""
        return f"pkg:pypi/{self.name}@{quote(self.version)}"

    @property
    def permissive(self) -> bool:
        """Whether its license asks for hardly more than that its text is kept; False where none is declared."""
        return self.license in NAMED or _permissive(self.license)


def _permissive(expression: str) -> bool:
    """Whether every part of an SPDX expression is permissive, or one of several to choose from."""
    if "(" in expression or " WITH " in expression.replace("Apache-2.0 WITH LLVM-exception", ""):
        return False  # to be read by a person
    parts = expression.replace(" WITH LLVM-exception", "").split(" AND ")
    return all(any(choice in PERMISSIVE for choice in part.split(" OR ")) for part in parts)


def license_of(facts: Any) -> str:
    """The license that metadata declare: an SPDX expression where there is one, else what authors call it.

    ``License-Expression`` counts first, then a short ``License``, then classifiers. Where the last two contradict each
    other, both are told.
    """
    if expression := facts.get("License-Expression"):
        return str(expression)
    classified = [
        text.rpartition("::")[2].strip() for text in facts.get_all("Classifier") or [] if "License ::" in text
    ]
    written = (facts.get("License") or "").strip()
    if written and "\n" not in written and len(written) < 60:
        written = WRITTEN.get(written.lower(), written)
        proprietary = "proprietary" in written.lower()
        return f"{written}, or {PROPRIETARY}" if PROPRIETARY in classified and not proprietary else written
    return " AND ".join(WRITTEN.get(text.lower(), text) for text in classified)


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(requirements: Iterable[str], extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Those of some requirements that count on this machine, with these extras."""
    for text in requirements:
        requirement = Requirement(text)
        chosen = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(names) for names in chosen):
            yield requirement


def project() -> dict[str, Any]:
    """The table ``project`` of pyproject.toml."""
    facts: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return facts


def direct(extras: Iterable[str] = ()) -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for: under the empty name for the package itself, and for each extra."""
    facts = project()
    asked = {"": facts["dependencies"]} | {extra: facts["optional-dependencies"][extra] for extra in extras}
    return {extra: list(needed(requirements)) for extra, requirements in asked.items()}


def parts_of(requirements: Iterable[Requirement]) -> dict[str, Part]:
    """All packages that requirements lead to, by name, from the metadata of what is installed.

    Raises:
        NotInstalledError: One of them is not installed.
    """
    found: dict[str, Part] = {}
    asked = [(requirement, "pyproject.toml") for requirement in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while asked:
        requirement, by = asked.pop()
        name, extras = normal(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise NotInstalledError(f"{name}, which {by} asks for, is not installed") from None
        more = list(needed(installed.requires or (), extras))
        needs = {normal(other.name) for other in more} | set(found[name].needs if name in found else ())
        record = (installed.read_text("RECORD") or "").encode()
        facts = installed.metadata
        digest = hashlib.sha256(record).hexdigest() if record else ""
        found[name] = Part(name, installed.version, license_of(facts), tuple(sorted(needs)), digest)
        asked += [(other, name) for other in more]
    return dict(sorted(found.items()))


def bom(parts: dict[str, Part], roots: Iterable[str], version: str, now: datetime) -> dict[str, Any]:
    """The document. Its serial number follows from its parts, so that it is the same for the same installation."""
    facts = project()
    own = f"pkg:pypi/{normal(facts['name'])}@{quote(version)}"
    identity = hashlib.sha256(json.dumps([own, *map(str, parts.values())]).encode()).hexdigest()
    graph = {own: sorted(parts[name].purl for name in roots)}
    graph |= {part.purl: sorted(parts[name].purl for name in part.needs) for part in parts.values()}
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(identity[:32], version=5)}",
        "version": 1,
        "metadata": {
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "library",
                "bom-ref": own,
                "name": facts["name"],
                "version": version,
                "licenses": [{"license": {"id": facts["license"]}}],
                "purl": own,
            },
        },
        "components": [_component(part) for part in parts.values()],
        "dependencies": [{"ref": ref, "dependsOn": others} for ref, others in graph.items()],
    }


def _component(part: Part) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "purl": part.purl,
    }
    if part.license:
        expression = all(word in WORDS or word.startswith("LicenseRef-") for word in part.license.split())
        entry["licenses"] = [{"expression": part.license} if expression else {"license": {"name": part.license}}]
    if part.record:
        hashes = [{"alg": "SHA-256", "content": part.record}]
        entry["components"] = [{"type": "file", "bom-ref": f"{part.purl}#RECORD", "name": "RECORD", "hashes": hashes}]
    return entry


def told(parts: dict[str, Part]) -> list[str]:
    """What a reader should know: licenses that are not permissive, and packages that declare none."""
    lines = [f"{part.name}: {part.license}" for part in parts.values() if part.license and not part.permissive]
    unknown = [f"{part.name}: declares no license" for part in parts.values() if not part.license]
    return [*lines, *unknown]


def megabytes(parts: Iterable[Part]) -> float:
    """What packages take of a disk, as their records say it."""
    files = (file for part in parts for file in metadata.distribution(part.name).files or ())
    return sum(file.size or 0 for file in files) / 1e6


def tables(extras: Iterable[str]) -> str:
    """Licenses of what is asked for, and what each extra adds, in Markdown."""
    asked = direct(extras)
    base = parts_of(asked[""])
    lines = ["| package | for | license |", "|---|---|---|"]
    for extra, requirements in asked.items():
        whole = parts_of([*asked[""], *requirements])
        names = [normal(requirement.name) for requirement in requirements]
        lines += [f"| {name} | {extra or 'all'} | {whole[name].license} |" for name in names]
    lines += ["", "| extra | packages that it adds | size |", "|---|---|---|"]
    cuda = [part for name, part in base.items() if re.match("nvidia-|cuda-|triton", name)]
    for text, some in (("none", base.values()), ("none, of these for CUDA", cuda)):
        lines.append(f"| {text} | {len(some)} | {megabytes(some):,.0f} MB |")
    for extra in extras:
        added = [part for name, part in parts_of([*asked[""], *asked[extra]]).items() if name not in base]
        names = ", ".join(part.name for part in added) or "none"
        lines.append(f"| `{extra}` | {names} | {megabytes(added):.0f} MB |")
    everything = parts_of(requirement for requirements in asked.values() for requirement in requirements)
    notes = told(everything)
    lines += [
        "",
        f"Of {len(everything)} packages in all, {len(everything) - len(notes)} have permissive licenses. The others:",
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extra", action="append", default=[], choices=[*EXTRAS, "all"], help="several times, or all")
    parser.add_argument("--out", type=Path, default=ROOT / "sbom.cdx.json")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="write its tables between two marks, and no document"
    )
    parsed = parser.parse_args()
    extras = EXTRAS if "all" in parsed.extra else tuple(sorted(set(parsed.extra)))
    try:
        if parsed.table:
            before, mark, rest = parsed.table.read_text().partition("<!-- made by make sbom -->\n")
            _, end, after = rest.partition("<!-- until here -->\n")
            if not end:
                raise ValueError
            parsed.table.write_text(f"{before}{mark}\n{tables(extras)}\n\n{end}{after}")
            return 0
        asked = [requirement for requirements in direct(extras).values() for requirement in requirements]
        parts = parts_of(asked)
    except NotInstalledError as error:
        ask = ",".join(extras)
        print(f"error: {error}: pip install 'tl_robust{f'[{ask}]' if ask else ''}'.", file=sys.stderr)
        return 2
    except ValueError:
        print(f"error: {parsed.table} has no lines that mark its tables: write them there.", file=sys.stderr)
        return 2
    document = bom(parts, {normal(requirement.name) for requirement in asked}, __version__, datetime.now(UTC))
    parsed.out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{parsed.out}: {len(parts)} packages. Not permissive, or not declared:", *told(parts), sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
