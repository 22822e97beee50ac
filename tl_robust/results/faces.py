"""How the results of each threat read, found by the threat of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from tl_robust.registry import Registry
from tl_robust.threats.base import THREATS
from tl_robust.types import Cell, Face


class _Faces(Mapping[str, Face]):
    """The faces of all threats that are registered when they are asked for."""

    @override
    def __getitem__(self, threat: str) -> Face:
        if threat not in THREATS:
            raise KeyError(threat)
        return THREATS[threat].face

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(THREATS.names())

    @override
    def __len__(self) -> int:
        return len(THREATS.names())


FACES: Mapping[str, Face] = _Faces()


def methods_of(threat: str) -> list[Registry[Any]]:
    """The registry of what an attacker of a threat may do; none of a threat that is not known here."""
    return [THREATS[threat].METHODS] if threat in THREATS else []


class Placed(Protocol):
    """Whatever belongs to a cell, such as a row or a result."""

    @property
    def cell(self) -> Cell:
        """The coordinates of its cell."""


P = TypeVar("P", bound=Placed)


def face_of(cell: Cell, faces: Mapping[str, Face] = FACES) -> Face:
    """The face of a cell's threat; of a threat that is not known here, one that has its name and nothing more."""
    return faces.get(cell.threat) or Face(cell.threat, cell.threat)


def by_threat(items: Iterable[P], faces: Mapping[str, Face] = FACES) -> list[tuple[Face, list[P]]]:
    """Rows or results with the face of their threat, a list for each threat in order of appearance."""
    groups: dict[str, tuple[Face, list[P]]] = {}
    for item in items:
        groups.setdefault(item.cell.threat, (face_of(item.cell, faces), []))[1].append(item)
    return list(groups.values())
