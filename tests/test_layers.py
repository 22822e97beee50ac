"""Who may import whom (ARCHITECTURE.md): read from the source, so that an import inside a function counts too."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tl_robust

PACKAGE = Path(tl_robust.__file__).parent
VOCABULARY = {"description", "types", "errors", "seeding", "registry", "files", "text"}
WORK = {"attacks", "backdoors", "metrics", "models", "data", "trust", "strategies", "callbacks", "defenses"}
WORK |= {"inference"}
BENCH = WORK | {"nodes", "threats", "engines", "bench"}
MAY_IMPORT = {  # a layer may import itself, and of tl_robust only this
    **dict.fromkeys(VOCABULARY, VOCABULARY),
    **dict.fromkeys(("attacks", "metrics", "models", "data"), VOCABULARY),
    "inference": VOCABULARY | {"metrics"},
    "backdoors": VOCABULARY | {"attacks", "models"},
    "trust": VOCABULARY | {"attacks"},
    "defenses": VOCABULARY | {"attacks", "models"},
    "strategies": VOCABULARY | {"models", "defenses"},
    "callbacks": VOCABULARY | {"attacks", "backdoors", "metrics", "models"},
    "nodes": VOCABULARY | WORK,
    "threats": VOCABULARY | WORK | {"nodes", "claims"},
    "engines": VOCABULARY | {"nodes"},
    "bench": VOCABULARY | BENCH,
    "claims": VOCABULARY | {"metrics"},
    "results": VOCABULARY | {"metrics", "trust", "claims", "threats"},
    "audit": VOCABULARY | {"metrics", "trust", "results"},
    "auditor": VOCABULARY | BENCH | {"results", "audit", "config"},
    "sinks": VOCABULARY | {"metrics", "trust", "claims", "results", "audit", "nodes"},
    "contracts": VOCABULARY | BENCH | {"results", "audit", "auditor", "sinks", "config", "claims"},
    "config": VOCABULARY | BENCH | {"sinks.wandb.session"},
    "cli": VOCABULARY
    | BENCH
    | {"results", "audit", "auditor", "sinks", "config", "claims", "contracts", "__doc__", "__version__"},
    "": WORK | {"types", "auditor"},  # tl_robust/__init__.py, which names them for readers and imports them when asked
}
ONLY_IN = {  # of all modules, only these may import the library
    "wandb": {f"sinks.wandb.{part}" for part in ("overview", "read", "session", "runs")},
    "omegaconf": {"config.reading"},
    "ray": {"engines.ray"},
    "lightning": {
        "bench.options",
        "nodes.progress",
        "data.pair",
        "models.module",
        "callbacks.transfer_attack",
        "callbacks.backdoor_test",
        "callbacks.snapshots",
        "nodes.hands",
        "contracts.kinds.strategy",
    },
    "pytorch_lightning": set[str](),
    "experiments": set[str](),
    "tests": set[str](),
    "conftest": set[str](),
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(source: str) -> Iterator[str]:
    """Dotted names; ``from a import b`` is a.b, since b may be a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the absolute import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(module: str, source: str) -> list[str]:
    layer = module.partition(".")[0]
    found = []
    for name in imports(source):
        library, _, inner = name.partition(".")
        if module not in ONLY_IN.get(library, {module}):
            found.append(f"{module} imports {library}: only {sorted(ONLY_IN[library])} may")
        if library == "tl_robust":
            allowed = {layer} | MAY_IMPORT[layer]
            if not any(inner == one or inner.startswith(f"{one}.") for one in allowed):
                found.append(f"{module} imports {name}: {layer or '__init__'} may import only {sorted(allowed)}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    assert violations(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_named_for_a_thing_and_fit_on_a_few_screens(module: str) -> None:
    assert module.rpartition(".")[2] not in ("utils", "helpers", "util", "common", "misc")
    assert len(MODULES[module].read_text().splitlines()) <= 350


def test_at_the_top_stands_the_vocabulary_alone() -> None:
    single = {module for module, path in MODULES.items() if module and path.parent == PACKAGE}
    assert len(single) <= 6
    assert single <= VOCABULARY


def test_no_two_files_import_each_other() -> None:
    """Nor do more of them in a circle; an import that serves types alone counts, too."""

    def home(name: str) -> str:
        inner = name.removeprefix("tl_robust").lstrip(".")
        return inner if inner in MODULES else inner.rpartition(".")[0]

    graph = {
        module: {home(name) for name in imports(path.read_text()) if name.startswith("tl_robust.")} - {module, ""}
        for module, path in MODULES.items()
        if module and path.name != "__init__.py"  # a package's face only hands names on
    }
    graph = {module: targets & graph.keys() for module, targets in graph.items()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError with the circle


def test_every_layer_has_a_rule_and_every_rule_a_layer() -> None:
    assert {module.partition(".")[0] for module in MODULES} == MAY_IMPORT.keys()
    assert set().union(*ONLY_IN.values()) <= MODULES.keys()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("metrics.base", "import wandb"),
        ("bench.plan", "from omegaconf import OmegaConf"),
        ("strategies.base", "import pytorch_lightning as pl"),
        ("attacks.pgd", "from lightning import Trainer"),
        ("nodes.hands", "from experiments.perf import speed"),
        ("types", "from tl_robust.attacks import get"),
        ("attacks.base", "def f():\n    from tl_robust.models import build"),
        ("attacks.base", "from tl_robust import strategies"),
        ("callbacks.transfer_attack", "import tl_robust.nodes.hands"),
        ("results.table", "from tl_robust.bench.plan import Plan"),
        ("bench.runner", "from tl_robust.config import Config"),
        ("trust.base", "from tl_robust.metrics import METRICS"),
        ("config", "from tl_robust.cli import main"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


def test_an_allowed_import_is_not() -> None:
    assert violations("sinks.wandb.sync", "import tl_robust.nodes.store\nfrom tl_robust.metrics import METRICS") == []
    assert violations("sinks.wandb.runs", "import wandb.util") == []
