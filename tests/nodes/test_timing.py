"""Clocks of the device, and how many times as long a guard takes to answer as the network without it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tl_robust.nodes import clock
from tl_robust.nodes.clock import Clock
from tl_robust.nodes.timing import ROUNDS, Timed, pack_timed, taken, unpack_timed


class Scripted:
    """A clock that stands still but for what is told to take time; the wall runs ten times as fast."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(clock.time, "process_time", lambda: self.now)
        monkeypatch.setattr(clock.time, "perf_counter", lambda: 10 * self.now)
        monkeypatch.setattr(clock, "_children", lambda: 0.0)


class Slow(nn.Module):
    """A network that takes the same time for every answer."""

    def __init__(self, scripted: Scripted, *seconds: float) -> None:
        super().__init__()
        self.scripted, self.seconds, self.asked = scripted, list(seconds), 0

    def forward(self, images: Tensor) -> Tensor:
        assert not torch.is_grad_enabled(), "an answer needs no gradient"
        self.scripted.now += self.seconds[min(self.asked, len(self.seconds) - 1)]
        self.asked += 1
        return images.flatten(1)[:, :2]


class Thrice(nn.Module):
    """A guard that asks its network three times."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return sum(self.network(images) for _ in range(3)) / 3


# rounds


def test_a_guard_that_asks_three_times_takes_three_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = Scripted(monkeypatch)
    inside, twin = Slow(scripted, 0.25), Slow(scripted, 0.25)
    timed = taken(Thrice(inside), twin, torch.rand(4, 1, 2, 2))
    assert timed == Timed((0.75,) * ROUNDS, (0.25,) * ROUNDS)
    assert timed.ratio == 3
    assert (inside.asked, twin.asked) == (3 * (ROUNDS + 1), ROUNDS + 1), "each answers once before it is measured"


def test_the_median_of_rounds_that_take_turns_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is slow for two rounds moves nothing, since both networks meet it; neither does one outlier."""
    scripted = Scripted(monkeypatch)
    model = Slow(scripted, 99, 2, 2, 20, 20, 1024)
    twin = Slow(scripted, 99, 1, 1, 10, 10, 1)
    timed = taken(model, twin, torch.rand(4, 1, 2, 2))
    assert (timed.defended, timed.undefended) == ((2, 2, 20, 20, 1024), (1, 1, 10, 10, 1))
    assert timed.ratio == 2


@pytest.mark.parametrize(("second", "answers"), [(0.5, 1), (1 / 256, 6), (0.0, 50)])
def test_a_quick_network_answers_several_times_in_a_turn(
    monkeypatch: pytest.MonkeyPatch, second: float, answers: int
) -> None:
    """At least 20 ms, and at most 50 answers, where the clock is too coarse to see one."""
    scripted = Scripted(monkeypatch)
    model, twin = Slow(scripted, 0.25), Slow(scripted, second)
    timed = taken(model, twin, torch.rand(4, 1, 2, 2))
    assert (model.asked, twin.asked) == (1 + ROUNDS * answers, 1 + ROUNDS * answers)
    assert (timed.defended, timed.undefended) == ((0.25,) * ROUNDS, (second,) * ROUNDS), "of one answer"


def test_both_networks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted, order = Scripted(monkeypatch), list[str]()
    model, twin = Slow(scripted, 1), Slow(scripted, 1)
    for name, network in (("defended", model), ("undefended", twin)):
        network.register_forward_hook(lambda *_, name=name: order.append(name))
    taken(model, twin, torch.rand(4, 1, 2, 2))
    assert order == ["defended", "undefended"] * (ROUNDS + 1)


def test_a_network_beside_its_like_takes_about_as_long() -> None:
    """With the real clocks; the bounds are wide, since other processes disturb a measurement."""
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.LazyLinear(10))
    images = torch.rand(32, 3, 24, 24)
    network(images)
    assert any(2.4 < taken(Thrice(network), network, images).ratio < 3.6 for _ in range(8))
    assert any(0.8 < taken(network, network, images).ratio < 1.25 for _ in range(8))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"7", b'{"defended": [1.0]}', b'{"defended": [1.0], "undefended": []}',
     b'{"defended": [], "undefended": []}', b'{"defended": [1.0, 2.0], "undefended": [1.0]}',
     b'{"defended": [1.0], "undefended": [0.0]}', b'{"defended": [NaN], "undefended": [1.0]}',
     b'{"defended": [true], "undefended": [1.0]}', b'{"defended": ["1"], "undefended": [1.0]}',
     b'{"defended": [1.0], "undefended": [1.0], "more": [1.0]}', b"[" * 100_000],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_timing_is_damage(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack_timed(content)
    assert unpack_timed(pack_timed(Timed((3.0, 4.5), (1.0, 1.5)))) == Timed((3.0, 4.5), (1.0, 1.5))


# clocks


def test_seconds_of_a_cpu_are_its_own_and_those_of_other_devices_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = Scripted(monkeypatch)
    before = Clock.read()
    scripted.now += 2
    assert Clock.read().since(before, "cpu (x86_64)") == 2
    assert Clock.read().since(before, "NVIDIA H200") == 20


def test_a_cuda_device_is_waited_for_before_the_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(clock.time, "perf_counter", lambda: told.append("read") or 0.0)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: told.append("wait"))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    Clock.read()
    assert told == ["read"], "a process that uses none must not start it"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    Clock.read()
    assert told == ["read", "wait", "read"]


def busy(work: Callable[[], object]) -> float:
    before = Clock.read()
    work()
    return Clock.read().since(before, "cpu")


def spin(seconds: float) -> None:
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def test_waiting_is_no_work_and_work_of_a_child_is() -> None:
    code = "import time\nstart = time.process_time()\nwhile time.process_time() - start < 0.3: pass"
    assert busy(lambda: time.sleep(0.3)) < 0.1
    assert 0.2 <= busy(lambda: spin(0.2)) < 1
    assert 0.3 <= busy(lambda: subprocess.run([sys.executable, "-S", "-c", code], check=True)) < 3
