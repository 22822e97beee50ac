"""Settings of the one loop."""

import pytest

from tl_robust import attacks
from tl_robust.errors import ConfigError


@pytest.mark.parametrize("size", [0.0, -0.1, float("inf"), float("nan")])
def test_a_step_has_a_size(size: float) -> None:
    with pytest.raises(ConfigError, match=r"^step_size of attack 'ascent' must be above 0 \(a share of eps\), got"):
        attacks.get("ascent", step_size=size)
    assert attacks.get("ascent", step_size=1e-9).step_size == 1e-9
