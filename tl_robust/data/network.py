"""Whether the hosts of data sets can be reached, so that a plan is told within two seconds what it cannot fetch."""

from __future__ import annotations

import queue
import socket
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

SECONDS = 2.0


def can_fetch(domain: str) -> bool:
    """Whether torchvision has a data set of this name, and one of the hosts that offer it can be reached."""
    from torchvision import datasets  # slow to import

    kinds = {name.lower(): kind for name, kind in vars(datasets).items() if isinstance(kind, type)}
    return domain in kinds and reachable(_addresses(list(vars(kinds[domain]).values())))


def reachable(addresses: Iterable[str], seconds: float = SECONDS) -> bool:
    """Whether one of the hosts, or the proxy in front of it, takes a connection.

    Args:
        addresses: Web addresses, whose hosts are all tried at once.
        seconds: How long all of it may take. Hosts are tried in threads, since looking up a name has no time limit.
    """
    answers: queue.Queue[bool] = queue.Queue()
    hosts = {_door(address) for address in addresses}
    for host in hosts:
        threading.Thread(target=_try, args=(host, seconds, answers), daemon=True).start()
    end = time.monotonic() + seconds
    for _ in hosts:
        try:
            if answers.get(timeout=max(0.0, end - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def _try(host: tuple[str, int], seconds: float, answers: queue.Queue[bool]) -> None:
    try:
        socket.create_connection(host, timeout=seconds).close()
        answers.put(True)
    except OSError:
        answers.put(False)


def _door(address: str) -> tuple[str, int]:
    """Host and port that a download of this address connects to."""
    url = urlsplit(address)
    proxy = urllib.request.getproxies().get(url.scheme)
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _addresses(value: Any) -> Iterator[str]:
    """All web addresses inside lists and dictionaries."""
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        yield value
    elif isinstance(value, dict):
        yield from _addresses(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _addresses(item)
