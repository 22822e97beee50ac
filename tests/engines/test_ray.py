"""A Ray cluster on this machine: the same table, whatever is killed; what is wrong is said in one sentence."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tl_robust.cli import main
from tl_robust.engines.base import Job
from tl_robust.engines.local import Local
from tl_robust.engines.observer import Observer
from tl_robust.engines.ray import Ray
from tl_robust.errors import InputError
from tl_robust.nodes.kind import KINDS
from tl_robust.nodes.node import Node
from tl_robust.nodes.store import Store
from tl_robust.registry import load_plugins

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
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.node import Node

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
        patch.setenv("SLURM_PROCID", "3")  # as where Slurm starts the machines
        patch.setenv("RANK", "3")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        yield nodes
        nodes.shutdown()


def engine(address: str) -> str:
    return f"engine={{name: ray, address: '{address}'}}"


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
    return ["axes.network=[{name: stalls, width: 0.05}]", "axes.seed=[0]", "axes.attack=[fgsm]"]


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
    assert main(["run", "tiny.yaml", "results=there", engine(cluster.address)]) == 0
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
    assert main(["run", "tiny.yaml", "results=there", engine(cluster.address), *stalling]) == 0
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
        assert main(["run", "tiny.yaml", "results=there", engine(cluster.address), *stalling]) == 0
        killer.join()
        assert len(cluster.worker_nodes) == before - 1
    finally:
        cluster.add_node(num_cpus=1)
    assert main(["run", "tiny.yaml", "results=here", "engine=local", *stalling]) == 0
    assert contents("there") == contents("here")


def start(*overrides: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_its_tasks_and_keeps_what_is_done(
    cluster: Any, stalling: list[str], number: signal.Signals
) -> None:
    process = start("results=there", engine(cluster.address), *stalling)
    pid = stalled()
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 128 + number, error
    assert error.strip().splitlines()[-1].startswith("stopped: what was finished is kept"), error
    assert "Traceback" not in error
    assert gone(pid, 20)
    assert not any(Store(Path("there", "store")).check())
    assert main(["run", "tiny.yaml", "results=there", engine(cluster.address), *stalling]) == 0
    assert main(["run", "tiny.yaml", "results=here", "engine=local", *stalling]) == 0
    assert contents("there") == contents("here")


def test_a_lost_head_costs_another_run(stalling: list[str]) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="tlr-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_TMPDIR", folder)
            nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        process = start("results=there", engine(nodes.address), *stalling)
        pid = stalled()
        nodes.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        _, error = process.communicate(timeout=120)
        assert process.returncode == 1, error
        assert re.search(
            "error: the head of the Ray cluster at .* does not answer .* run the same command again.", error
        )
        assert gone(pid, 20)
        done = contents("there")
        assert main(["run", "tiny.yaml", "results=there", "engine=local", *stalling]) == 0
        assert main(["run", "tiny.yaml", "results=here", "engine=local", *stalling]) == 0
        assert contents("there") == contents("here")
        assert done.items() <= contents("there").items()


class Heard(Observer):
    """What an engine says, and how much of Ray's object store is in use meanwhile."""

    def __init__(self) -> None:
        self.begun, self.work, self.ended, self.warned, self.bytes = 0, 0, 0, list[str](), 0.0

    def begin(self, stage: str, label: str) -> None:
        self.begun += 1

    def advance(self, stage: str, work: int) -> None:
        self.work += work

    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        ray = sys.modules.get("ray")
        self.ended += 1
        if ray and ray.is_initialized() and self.ended % 20 == 0:
            total, left = (each()["object_store_memory"] for each in (ray.cluster_resources, ray.available_resources))
            self.bytes = max(self.bytes, total - left)

    def warn(self, message: str) -> None:
        self.warned.append(message)


@pytest.fixture
def idle(tmp_path: Path) -> Any:
    """A class of nodes that do nothing, in a plugin folder."""
    folder = tmp_path / "plugins"
    folder.mkdir(exist_ok=True)
    (folder / "idle.py").write_text(IDLE)
    load_plugins(folder)
    yield sys.modules["tl_robust_plugins.idle"].Idle
    KINDS.pop("idle")


def job(store: str, *plugins: str) -> Job:
    return Job(Path(store).absolute(), {}, 1, tuple(Path(folder).absolute() for folder in plugins or ("plugins",)), 2)


