"""Whether the hosts of data sets can be reached; no test reaches any."""

import socket
import threading
import time
from typing import Any

import pytest

from tl_robust.data import network
from tl_robust.data.network import can_fetch, reachable

ADDRESSES = ["https://one.example/a", "https://one.example/b", "http://two.example:8080/c"]


class Line:
    """Stands for a connection."""

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.urllib.request, "getproxies", dict)


def connect(monkeypatch: pytest.MonkeyPatch, open_: set[str], slow: float = 0.0) -> list[tuple[str, int]]:
    """Replace connections: only to hosts in ``open_`` they succeed; returns the list of those tried."""
    tried: list[tuple[str, int]] = []
    lock = threading.Lock()

    def create(host: tuple[str, int], timeout: float) -> Any:
        with lock:
            tried.append(host)
        time.sleep(slow)
        if host[0] in open_:
            return Line()
        raise OSError("no route")

    monkeypatch.setattr(socket, "create_connection", create)
    return tried


def test_one_open_host_is_enough_and_each_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = connect(monkeypatch, {"two.example"})
    assert reachable(ADDRESSES)
    assert len(tried) == len(set(tried))
    assert set(tried) <= {("one.example", 443), ("two.example", 8080)}
    assert ("two.example", 8080) in tried


def test_no_open_host(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = connect(monkeypatch, set())
    assert not reachable(ADDRESSES)
    assert len(tried) == 2
    assert not reachable([])


def test_a_name_that_is_looked_up_forever_costs_two_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, {"one.example"}, slow=3)
    begin = time.perf_counter()
    assert not reachable(["https://one.example/"], seconds=0.2)
    assert time.perf_counter() - begin < 1
    assert network.SECONDS <= 2


def test_a_proxy_is_what_a_download_connects_to(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = connect(monkeypatch, {"proxy.example"})
    monkeypatch.setattr(network.urllib.request, "getproxies", lambda: {"https": "proxy.example:3128"})
    monkeypatch.setattr(network.urllib.request, "proxy_bypass", lambda host: False)
    assert reachable(["https://one.example/"])
    assert tried == [("proxy.example", 3128)]


def test_addresses_are_those_that_torchvision_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST, USPS

    tried = connect(monkeypatch, set())
    assert not can_fetch("usps")
    assert {host for host, _ in tried} == {USPS.split_list["train"][0].split("/")[2]}
    tried.clear()
    assert not can_fetch("mnist")
    assert {host for host, _ in tried} == {mirror.split("/")[2] for mirror in MNIST.mirrors}
    tried.clear()
    assert not can_fetch("npz:photos")
    assert not can_fetch("rendered_syn")
    assert tried == []
