"""YAML with its texts as they were written: ``010``, ``12:30``, ``no`` and ``2026-11-26`` are folders or classes too.

YAML 1.1 takes these for the numbers 8 and 750, a truth value and a date. Here the schema says what a value is: where it
expects a text, the text that stands in the file is taken. Elsewhere numbers are read as people write them, in decimal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from tl_robust.errors import ConfigError

KeyPath = tuple[str | int, ...]  # keys and places in lists, from the top of the file
MOST, DEEPEST = 100_000, 50  # values, and values inside each other: what anchors repeat is counted each time
LARGEST, LONGEST = 1 << 63, 70  # of whole numbers, and of letters that write one: torch and numpy have 64 bits
OVERRIDES = 1 << 40  # the place of the first override, after all of the file
TAG = "tag:yaml.org,2002:"


class Label(str):
    """Marks texts of which ``~`` or nothing stands for none; the word ``null`` could mean either and is refused."""


class _Loader(yaml.SafeLoader):
    """Decimal numbers and truth values; no octal, sexagesimal or date."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _form in {
    "bool": "true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF",
    "int": r"[-+]?(?:\d+(?:_\d+)*|0x[\da-fA-F]+|0o[0-7]+)",
    "float": r"[-+]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "null": "~|null|Null|NULL|",
    "merge": "<<",
}.items():
    _Loader.add_implicit_resolver(TAG + _tag, re.compile(f"^(?:{_form})$"), None)


class Written:
    """A YAML file or an override, read with the help of a schema.

    Args:
        schema: A dataclass. The entries of a field that is a mapping may have hints of their own, in its metadata under
            ``entries``.

    Attributes:
        places: Where each value begins in the file, by its path.
    """

    def __init__(self, schema: type) -> None:
        self.places: dict[KeyPath, int] = {}
        self._schema, self._count = schema, 0

    def read(self, text: str) -> Any:
        """The plain values of a file; None where it is empty.

        Raises:
            ConfigError: A key stands twice, a value has a tag, or there are too many values.
            yaml.YAMLError: It is no YAML.
        """
        node = self._compose(text)
        return None if node is None else self._value(node, self._schema, ())

    def override(self, key: str, text: str) -> Any:
        """The plain value of an override ``key=text``; raises what :meth:`read` raises."""
        hint: Any = self._schema
        path: KeyPath = ()
        for part in re.findall(r"[^.\[\]]+", key):
            hint, path = _inside(hint, part), (*path, int(part) if part.isdecimal() else part)
        self.places[path] = OVERRIDES + len(self.places)
        if not text or (hint is str and text[0] not in "'\"[{!"):
            return text
        node = self._compose(text)
        return None if node is None else self._value(node, hint, ())

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            return yaml.compose(text, _Loader)
        except RecursionError as error:
            raise ConfigError("values stand too deep inside each other.") from error

    def _value(self, node: yaml.Node, hint: Any, path: KeyPath) -> Any:
        self._count += 1
        if self._count > MOST or len(path) > DEEPEST:
            raise ConfigError(f"there are more than {MOST:,} values, or more than {DEEPEST} inside each other.")
        self.places.setdefault(path, node.start_mark.index)
        if isinstance(node, yaml.MappingNode):
            values = {}
            for key, (at, value) in self._pairs(node).items():
                self.places.setdefault((*path, key), at)
                values[key] = self._value(value, _inside(hint, key), (*path, key))
            return values
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, _inside(hint, 0), (*path, place)) for place, item in enumerate(node.value)]
        return _scalar(node, hint, path)

    def _pairs(self, node: yaml.MappingNode) -> dict[str, tuple[int, yaml.Node]]:
        """Values by key with their places; those of ``<<`` where there is no other."""
        pairs: dict[str, tuple[int, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            self._count += 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"line {key.start_mark.line + 1}: a key must be a text.")
            if key.tag == f"{TAG}merge":
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif key.value in pairs:
                raise ConfigError(f"line {key.start_mark.line + 1}: the key {key.value!r} stands there twice.")
            else:
                pairs[key.value] = key.start_mark.index, value
        if self._count > MOST:
            raise ConfigError(f"there are more than {MOST:,} values.")
        for other in merged:
            if not isinstance(other, yaml.MappingNode) or other is node:
                raise ConfigError(f"line {other.start_mark.line + 1}: only keys with values can be merged by <<.")
            pairs = self._pairs(other) | pairs
        return pairs


def _inside(hint: Any, key: str | int) -> Any:
    """The hint of what lies in a value of this hint."""
    if isinstance(hint, Mapping):
        return hint.get(key, hint.get("*", Any))
    if isinstance(hint, type) and is_dataclass(hint):
        for item in fields(hint):
            if item.name == key:
                return {"*": item.metadata["entries"]} if "entries" in item.metadata else get_type_hints(hint)[key]
    if get_origin(hint) in (list, dict):
        return get_args(hint)[-1]
    return Any


def _scalar(node: yaml.Node, hint: Any, path: KeyPath) -> Any:
    text, tag = str(node.value), node.tag.removeprefix(TAG)
    if tag not in ("str", "bool", "int", "float", "null", "merge"):
        raise ConfigError(f"line {node.start_mark.line + 1}: a value cannot have the tag {node.tag}.")
    if hint is Label and tag == "null" and text not in ("", "~"):
        where = ".".join(map(str, path[:-1]))
        raise ConfigError(f"{where} has {text}, which could be a name or none: write {text!r} in quotes, or ''.")
    if tag in ("str", "merge") or (text and hint is str) or (hint is Label and tag != "null"):
        return text
    if tag == "bool":
        return text.lower() in ("true", "yes", "on")
    if tag == "int":
        digits = text.replace("_", "").lower()
        base = 16 if "0x" in digits else 8 if "0o" in digits else 10
        number = int(digits, base) if len(digits) <= LONGEST else LARGEST
        if abs(number) >= LARGEST:
            quoted = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
            raise ConfigError(f"line {node.start_mark.line + 1}: {quoted} is beyond the whole numbers of 64 bits.")
        return number
    return None if tag == "null" else float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
