"""Every test: a clean environment, a temporary working directory, a fixed seed, W&B off, no network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch

REAL_DATA = Path(os.environ.get("TL_ROBUST_DATA", Path(__file__).parent.parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("WANDB_", "SLURM_")) or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and not str(address).startswith(("('127.", "('::1", "('localhost")):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def real_data() -> Path:
    """Folder of the real data sets; the test skips where it is missing."""
    if not (REAL_DATA / "MNIST" / "raw").is_dir():
        pytest.skip(f"real data not found in {REAL_DATA}: set TL_ROBUST_DATA to a folder with MNIST and USPS")
    return REAL_DATA
