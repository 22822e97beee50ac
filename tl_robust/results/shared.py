"""JSON files that others wrote: parsed, checked by a schema of this package, or refused in one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from tl_robust.errors import ResultsError
from tl_robust.results import strangers
from tl_robust.text import plain

FAMILY, VERSION = "tl_robust.leaderboard", 1
SCHEMA = f"{FAMILY}/{VERSION}"
LATER = f"{FAMILY}/{VERSION + 1}"  # of files that name who submitted them; others stay as they were
LIMIT = 500_000_000  # bytes of a file; a cell with samples of 10,000 images at 10 eps has 0.2 MB


@dataclass(frozen=True)
class Form:
    """A kind of file.

    Attributes:
        schema: Family and version, as the file names them: ``tl_robust.leaderboard/1``.
        package: Where its JSON schema is.
        file: Name of that schema.
        word: What users call such a file.
        writer: The command that writes it.
        limit: The most bytes that are read.
        later: Other versions that are read too.
    """

    schema: str
    package: str
    file: str
    word: str
    writer: str
    limit: int = LIMIT
    later: tuple[str, ...] = ()


LEADERBOARD = Form(
    SCHEMA, __package__, "leaderboard.schema.json", "leaderboard file", "tl-robust export", later=(LATER,)
)


def refuse(path: Path, why: str) -> NoReturn:
    """Say in one sentence why a file is not read."""
    raise ResultsError(f"{path} cannot be used: {why}.")


@lru_cache
def _schema(form: Form) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(files(form.package).joinpath(form.file).read_text("utf-8")))


def as_json(value: Any) -> Any:
    """The same value as JSON can hold it: null stands for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fitting(path: Path, form: Form) -> dict[str, Any]:
    """The content of a file that fits the schema of its kind.

    Raises:
        ResultsError: It cannot be read, is damaged, of another kind or version, or does not fit.
    """

    def number(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number in JSON")

    try:
        if not path.is_file():
            refuse(path, "it cannot be read (no such file, or not a regular one)")
        if path.stat().st_size > form.limit:
            refuse(path, f"it has more than {form.limit // 1_000_000} MB")
        content = json.loads(path.read_bytes(), parse_constant=number)
    except OSError as error:
        refuse(path, f"it cannot be read ({error.strerror or error})")
    except (ValueError, RecursionError) as error:
        refuse(path, f"it is damaged or no JSON ({error})")
    if fault := strangers.fault(content):
        refuse(path, fault)
    named = content.get("schema") if isinstance(content, dict) else None
    known = (form.schema, *form.later)
    if str(named).partition("/")[0] != form.schema.partition("/")[0]:
        refuse(path, f'it is no {form.word}: expected "schema": "{form.schema}", as {form.writer} writes it')
    if named not in known:
        refuse(path, f"it has the schema {named}, and this version reads {' and '.join(known)}: use one that knows it")
    from jsonschema.exceptions import best_match

    if misfit := best_match(_schema(form).iter_errors(content)):
        refuse(path, f"{plain(misfit.json_path.removeprefix('$.'))[:200]}: {plain(misfit.message)[:200]}")
    return dict(content)


def valid(path: Path) -> dict[str, Any]:
    """The content of a leaderboard file that fits the schema."""
    content = fitting(path, LEADERBOARD)
    if fault := strangers.absurd(content):
        refuse(path, fault)
    if "submitter" in content and content["schema"] != LATER:
        refuse(path, f"it names a submitter, which files of the schema {content['schema']} cannot: write {LATER}")
    # Files of earlier versions say neither threat nor axis, since evasion was the only threat.
    content["cell"].setdefault("threat", "evasion")
    return {"axis": "eps", **content}
