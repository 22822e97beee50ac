"""A Ray cluster on this machine: the same table, whatever is killed; what is wrong is said in one sentence."""

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tl_robust.cli import main
from tl_robust.nodes.kind import KINDS

pytestmark = pytest.mark.ray

COMMAND = [sys.executable, "-m", "tl_robust.cli", "run", "tiny.yaml", "--plain"]
# The first training that finds a file named "stall" waits, in the process whose number it writes down.
STALLS = """
import os, time
from contextlib import suppress
from pathlib import Path
from tl_robust.models.base import NETWORKS
from tl_robust.models.networks.dtn import DTN

@NETWORKS.register
class Stalls(DTN):
    def forward(self, images):
        if self.training:
            with suppress(OSError):
                os.rename("stall", "stalled")
                Path("pid").write_text(str(os.getpid()))
                while Path("stalled").exists():
                    time.sleep(0.05)
        return super().forward(images)
"""
# Nodes that take no time; the text says what one of them does instead.
IDLE = """
import os, time
from dataclasses import dataclass
from pathlib import Path
from tl_robust.nodes.node import Address, Kind, Node

IDLE = Kind("idle", "idle.txt", "idle", str.encode, bytes.decode)

@dataclass(frozen=True)
class Idle(Node):
    number: int
    parent: "Idle | None" = None
    does: str = ""

    KIND = IDLE

    def __str__(self):
        return f"idle {self.number}"

    @property
    def spec(self):
        return {"number": self.number, "parent": self.parent and self.parent.key, "does": self.does}

    @property
    def needs(self):
        return (Address(IDLE, self.parent.key, str(self.parent)),) if self.parent else ()

    def make(self, hands, store):
        exec(self.does)
        return {self.key: str(self.number)}, {"device": "none"}
"""


@pytest.fixture(autouse=True)
def _no_network() -> None:
    """Ray talks to itself over a network address of this machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that computes nothing, and two machines of one core."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with (
        tempfile.TemporaryDirectory(prefix="tlr-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        yield nodes
        nodes.shutdown()


def engine(cluster: Any, **settings: float) -> str:
    return f"engine={{name: ray, address: '{cluster.address}'}}"


def table(results: str) -> bytes:
    return Path(results, "tiny", "table.csv").read_bytes()


def contents(results: str) -> dict[str, bytes]:
    """All that was computed, without the manifests, which say how long it took."""
    files = (path for kind in KINDS.values() for path in Path(results, "store", kind.folder).glob(f"*/{kind.file}"))
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


@pytest.fixture
def stalling(tiny: Path) -> list[str]:
    """Arguments of a run whose first training stalls."""
    Path("plugins", "stalls.py").write_text(STALLS)
    Path("stall").touch()
    return ["axes.network=[{name: stalls, width: 0.05}]"]


def when_stalled(act: Callable[[int], object]) -> threading.Thread:
    """Call ``act`` with the number of the process as soon as it stalls."""

    def watch() -> None:
        act(stalled())

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def stalled(seconds: float = 120) -> int:
    end = time.monotonic() + seconds
    while not (Path("pid").is_file() and Path("pid").read_text()):
        assert time.monotonic() < end, "nothing stalled"
        time.sleep(0.05)
    return int(Path("pid").read_text())


def gone(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_a_cluster_computes_the_same_bytes_as_this_process(cluster: Any, tiny: Path) -> None:
    assert main(["run", "tiny.yaml", "results=here", "engine=local"]) == 0
    assert main(["run", "tiny.yaml", "results=there", engine(cluster)]) == 0
    assert table("there") == table("here")
    assert contents("there") == contents("here")
    assert len(contents("here")) > 20


def test_ray_is_started_on_this_machine_and_ends_with_the_run(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray")
    deep = tmp_path.joinpath(*["a_long_name"] * 6)
    deep.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert main(["run", "tiny.yaml", "results=there", "engine=ray", "workers=2", "axes.seed=[0]"]) == 0
    assert not ray.is_initialized()
    assert main(["run", "tiny.yaml", "results=here", "engine=local", "axes.seed=[0]"]) == 0
    assert table("there") == table("here")


def test_a_killed_worker_costs_what_it_was_computing(cluster: Any, stalling: list[str]) -> None:
    killer = when_stalled(lambda pid: os.kill(pid, signal.SIGKILL))
    assert main(["run", "tiny.yaml", "results=there", engine(cluster), *stalling]) == 0
    killer.join()
    assert main(["run", "tiny.yaml", "results=here", "engine=local", *stalling]) == 0
    assert contents("there") == contents("here")


def test_a_lost_machine_costs_what_it_was_computing(cluster: Any, stalling: list[str]) -> None:
    def lose(pid: int) -> None:
        raylet = int(Path(f"/proc/{pid}/stat").read_text().split()[3])
        for node in list(cluster.worker_nodes):
            if any(info.process.pid == raylet for info in node.all_processes["raylet"]):
                cluster.remove_node(node, allow_graceful=False)

    before = len(cluster.worker_nodes)
    killer = when_stalled(lose)
    try:
        assert main(["run", "tiny.yaml", "results=there", engine(cluster), *stalling]) == 0
        killer.join()
        assert len(cluster.worker_nodes) == before - 1
    finally:
        cluster.add_node(num_cpus=1)
    assert main(["run", "tiny.yaml", "results=here", "engine=local", *stalling]) == 0
    assert contents("there") == contents("here")
