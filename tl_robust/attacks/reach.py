"""The networks behind a callable: a bound method, a partial, a closure, an object. Nothing is executed."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

DEPTH = 6  # how many steps from the callable a network may lie: a decorator takes two
LIMIT = 2000  # objects that are looked at; it bounds the time where a closure holds half of a program
ENTRIES = 100  # entries of a list or dictionary that are looked at
_OWN = frozenset(vars(nn.Module()))  # attributes that every module has and that hold no network of the user's
_NO_HOME = frozenset(sys.stdlib_module_names) | {"torch", "torchvision", "lightning", "numpy"}
_PLAIN = (str, bytes, int, float, complex, type(None), type, Tensor, CodeType)
_HOLDERS = (list, tuple, dict, partial, FunctionType, MethodType)


def modules_behind(model: object) -> list[nn.Module]:
    """The modules that a callable holds, nearest first; those inside another one are not named again.

    Followed are: a method's object, what a partial fixes, what a function takes from its closure, its defaults and by
    name from its globals, attributes of objects, and entries of lists, tuples, sets and dictionaries, so also modules
    that a module keeps in a plain list. A network that is found in no such way (made anew at each call, in another
    process) is not seen.

    Args:
        model: Any callable.
    """
    modules: list[nn.Module] = []
    inside: set[int] = set()
    kept: dict[int, object] = {}  # kept alive, so that no other object gets the id of one that was seen
    queue: deque[tuple[object, int]] = deque([(model, 0)])
    while queue and len(kept) < LIMIT:
        item, depth = queue.popleft()
        if isinstance(item, _PLAIN) or id(item) in kept:
            continue
        kept[id(item)] = item
        if isinstance(item, nn.Module):
            if id(item) in inside:
                continue
            modules.append(item)
            inside.update(id(inner) for inner in item.modules())
        if depth < DEPTH:
            queue.extend((inner, depth + 1) for inner in _parts(item))
    return modules


@runtime_checkable
class Guarded(Protocol):
    """A guarded network as the engine sees it; :class:`tl_robust.models.guard.Guard` is one.

    Attributes:
        rejects: Its last logit means that the image is refused.
    """

    rejects: bool

    def chain(self, images: Tensor, ask: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        """Logits of images, with each link on the way asked by ``ask``."""


def guard_in(model: object) -> Guarded | None:
    """The guard that a model is, or that it wraps as ``network`` for a Trainer; None without one.

    It is not looked for behind a function, which may do anything with the logits.
    """
    while isinstance(model, nn.Module):
        if isinstance(model, Guarded):
            return model
        model = getattr(model, "network", None)
    return None


def _parts(item: Any) -> Iterable[object]:
    """What an object refers to."""
    if isinstance(item, nn.Module):  # eval() does not see modules in lists; a Trainer is none of it
        return [
            value
            for module in item.modules()
            for name, value in vars(module).items()
            if name not in _OWN and isinstance(value, _HOLDERS)
        ]
    if isinstance(item, MethodType):
        return item.__self__, item.__func__
    if isinstance(item, partial):
        return item.func, *item.args, *item.keywords.values()
    if isinstance(item, FunctionType):
        return _of_function(item)
    if isinstance(item, Mapping):
        return [item[key] for key in list(item)[:ENTRIES]] if type(item).__module__ in _BUILTIN else ()
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)[:ENTRIES]
    if isinstance(item, ModuleType):
        return ()
    return _of_object(item)


_BUILTIN = ("builtins", "collections", "types")  # other mappings may compute their entries


def _of_function(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # the cell of a variable that has no value yet
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()  # a decorator leaves the function in __wrapped__
    if str(function.__module__).partition(".")[0] in _NO_HOME:
        return
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if isinstance(value, ModuleType):  # as in zoo.net(images)
            yield from (vars(value)[other] for other in names & vars(value).keys() if _is_module(vars(value)[other]))
        else:
            yield value


def _is_module(value: object) -> bool:
    return isinstance(value, nn.Module)


def _names(code: CodeType) -> Iterator[str]:
    """Names that a function's code and the functions in it look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _of_object(item: object) -> Iterator[object]:
    with suppress(AttributeError):  # an object with slots has no __dict__
        yield from list(object.__getattribute__(item, "__dict__").values())[:ENTRIES]
    for kind in type(item).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            with suppress(AttributeError):  # a slot without a value
                yield object.__getattribute__(item, name)
    call = type(item).__dict__.get("__call__")
    if isinstance(call, FunctionType):
        yield call
