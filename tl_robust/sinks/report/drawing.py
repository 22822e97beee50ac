"""Charts as pictures, drawn by Vega's JavaScript in a process of its own.

The engine reserves many gigabytes of addresses and ends its process where a limit (``ulimit -v``) forbids it: only the
picture is lost then, and a signal is answered while it draws.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tl_robust.errors import ResultsError
from tl_robust.files import undone

SECONDS = 300  # one picture takes a few
PROGRAM = """
import json, sys, vl_convert
kind, version, scale = sys.argv[1:]
options = {"vl_version": version or None} | ({"scale": float(scale)} if kind == "png" else {})
picture = getattr(vl_convert, "vegalite_to_" + kind)(json.load(sys.stdin), **options)
sys.stdout.buffer.write(picture.encode() if isinstance(picture, str) else picture)
"""


def draw(chart: Mapping[str, Any], kind: str, scale: float = 1.0) -> bytes:
    """A chart as ``svg``, ``png`` or ``pdf``.

    Args:
        chart: Vega-Lite, as altair's ``to_dict`` gives it.
        kind: The format.
        scale: Pixels of a PNG for each unit of the chart.

    Raises:
        ResultsError: The engine could not draw it.
    """
    version = re.search(r"/v(\d+\.\d+)", str(chart.get("$schema")))
    command = [sys.executable, "-P", "-c", PROGRAM, kind, version[1] if version else "", str(scale)]
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process, undone(process.kill):
            try:
                picture, said = process.communicate(json.dumps(chart).encode(), timeout=SECONDS)
            except BaseException:
                process.kill()
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(type(error).__name__) from error
    if process.returncode < 0:
        raise _failed(f"it was ended by signal {-process.returncode}")
    if process.returncode or not picture:
        raise _failed((said.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1][:200])
    return picture


def _failed(cause: str) -> ResultsError:
    return ResultsError(
        f"the chart could not be drawn ({cause}): Vega's JavaScript needs about 20 GB of address space, so raise the "
        "limit (ulimit -v unlimited), or do without pictures; tables and report.html need none."
    )
