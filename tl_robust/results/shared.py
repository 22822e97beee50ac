"""A leaderboard file that others wrote: parsed, checked by the schema beside this file, or refused in one sentence."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from tl_robust.errors import ResultsError
from tl_robust.results import strangers
from tl_robust.text import plain

FAMILY, VERSION = "tl_robust.leaderboard", 1
SCHEMA = f"{FAMILY}/{VERSION}"
LIMIT = 500_000_000  # bytes of a file; a cell with samples of 10,000 images at 10 eps has 0.2 MB


def refuse(path: Path, why: str) -> NoReturn:
    """Say in one sentence why a file is not read."""
    raise ResultsError(f"{path} cannot be used: {why}.")


@lru_cache
def _schema() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(files(__package__).joinpath("leaderboard.schema.json").read_text("utf-8")))


def valid(path: Path) -> dict[str, Any]:
    """The content of a file that fits the schema."""

    def number(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number in JSON")

    try:
        if not path.is_file():
            refuse(path, "it cannot be read (no such file, or not a regular one)")
        if path.stat().st_size > LIMIT:
            refuse(path, f"it has more than {LIMIT // 1_000_000} MB")
        content = json.loads(path.read_bytes(), parse_constant=number)
    except OSError as error:
        refuse(path, f"it cannot be read ({error.strerror or error})")
    except (ValueError, RecursionError) as error:
        refuse(path, f"it is damaged or no JSON ({error})")
    if fault := strangers.fault(content):
        refuse(path, fault)
    named = content.get("schema") if isinstance(content, dict) else None
    family, _, version = str(named).partition("/")
    if family != FAMILY:
        refuse(path, f'it is no leaderboard file: expected "schema": "{SCHEMA}", as tl-robust export writes it')
    if version != str(VERSION):
        refuse(path, f"it has the schema {named}, and this version reads {SCHEMA}: use a version that knows it")
    from jsonschema.exceptions import best_match

    if misfit := best_match(_schema().iter_errors(content)):
        refuse(path, f"{plain(misfit.json_path.removeprefix('$.'))[:200]}: {plain(misfit.message)[:200]}")
    if fault := strangers.absurd(content):
        refuse(path, fault)
    # Files of earlier versions say neither threat nor axis, since evasion was the only threat.
    content["cell"].setdefault("threat", "evasion")
    return {"axis": "eps", **content}
