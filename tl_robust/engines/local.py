"""This process alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from tl_robust.engines.base import ENGINES, Engine, Failure, Job
from tl_robust.engines.loop import Loop
from tl_robust.engines.observer import Observer
from tl_robust.nodes.node import Node


@ENGINES.register
@dataclass(frozen=True)
class Local(Engine):
    """Computes one node after the other, here."""

    @override
    def run(self, job: Job, nodes: Sequence[Node], observer: Observer) -> dict[str, Failure]:
        return Loop(job, nodes, observer).run()
