"""Every public name, which handbook/public.py defines, says what it takes, gives and raises, and where it is from."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handbook import public
from tl_robust import errors
from tl_robust.cli.commands.list import what_it_is
from tl_robust.registry import registry

ERRORS = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
SHAPE = re.compile(
    r"\[[^\]\[]*\b[A-Z]\b[^\]\[]*\]|\bscalar\b|\bshapes?\b|[Ss]tate dict"
)  # [N,C,H,W]: an axis is a capital letter
SOURCE = re.compile(r"\b(19|20)\d\d\b|\barXiv\b|\b[Oo]urs?\b")
METHODS = ("attack", "backdoor", "claim", "defense", "inference", "metric", "trust check")


def functions() -> Iterator[tuple[str, Any, str]]:
    """Public functions and methods with a path and docstring; one that overrides may leave it to its class."""
    for name in public.names():
        if inspect.isfunction(name.value):
            yield name.path, name.value, own(name.value)
        for method, function in public.methods(name.value) if name.is_class else ():
            text = own(function) or (own(name.value) if overrides(function) else "")
            yield f"{name.path}.{method}", function, text


def own(item: Any) -> str:
    """The docstring that somebody wrote here; a dataclass without one has its signature instead."""
    text = item.__doc__ or ""
    return "" if inspect.isclass(item) and text.startswith(f"{item.__name__}(") else text


@functools.cache
def nodes(file: str) -> dict[str, ast.AST]:
    """Classes and functions of a file by qualified name."""
    found: dict[str, ast.AST] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                found[prefix + child.name] = child
                walk(child, f"{prefix}{child.name}.")

    walk(ast.parse(Path(file).read_text()), "")
    return found


def tree(item: Any) -> ast.AST:
    return nodes(str(sys.modules[item.__module__].__file__))[item.__qualname__]


def raised(function: Any) -> set[str]:
    """Public errors that the body of a function itself raises."""
    calls = [node.exc for node in ast.walk(tree(function)) if isinstance(node, ast.Raise) and node.exc]
    names = {ast.unparse(call.func if isinstance(call, ast.Call) else call).rpartition(".")[2] for call in calls}
    return names & ERRORS


def takes_tensors(item: Any) -> bool:
    """Whether an annotation of a function, or of a field of a class, names a tensor."""
    node = tree(item)
    if isinstance(node, ast.FunctionDef):
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        annotations = [argument.annotation for argument in every] + [node.returns]
    else:
        annotations = [each.annotation for each in getattr(node, "body", ()) if isinstance(each, ast.AnnAssign)]
    return any(re.search(r"\bTensor\b", ast.unparse(annotation)) for annotation in annotations if annotation)


def overrides(function: Any) -> bool:
    return bool(getattr(function, "__override__", False))


def test_every_public_name_has_a_docstring() -> None:
    classes = [(name.path, own(name.value), False) for name in public.names() if name.documented]
    members = [(path, text, overrides(function)) for path, function, text in functions()]
    assert len(classes) > 150
    assert len(members) > 250
    assert [path for path, text, overriding in classes + members if not text and not overriding] == []


def test_every_registered_name_says_what_it_is() -> None:
    assert [(kind, name) for kind, name, item in public.registered() if len(what_it_is(item).split()) < 3] == []


def test_who_takes_or_gives_tensors_says_their_shapes() -> None:
    classes = [(name.path, name.value, own(name.value)) for name in public.names() if name.is_class]
    items = [(path, item, text) for path, item, text in [*functions(), *classes] if not overrides(item)]
    having = [(path, text) for path, item, text in items if takes_tensors(item)]
    assert len(having) > 40
    assert [path for path, text in having if not SHAPE.search(text)] == []


def test_who_raises_a_public_error_says_so() -> None:
    raising = [(path, text, raised(function)) for path, function, text in functions() if raised(function)]
    assert len(raising) > 20
    assert [(path, names) for path, text, names in raising if not all(name in text for name in names)] == []


@pytest.mark.parametrize("kind", METHODS)
def test_a_named_method_names_its_source(kind: str) -> None:
    """The docstrings of its file name a paper with its year, or say that it is ours; a claim has it as its source."""
    items = {name: item for known, name, item in public.registered() if known == kind}
    texts = {
        name: item.source if kind == "claim" else docstrings(registry(kind)._modules[name])
        for name, item in items.items()
    }
    assert len(texts) >= 4
    assert [name for name, text in texts.items() if not SOURCE.search(text)] == []


def docstrings(file: str) -> str:
    module = ast.parse(Path(file).read_text())
    having = [module, *nodes(file).values()]
    return " ".join(ast.get_docstring(node) or "" for node in having)  # type: ignore[arg-type]
