"""Conducts an audit: reads two files, asks the locks, attacks, and writes down what was found."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tl_robust.auditor.call import audit

__all__ = ["audit"]


def __getattr__(name: str) -> Any:
    if name == "audit":  # imported when asked for, so that a look at one part of an audit does not import all of it
        return import_module("tl_robust.auditor.call").audit
    raise AttributeError(f"module 'tl_robust.auditor' has no attribute {name!r}")
