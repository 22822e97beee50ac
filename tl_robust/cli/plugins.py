"""Commands that users bring: a file with ``arguments`` and ``run`` in a folder of ``plugins:`` of a bench.

``tl-robust COMMAND BENCH`` finds the command in the folders of that bench, which are trusted already: its attacks and
metrics come from there. A folder of the working directory alone, or of the environment, is never searched, so that
nothing runs that no bench file names. Files are read as text here; only that of the chosen command is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path

from tl_robust.cli.commands.base import BENCHES, benches

PARTS = {"arguments", "run"}  # functions that make a file a command


def commands_for(words: Sequence[str]) -> dict[str, Path]:
    """Files of commands by name: of the bench among the words of a command line first, then of all benches here.

    Args:
        words: What follows the command, for example ``["embedded", "axes.seed=[0]"]``.
    """
    known = benches()
    named = [known.get(word, Path(word)) for word in words if word in known or Path(word).suffix in (".yaml", ".yml")]
    here = sorted(path for path in known.values() if path.parent == BENCHES)
    commands: dict[str, Path] = {}
    for bench in (*named, *here):
        for folder in _folders(bench):
            commands = commands_in(folder) | commands
    return commands


def _folders(bench: Path) -> list[Path]:
    """The plugin folders of a bench; none where the file cannot be read, which the command that loads it will say."""
    import yaml

    try:
        content = yaml.safe_load(bench.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError):
        return []
    folders = content.get("plugins") if isinstance(content, dict) else None
    return [bench.parent / str(folder) for folder in folders] if isinstance(folders, list) else []


def commands_in(folder: Path) -> dict[str, Path]:
    """Files of a folder that are commands, by name, read without importing them."""
    return {path.stem.replace("_", "-"): path for path in sorted(folder.glob("*.py")) if _is_command(path)}


def _is_command(path: Path) -> bool:
    try:
        module = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return False
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef)} >= PARTS


def summary(path: Path) -> str:
    """First line of a command's docstring, read without importing it."""
    return (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]


def table(commands: Iterable[tuple[str, Path]], width: int) -> str:
    """Names and first lines, as the help shows them."""
    return "\n".join(f"  {name:{width}}  {summary(path)}".rstrip() for name, path in commands)
