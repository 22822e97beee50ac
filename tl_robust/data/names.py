"""Names of classes as they are compared: names that read the same are the same, however a file encodes them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from tl_robust.errors import DataError

Names = tuple[str, ...]
UNSEEN = "\ufeff\u200b\u2060"  # a byte order mark and blanks without width, which nobody sees at the ends of a name


def clean_name(name: str) -> str:
    r"""A name without blanks and byte order marks at its ends, its letters composed (Unicode NFC).

    >>> clean_name("\ufeffcafe\u0301 ") == "caf\u00e9"
    True
    """
    before, name = "", unicodedata.normalize("NFC", name)
    while name != before:
        before, name = name, name.strip().strip(UNSEEN)
    return name


def checked_names(names: Iterable[str], what: str) -> Names:
    """Class names, cleaned. An empty name says that its label is no class, and may stand more than once.

    Args:
        names: The names in label order.
        what: How an error calls the list.

    Raises:
        DataError: Two names are the same, or a name holds a control character.
    """
    cleaned = tuple(clean_name(name) for name in names)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(cleaned):
        if any(unicodedata.category(letter) == "Cc" and letter != "\t" for letter in name):
            raise DataError(f"{what} has the name {name!r} for label {place}, with a character that cannot be printed.")
        if name:
            places.setdefault(name, []).append(place)
    twice = [f"{name!r} for the labels {_listed(where)}" for name, where in places.items() if len(where) > 1]
    if twice:
        more = f" (and {len(twice) - 3} more)" if len(twice) > 3 else ""
        raise DataError(
            f"{what} has {', '.join(twice[:3])}{more}: give every class a name of its own, or an empty one if it is "
            "not to be used."
        )
    return cleaned


def _listed(places: Sequence[int]) -> str:
    return ", ".join(map(str, places[:-1])) + f" and {places[-1]}"


def class_file(path: Path) -> Names:
    """Class names from a text file with one name a line; the label of an empty line is no class.

    Raises:
        DataError: The file is missing or not UTF-8, or two names are the same.
    """
    if not path.is_file():
        raise DataError(f"the file of class names {path} is not there.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"the file of class names {path} is not UTF-8.") from error
    if not lines[-1]:  # the newline that ends the last name starts no further one
        del lines[-1]
    return checked_names(lines, f"the file of class names {path}")
