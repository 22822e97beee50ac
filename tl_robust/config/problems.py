"""All that is wrong with a bench file, told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tl_robust.config.written import KeyPath
from tl_robust.errors import ConfigError, InputError

T = TypeVar("T")


class Problems:
    """All errors of a bench file, each with the place where it is.

    Args:
        source: Name of the file.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._errors: list[tuple[KeyPath, InputError]] = []

    def __len__(self) -> int:
        return len(self._errors)

    def add(self, path: KeyPath, error: InputError) -> None:
        """Add an error, unless another one says the same already."""
        if str(error) not in (str(other) for _, other in self._errors):
            self._errors.append((path, error))

    def tried(self, path: KeyPath, instead: T, make: Callable[..., T], *arguments: Any) -> T:
        """What ``make`` gives of the arguments, or ``instead`` where it cannot, so that others can be tried."""
        try:
            return make(*arguments)
        except InputError as error:
            self.add(path, error)
            return instead

    def at(self, *path: str | int) -> bool:
        """Whether something is wrong there, inside of it, or around it."""
        return any(known[: len(path)] == path[: len(known)] for known, _ in self._errors)

    def end(self, places: Mapping[KeyPath, int]) -> None:
        """Raise what is wrong: one error as it is, several as a list in the order of the file, then of overrides.

        Raises:
            InputError: Something is wrong.
        """
        if not self._errors:
            return
        if len(self._errors) == 1:
            raise self._errors[0][1]

        def place(item: tuple[KeyPath, InputError]) -> float:
            path = item[0]
            while path and path not in places:
                path = path[:-1]
            return places[path] if path else float("inf")

        lines = [str(error).removeprefix(f"{self.source}: ") for _, error in sorted(self._errors, key=place)]
        raise ConfigError("\n".join([f"{len(lines)} errors in {self.source}:", *(f"- {line}" for line in lines)]))
