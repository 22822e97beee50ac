"""Freed memory stays in the process, so that the next layer finds it without asking the system."""

import subprocess
import sys

import pytest

CODE = """
import resource, torch
from tl_robust.bench.allocator import keep_freed_memory
{call}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(4 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone")
def test_it_saves_page_faults() -> None:
    def faults(call: str) -> int:
        code = CODE.format(call=call)
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    kept, given_back = faults("assert keep_freed_memory()"), faults("")
    assert kept * 5 < given_back  # 50 times 16 MB
