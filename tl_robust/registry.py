"""Registries: a name is a file's name, found by walking a folder on first use.

Adding a component is one new file in the folder of its kind (or in a plugin folder) that decorates one object::

    @ATTACKS.register
    @dataclass(frozen=True)
    class MyAttack(Attack): ...

There is no list of names to edit.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tl_robust.description import Scalar as Scalar
from tl_robust.description import described
from tl_robust.errors import ConfigError, UnknownNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """A registered name, its version and its settings: what goes into a key.

    Attributes:
        name: Registry name.
        version: The ``VERSION`` its author bumps when its behavior changes.
        settings: Settings that differ from the defaults, sorted by name.
    """

    name: str
    version: int
    settings: tuple[tuple[str, Scalar], ...] = ()

    def __str__(self) -> str:
        """Name with settings, as tables show it: ``pgd(steps=20)``, ``pgd_at(eps=8/255)``."""
        inside = ", ".join(f"{key}={_shown(key, value)}" for key, value in self.settings)
        return f"{self.name}({inside})" if inside else self.name


class Registry(Generic[T]):
    """Names of one kind of component.

    Args:
        kind: The word users know ("attack").
        package: The package whose modules are walked on first use; empty where there is none.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._items: dict[str, T] = {}
        self._modules: dict[str, str] = {}
        self._walked = False

    def register(self, item: T, module: str = "", name: str = "") -> T:
        """Register ``item`` under the name of its file, or under ``name``; a decorator.

        Args:
            item: What is registered.
            module: The module it stands in, where ``item.__module__`` does not say.
            name: Where one file registers several.

        Raises:
            ConfigError: This name is taken.
        """
        module = module or str(getattr(item, "__module__", ""))
        name = name or module.rpartition(".")[2]
        file = str(getattr(sys.modules.get(module), "__file__", module))
        if name in self._items:
            there = self._modules[name]
            raise ConfigError(f"two {self.kind}s are named {name!r} ({there} and {file}): rename one of the files.")
        self._items[name], self._modules[name] = item, file
        return item

    def names(self) -> list[str]:
        """All names, sorted."""
        self._walk()
        return sorted(self._items)

    def names_of(self, file: str) -> list[str]:
        """Names that a file has registered so far, sorted; the package is not walked."""
        return sorted(name for name, brought in self._modules.items() if brought == file)

    def __contains__(self, name: object) -> bool:
        self._walk()
        return name in self._items

    def __getitem__(self, name: str) -> T:
        """The registered object.

        Raises:
            UnknownNameError: No such name; the message shows the closest.
        """
        self._walk()
        if name not in self._items:
            raise UnknownNameError(self.kind, name, self._items, plugin_hint(self.kind))
        return self._items[name]

    def component(
        self, name: str, settings: Mapping[str, Scalar] | None = None, also: tuple[str, ...] = ()
    ) -> Component:
        """Describe ``name`` with ``settings`` for a key, after checking the settings' names and types.

        A setting that equals its default is left out: however it was written, it is the same component. ``also`` are
        keys that the caller has read himself and that an error names among the known ones.
        """
        item = self[name]
        build = typing.cast(Callable[..., Any], item)
        what = name if name == self.kind else f"{self.kind} {name!r}"  # a corruption has the name of its threat
        checked = check_settings(what, build, settings or {}, also)
        parameters = inspect.signature(build).parameters
        checked = {key: value for key, value in checked.items() if value != parameters[key].default}
        return Component(name, int(getattr(item, "VERSION", 1)), tuple(sorted(checked.items())))

    def parse(self, text: str) -> Any:
        """What a description such as ``name(setting=1, other=text)`` builds; :class:`Component` writes them so.

        Raises:
            UnknownNameError: No such name or setting; the message shows the closest.
            ConfigError: Not of that form, or a value of the wrong type.
        """
        name, settings = self.written(text)
        return typing.cast(Callable[..., Any], self[name])(**settings)

    def written(self, text: str) -> tuple[str, dict[str, Scalar]]:
        """Name and checked settings of a description, those that equal their defaults among them; see :meth:`parse`."""
        name, inside = described(self.kind, text)
        build = typing.cast(Callable[..., Any], self[name])
        return name, check_settings(f"{self.kind} {name!r}", build, inside)

    def _walk(self) -> None:
        if self._walked or not self._package:
            return
        self._walked = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__, prefix=f"{self._package}."):
            importlib.import_module(module.name)


def kinds() -> dict[str, str]:
    """Every kind of component with its package inside this one, read from the sources: ``{"attack": "attacks.named"}``.

    A kind exists where a source makes its :class:`Registry`; no list of them is kept by hand, and none is imported.
    """
    return dict(sorted((kind, package) for kind, package, _ in _registries()))


def imported() -> list[Registry[Any]]:
    """The registries of this package that exist already, since something has imported their modules, by kind."""
    ours = [module for name, module in list(sys.modules.items()) if name.startswith(f"{__package__}.")]
    found = {id(item): item for module in ours for item in vars(module).values() if isinstance(item, Registry)}
    return sorted((item for item in found.values() if item._package), key=lambda item: item.kind)


def registry(kind: str) -> Registry[Any]:
    """The registry of a kind of this package; the module that makes it is imported.

    Raises:
        UnknownNameError: No such kind; the message shows the closest.
    """
    modules = {known: module for known, _, module in _registries()}
    if kind not in modules:
        raise UnknownNameError("kind", kind, modules)
    known = vars(importlib.import_module(modules[kind])).values()
    return next(item for item in known if isinstance(item, Registry) and item.kind == kind)