def test_five_hundred_idle_nodes_cost_little_more_than_here(cluster: Any, idle: Any) -> None:
    nodes: list[Node] = []
    for number in range(500):
        nodes.append(idle(number, nodes[number // 2] if number % 2 else None))
    begin = time.monotonic()
    assert Local().run(job("here"), nodes, Observer()) == {}
    middle = time.monotonic()
    heard = Heard()
    assert Ray(cluster.address).run(job("there"), nodes, heard) == {}
    assert time.monotonic() - middle <= middle - begin + 5
    assert (heard.begun, heard.work, heard.ended, heard.warned) == (500, 500, 500, [])
    assert heard.bytes < 1_000_000
    assert all(Store(Path("there").absolute()).has(node.KIND, node.key) for node in nodes)
    assert not list(Path("there").glob("ray-*"))


def test_nothing_is_started_where_nothing_is_absent(idle: Any) -> None:
    Local().run(job("here"), [idle(0)], Observer())
    assert Ray("nowhere:1").run(job("here"), [idle(0)], Observer()) == {}


def test_tasks_run_as_the_command_does(cluster: Any, idle: Any) -> None:
    looks = """
import torch
assert torch.get_num_threads() == 1, torch.get_num_threads()
torch.set_num_threads(2)  # a worker is used again
assert not [name for name in os.environ if name.startswith("SLURM_") or name == "RANK"]
assert os.getcwd() == str(store.root.parent)
"""
    assert Ray(cluster.address).run(job("there"), [idle(number, does=looks) for number in range(6)], Observer()) == {}


def test_a_failed_node_is_one_line_and_stops_only_what_needs_it(cluster: Any, idle: Any) -> None:
    fails, dies = idle(0, does="raise ValueError('broken\\nin two')"), idle(1, does="os._exit(1)")
    nodes = [fails, dies, idle(2, fails), idle(3, dies), idle(4, idle(5)), idle(5)]
    nodes.insert(0, nodes.pop())
    heard = Heard()
    failures = Ray(cluster.address).run(job("there"), nodes, heard)
    assert failures[fails.key].cause == "ValueError: broken"
    assert "in make" in failures[fails.key].trace
    assert re.fullmatch("its worker was lost 4 times, at last by WorkerCrashedError: .*", failures[dies.key].cause)
    assert failures[nodes[3].key].cause == "it needs a idle that failed: idle 0"
    assert failures[nodes[4].key].cause == "it needs a idle that failed: idle 1"
    assert len(failures) == 4
    assert len(heard.warned) == 4
    assert heard.ended == 2


def test_what_a_file_system_refuses_is_tried_again(cluster: Any, idle: Any) -> None:
    once = (
        "first = not Path('tried').exists()\nPath('tried').touch()\nif first:\n    raise OSError('stale file handle')"
    )
    never = idle(1, does="raise OSError('stale\\nfile handle')")
    failures = Ray(cluster.address).run(job("there"), [idle(0, does=once), never], Observer())
    assert {key: failure.cause for key, failure in failures.items()} == {never.key: "OSError: stale"}


def test_what_needs_too_much_memory_is_not_tried_for_ever(idle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")  # any process is too much
    node = idle(0, does="time.sleep(30)")
    failures = Ray().run(job("there"), [node], Observer())
    assert re.match("its worker was lost 4 times, at last by OutOfMemoryError: ", failures[node.key].cause)


def test_bad_input_ends_the_run_in_one_sentence(cluster: Any, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    for settings, expected in [
        ("address: '127.0.0.1:1'", "cannot join a Ray cluster at 127.0.0.1:1 ([Errno 111] Connection refused)"),
        ("address: nonsense", "cannot join a Ray cluster at nonsense ("),
        (f"address: '{cluster.address}', cpus: 64", "no machine of the Ray cluster has the 64 CPU cores"),
        (f"address: '{cluster.address}', gpus: 0.5", "and 0.5 GPUs (engine.gpus)"),
        ("cpus: 0", "engine.cpus must be above 0"),
        ("adress: auto", "did you mean 'address'?"),
    ]:
        assert main(["run", "tiny.yaml", f"engine={{name: ray, {settings}}}"]) == 2
        error = capsys.readouterr().err
        assert expected in error
        assert error.count("\n") == 1
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [("there", "the store {}/there is not there"), ("extra", "plugin folder {}/extra/plugins not found")],
)
def test_a_machine_that_does_not_see_a_folder_is_named(
    cluster: Any, idle: Any, tmp_path: Path, hidden: str, expected: str
) -> None:
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("only root can hide a folder from some processes")
    Path("there").mkdir()
    Path("extra", "plugins").mkdir(parents=True)
    ray = Path(sys.executable).with_name("ray")
    join = f"{ray} start --address={cluster.address} --num-cpus=1 --block --dashboard-agent-listen-port=0"
    hide = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {tmp_path / hidden} && exec {join}"]
    blind = subprocess.Popen(hide, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
    try:
        nodes = [idle(number, does="time.sleep(0.5)") for number in range(100)]
        alive = cluster.global_state.node_table
        while len([machine for machine in alive() if machine["Alive"]]) < 4:
            assert blind.poll() is None
            time.sleep(0.2)
        with pytest.raises(InputError, match=re.escape(expected.format(tmp_path))) as caught:
            Ray(cluster.address).run(job("there", "plugins", "extra/plugins"), nodes, Observer())
        assert str(caught.value).startswith("on machine ")
        assert "\n" not in str(caught.value)
    finally:
        os.killpg(blind.pid, signal.SIGKILL)
        blind.wait()
