"""Student's t is that of scipy.stats, which is not imported before it is needed."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import t

from tl_robust.metrics import student


def test_both_functions_are_those_of_scipy_stats() -> None:
    freedom = np.array([1.0, 3.7, 4, np.inf])
    assert np.array_equal(student.isf(0.025, freedom), t.isf(0.025, freedom))
    assert np.array_equal(student.sf(2.0, freedom), t.sf(2.0, freedom))
    assert float(student.isf(0.025, 4)) == pytest.approx(2.7764451)


def test_estimates_are_imported_without_it() -> None:
    code = "import sys, tl_robust.metrics.estimate; print('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
