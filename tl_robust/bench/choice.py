"""Which bench runs where none was named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tl_robust.bench.spec import Bench
from tl_robust.data.domain import get_domain
from tl_robust.data.pair import get_pair


@dataclass(frozen=True)
class Choice:
    """The bench that runs where the user named none, and why.

    Attributes:
        bench: Name of the bench.
        overrides: ``key=value`` each.
        why: One sentence for the user.
    """

    bench: str
    overrides: tuple[str, ...]
    why: str


def choose(card: str, root: str, missing: Sequence[str], fetchable: bool) -> Choice:
    """The bench ``digits`` at full size where a GPU and its data are there or can be fetched, else ``embedded``.

    Args:
        card: Name of the CUDA device; empty where there is none.
        root: Folder of the data sets.
        missing: Domains of ``digits`` whose files are not all there.
        fetchable: Whether the hosts of all of them can be reached.
    """
    if not card:
        return Choice("embedded", (), "No bench was named: embedded, since no CUDA device is present.")
    here = f"a CUDA device is present ({card})"
    if not missing:
        return Choice("digits", (), f"No bench was named: digits, since {here} and its data lie in {root}.")
    names = " and ".join(missing)
    if fetchable:
        why = f"No bench was named: digits, since {here}; fetching {names}, which {root} lacks."
        return Choice("digits", ("data.download=true",), why)
    return Choice(
        "embedded",
        ("axes.network[0].width=1.0",),
        f"No bench was named: embedded at full width, since {here}, but {root} lacks {names} and no network reaches "
        "where they come from; data.root=FOLDER says where they lie.",
    )


def missing_domains(bench: Bench) -> list[str]:
    """Domains of a bench without checkpoints whose files are not all there."""
    kinds = [get_pair(pair.name, pair.space, bench.data) for pair in bench.axes.pair]
    names = dict.fromkeys((*(name for kind in kinds for name in (kind.source, kind.target)), *bench.axes.common))
    root = bench.data.folder

    def complete(name: str) -> bool:
        domain = get_domain(name, bench.data)
        return all(path.is_file() for split in ("train", "test") for path in domain.paths(split, root))

    return [name for name in names if not complete(name)]
