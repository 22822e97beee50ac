"""Seconds of the device that computes: other work on the same machine is not in them, as it is in those of a wall."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

import torch

CPU = "cpu"  # how the name of a CPU begins, see ``provenance.device_name``


@dataclass(frozen=True)
class Clock:
    """Where the clocks of this process stood, in seconds.

    Attributes:
        wall: Of the wall, read when a CUDA device had done all that it was asked for.
        cpu: Of the CPU: all threads of this process, and of the processes it started those that have ended.
    """

    wall: float
    cpu: float

    @classmethod
    def read(cls) -> Self:
        """The clocks now; a CUDA device that this process uses is waited for."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return cls(time.perf_counter(), time.process_time() + _children())

    def since(self, before: Clock, device: str) -> float:
        """Seconds that a device has worked since ``before``, at least 0.

        On a CPU they are those of all its cores together. On any other device they are those that passed while it was
        used: its idle time and other processes on it count, and several devices that are used at once count as one.

        Args:
            before: An earlier reading of the same process.
            device: The device in words, as manifests name it.
        """
        return self.cpu - before.cpu if device.startswith(CPU) else self.wall - before.wall


def _children() -> float:
    """CPU seconds of the processes that this one started and has waited for, such as those of ``ddp_spawn``."""
    try:
        import resource
    except ImportError:  # there is none on Windows
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