@functools.cache
def _registries() -> tuple[tuple[str, str, str], ...]:
    """Kind, package inside this one, and the module that makes the registry."""
    found = []
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if re.search(r"\bRegistry[\[(]", text) else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).partition("[")[0] == Registry.__name__:
                kind, package = (str(getattr(argument, "value", "")) for argument in node.args)
                if package.startswith(f"{__package__}."):
                    module = ".".join([__package__, *path.relative_to(root).with_suffix("").parts])
                    found.append((kind, package.removeprefix(f"{__package__}."), module.removesuffix(".__init__")))
    return tuple(found)


def settings_of(item: object) -> dict[str, Scalar]:
    """Settings of a component with their defaults; none where it is no class."""
    parameters = inspect.signature(item).parameters.values() if inspect.isclass(item) else ()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def names_in(package: str) -> list[str]:
    """Names of the components of a package, sorted, read from its files without importing any.

    A file has a component where a class or function of it is decorated with something of this package, or where the
    file calls such a thing: ``@ATTACKS.register``, ``@rate(...)``, ``THREATS.register(...)``.

    Args:
        package: Inside this one, for example ``attacks``.
    """
    folder = Path(__file__).parent.joinpath(*package.split("."))
    return sorted(path.stem for path in folder.glob("*.py") if _registers(ast.parse(path.read_text(encoding="utf-8"))))


def _registers(module: ast.Module) -> bool:
    ours = {
        alias.asname or alias.name
        for node in module.body
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == __package__
        for alias in node.names
    }
    decorators = [
        decorator.func if isinstance(decorator, ast.Call) else decorator
        for node in module.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        for decorator in node.decorator_list
    ]
    calls = [node.value.func for node in module.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return any(isinstance(name, ast.Name) and name.id in ours for node in decorators + calls for name in ast.walk(node))


def _shown(key: str, value: Scalar) -> Scalar:
    if isinstance(value, str) and value.startswith("{"):  # JSON of a published model
        return f"#{hashlib.sha256(value.encode()).hexdigest()[:8]}"
    steps = round(255 * value) if key == "eps" and isinstance(value, float) and 0 < value < 1 else 0
    return f"{steps}/255" if steps and steps / 255 == value else value


def check_settings(
    what: str, build: Callable[..., Any], settings: Mapping[str, Scalar], also: tuple[str, ...] = ()
) -> dict[str, Scalar]:
    """Check ``settings`` against the keyword parameters of ``build``.

    Args:
        what: How the error names the component ("attack 'pgd'").
        build: A class or function; parameters without a default are not settings.
        settings: Names and plain values.
        also: Other keys that an error names among the known ones.

    Returns:
        The settings, with whole numbers turned into floats where a float is expected.

    Raises:
        UnknownNameError: A setting that ``build`` does not have.
        ConfigError: A value of the wrong type.
    """
    if not settings:
        return {}
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    hints = typing.get_type_hints(build.__init__ if inspect.isclass(build) else build)
    checked: dict[str, Scalar] = {}
    for name, value in settings.items():
        if name not in parameters:
            raise UnknownNameError(f"setting of {what}", name, {*parameters, *also})
        allowed = _plain_types(hints.get(name, object))
        if float in allowed and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not any(type(value) is kind or kind is object for kind in allowed):
            expected = " or ".join(kind.__name__ for kind in allowed)
            raise ConfigError(f"setting {name!r} of {what} must be {expected}, got {value!r} ({type(value).__name__}).")
        checked[name] = value
    return checked


def _plain_types(hint: Any) -> tuple[type, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(kind for part in typing.get_args(hint) for kind in _plain_types(part))
    if typing.get_origin(hint) is typing.Literal:
        return tuple({type(value) for value in typing.get_args(hint)})
    return (hint,) if isinstance(hint, type) else (object,)


_loaded_plugins: dict[Path, types.ModuleType] = {}


def plugin_hint(kind: str) -> str:
    """What an error says of an unknown name where no plugin was loaded; empty where one was, and of engines."""
    if _loaded_plugins or kind == "engine":
        return ""
    return "One of your own? Name its folder under plugins: in the bench file, or by --plugins."


def load_plugins(folder: Path) -> None:
    """Import every Python file of a plugin folder once; each registers itself under its file's name.

    Raises:
        ConfigError: The folder is missing, or a file cannot be imported.
    """
    if not folder.is_dir():
        raise ConfigError(f"plugin folder {folder} not found: give the path of a folder of .py files under plugins:.")
    sys.modules.setdefault("tl_robust_plugins", types.ModuleType("tl_robust_plugins"))  # pickle imports it by name
    for path in sorted(folder.glob("*.py")):
        load_plugin(path)


def load_plugin(path: Path) -> types.ModuleType:
    """Import a Python file of a plugin folder, once.

    Raises:
        ConfigError: It cannot be imported.
    """
    path = path.resolve()
    if path in _loaded_plugins:
        return _loaded_plugins[path]
    spec = importlib.util.spec_from_file_location(f"tl_robust_plugins.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"plugin {path} cannot be imported: {type(error).__name__}: {error}.") from error
    _loaded_plugins[path] = module
    return module
