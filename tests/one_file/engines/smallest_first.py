"""This process alone, with what takes least first."""

from dataclasses import dataclass

from tl_robust.engines.base import ENGINES, Engine
from tl_robust.engines.loop import Loop


@ENGINES.register
@dataclass(frozen=True)
class SmallestFirst(Engine):
    """Shows something soon. Fields are settings; ``engine: smallest_first`` in a bench file."""

    def run(self, job, nodes, observer):  # what needs a node that is not there yet waits for it
        return Loop(job, sorted(nodes, key=lambda node: node.work), observer).run()
