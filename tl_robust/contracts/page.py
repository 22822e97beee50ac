"""The list of all contracts as Markdown, as ``docs/plugins.md`` holds it.

``python -m tl_robust.contracts.page docs/plugins.md`` writes the list of a page anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tl_robust.contracts.component import SHARED
from tl_robust.contracts.contract import contracts_of, kinds
from tl_robust.files import write_atomically

BEGIN, END = "<!-- contracts: made by tl_robust.contracts.page -->\n", "<!-- end of contracts -->\n"


def listed() -> str:
    """A section for each kind: the name of every contract and what it asks."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "### All classes with settings\n"
    for function in SHARED:
        yield _item(function.__name__.replace("_", " "), " ".join((function.__doc__ or "").split("\n\n")[0].split()))
    for kind in kinds():
        yield f"\n### {kind.capitalize()}\n"
        for contract in contracts_of(kind).contracts:
            if contract.function not in SHARED:
                yield _item(contract.name, contract.says)
    yield ""


def _item(name: str, says: str) -> str:
    return f"- **{name}.** " + says.replace("``", "`")


def with_list(page: str) -> str:
    """A page with the list between its two marks.

    Raises:
        ValueError: It has no such marks.
    """
    if BEGIN not in page or END not in page:
        raise ValueError("the page has no marks of the list of contracts.")
    return re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n{listed()}\n{END}", page, flags=re.DOTALL
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_atomically(path, with_list(path.read_text(encoding="utf-8")).encode())
