"""All that is wrong with a bench file, told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tl_robust.config.written import KeyPath
from tl_robust.errors import ConfigError, InputError

T = TypeVar("T")


class Problems:
    """Errors by where they are.

    Args:
        source: Name of the file.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._found: list[tuple[KeyPath, InputError]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, path: KeyPath, error: InputError) -> None:
        """One more, unless the same was said already."""
        if str(error) not in (str(other) for _, other in self._found):
            self._found.append((path, error))

    def tried(self, path: KeyPath, instead: T, make: Callable[..., T], *arguments: Any) -> T:
        """What ``make`` gives of the arguments, or ``instead`` where it cannot, so that others can be tried."""
        try:
            return make(*arguments)
        except InputError as error:
            self.add(path, error)
            return instead

    def at(self, *path: str | int) -> bool:
        """Whether something is wrong there, inside of it, or around it."""
        return any(found[: len(path)] == path[: len(found)] for found, _ in self._found)

    def end(self, places: Mapping[KeyPath, int]) -> None:
        """Raise what was found: one error as it is, several as a list in the order of the file, then of overrides.

        Raises:
            InputError: Something is wrong.
        """
        if not self._found:
            return
        if len(self._found) == 1:
            raise self._found[0][1]

        def place(item: tuple[KeyPath, InputError]) -> float:
            path = item[0]
            while path and path not in places:
                path = path[:-1]
            return places[path] if path else float("inf")

        lines = [str(error).removeprefix(f"{self.source}: ") for _, error in sorted(self._found, key=place)]
        raise ConfigError("\n".join([f"{len(lines)} errors in {self.source}:", *(f"- {line}" for line in lines)]))
