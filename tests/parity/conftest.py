"""Every test here compares with other libraries and runs in .venv-parity (make test-parity)."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.parity)
            # old calls inside the libraries are theirs to mend
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
