"""Where a number comes from: versions, commit, device."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import torch

PACKAGES = ("torch", "torchvision", "lightning", "numpy", "scipy", "scikit-learn", "pillow", "matplotlib")


@lru_cache
def versions() -> dict[str, str]:
    """Versions of Python, of this package and of what can move its numbers."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in ("tl_robust", *PACKAGES)
    }


@lru_cache
def commit() -> str:
    """Git commit of this package's checkout, ``-dirty`` with uncommitted changes, empty outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.stdout.strip()


def device_name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} ({platform.machine()})"
