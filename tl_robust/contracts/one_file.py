"""Check one plugin file in a process of its own; the lines go into a file, since a plugin may print or close anything.

It is started by :mod:`tl_robust.contracts.folder` as ``python -m tl_robust.contracts.one_file FILE OUT [ROOT]``.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tl_robust import registry
from tl_robust.contracts.contract import Named
from tl_robust.contracts.sheet import Line, lines
from tl_robust.errors import ConfigError

READ = "it can be read"
END = "end"  # the last line of a process that has asked everything


def main(path: Path, out: Path, root: Path | None) -> None:
    """Write the lines of a file, one JSON object a line, as they come: what was known before a crash is kept.

    Args:
        path: The plugin file, resolved.
        out: Where the lines go.
        root: Folder of data sets, or None.
    """
    import torch

    torch.set_num_threads(1)
    _bound_memory()
    warnings.simplefilter("ignore")
    with out.open("w", encoding="utf-8") as file:
        for line in check(path, root):
            file.write(json.dumps(line.written()) + "\n")
            file.flush()
        file.write(END + "\n")


def _bound_memory() -> None:
    """Refuse memory beyond three quarters of the machine's, so that a huge tensor is an error of this file alone."""
    try:
        import resource

        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    except (ImportError, OSError, ValueError):  # a system without such limits
        return


def check(path: Path, root: Path | None) -> Iterator[Line]:
    """Import a file with the files of its folder that it names, and ask all contracts of what it registers."""
    others = [
        Line(path.name, "", "", "the files that it names can be read", "broken", said) for said in _load_named(path)
    ]
    try:
        with path.open("rb") as file:
            ast.parse(file.read(), str(path))
        module = registry.load_plugin(path)
        registered = list(_registered(path, module, root))
    except SyntaxError as error:
        yield _unread(path, f"Line {error.lineno} is no Python ({error.msg}): correct it.")
        return
    except (ConfigError, OSError, ValueError) as error:
        yield _unread(path, _capital(str(error)))
        return
    if not registered:
        yield _unread(
            path,
            "It registers nothing: decorate a class or function as CONTRIBUTING.md shows, such as @ATTACKS.register.",
        )
        return
    yield from others
    for named in registered:
        yield from lines(named)


def _registered(path: Path, module: Any, root: Path | None) -> Iterator[Named]:
    """What a file has registered, by kind and name; registries that nothing has imported hold nothing of it.

    Raises:
        ConfigError: A name is that of a component of the package.
    """
    for known in registry.imported():
        names = known.names_of(str(path))
        if names:
            known.names()  # walks the package, which says where a name is taken
        for name in names:
            yield Named(known.kind, name, known[name], path, root)
    if {"arguments", "run"} <= {name for name, item in vars(module).items() if callable(item)}:
        yield Named("command", path.stem, module, path, root)


def _load_named(path: Path) -> list[str]:
    """Load the files of the folder that a file names, in a text or an import; sentences on those that fail."""
    stems = {other.stem: other for other in path.parent.glob("*.py") if other != path}
    said: list[str] = []
    _load_those_of(path, stems, said)
    return said


def _load_those_of(path: Path, stems: dict[str, Path], said: list[str]) -> None:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    texts = [text for text in texts if len(text) < 200]  # docstrings name much
    texts += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    texts += [item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names]
    for word in {word for text in texts for word in re.findall(r"\w+", text)} & stems.keys():
        other = stems.pop(word, None)
        if other is None:
            continue
        _load_those_of(other, stems, said)
        try:
            registry.load_plugin(other)
        except Exception as error:  # noqa: BLE001  (what another file raises is that file's)
            said.append(
                f"expected {other.name}, which it names, to be read, got an error ({error}): correct that file."
            )


def _unread(path: Path, says: str) -> Line:
    return Line(path.name, "", "", READ, "unread", says if says.endswith(".") else f"{says}.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
