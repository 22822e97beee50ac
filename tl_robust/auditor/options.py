"""What is asked of an audit as plain values, of Python or of YAML, and the request that they make."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from tl_robust.auditor.locks import LOCKS
from tl_robust.auditor.request import Entry, Request
from tl_robust.config.entries import parse_number
from tl_robust.data.names import Names, class_file
from tl_robust.errors import ConfigError, UnknownNameError

OPTIONS = tuple(item.name for item in fields(Request))
NEEDED = tuple(item.name for item in fields(Request) if item.default is item.default_factory is MISSING)


def request_of(options: Mapping[str, Any], where: str = "") -> Request:
    """The request that plain values make; where one is missing, its default stands.

    Args:
        options: By the names of :class:`Request`'s fields. A path may be a text or a ``Path``; numbers may be written
            as ``8/255``; a list of one thing may be that thing; ``classes`` may be a file of names, one a line.
        where: What stands before the name of an option in errors, such as ``many.yaml: models.mine.``.

    Raises:
        ConfigError: An option is unknown, missing, or of another kind; says which, and what was expected.
        DataError: A file of class names cannot be read.
    """
    for option in options:
        if option not in OPTIONS:
            raise UnknownNameError(f"option of an audit {where}".rstrip(". "), option, OPTIONS)
    if missing := [option for option in NEEDED if options.get(option) in (None, "")]:
        raise ConfigError(f"{where.lstrip('-')}{missing[0]} is missing: an audit needs {' and '.join(NEEDED)}.")
    request = Request(**{option: KINDS[option](value, f"{where}{option}") for option, value in options.items()})
    check(request, where)
    return request


def check(request: Request, where: str = "--") -> None:
    """Check what can be told without a file.

    Args:
        request: What is asked for.
        where: What stands before the name of an option in errors.

    Raises:
        ConfigError: A value is none that an audit can have.
    """
    for name, good, expected in (
        ("data", bool(request.data), "a folder or a domain"),
        ("stated", math.isnan(request.stated) or 0 <= request.stated <= 1, "a share from 0 to 1"),
        ("images", request.images >= 0, "0 (all) or more"),
        ("eps", bool(request.eps) and all(0 < eps <= 1 for eps in request.eps), "above 0, up to 1"),
        ("norm", request.norm in ("linf", "l2"), "linf or l2"),
        ("transfer", bool(request.transfer), "one attack or more"),
        ("workers", request.workers >= 0, "0 (one a CPU core, at most 4) or more"),
        ("accelerator", request.accelerator in ("auto", "cpu", "gpu"), "auto, cpu or gpu"),
    ):
        if not good:
            got = getattr(request, name)
            shown = ", ".join(map(str, got)) if isinstance(got, tuple) else got
            raise ConfigError(f"{where}{name} must be {expected}, got {shown or 'none'}.")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{where} must be a text, got {value!r}.")
    return os.fspath(value)


def _path(value: Any, where: str) -> Path:
    return Path(_text(value, where)).expanduser()


def _entry(value: Any, where: str) -> Entry:
    if isinstance(value, Mapping):
        return {str(key): os.fspath(item) if isinstance(item, os.PathLike) else item for key, item in value.items()}
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{where} must be a name, a path or a mapping, got {value!r}.")
    return os.fspath(value)


def _entries(value: Any, where: str) -> tuple[Entry, ...]:
    return tuple(_entry(item, where) for item in _several(value))


def _paths(value: Any, where: str) -> tuple[Path, ...]:
    return tuple(_path(item, where) for item in _several(value))


def _names(value: Any, where: str) -> Names:
    if isinstance(value, str | os.PathLike):
        path = Path(value)
        return class_file(path) if path.is_file() else tuple(filter(None, os.fspath(value).split(",")))
    if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where} must be a list of names, or a file with one name a line, got {value!r}.")
    return tuple(value)


def _locks(value: Any, where: str) -> tuple[str, ...]:
    names = tuple(_text(item, where) for item in _several(value))
    for name in names:
        if name not in LOCKS:
            raise UnknownNameError(f"lock of {where}", name, LOCKS.names())
    return names


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    return tuple(parse_number(item, where) for item in _several(value))


def _whole(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{where} must be a whole number, got {value!r}.")
    return value


def _several(value: Any) -> Sequence[Any]:
    """A list; a single thing is a list of one."""
    return value if isinstance(value, list | tuple) else [value]


KINDS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("model", "parent", "data", "train", "network", "space", "strong"), _entry),
    **dict.fromkeys(("decoys", "transfer"), _entries),
    **dict.fromkeys(("norm", "reference", "accelerator"), _text),
    **dict.fromkeys(("root", "results"), _path),
    "plugins": _paths,
    **dict.fromkeys(("images", "seed", "workers"), _whole),
    "classes": _names,
    "despite": _locks,
    "eps": _numbers,
    "stated": parse_number,
}
