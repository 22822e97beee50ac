"""Pictures as one PNG each, for places that take no page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import torch
from PIL import Image

from tl_robust.results.names import Names
from tl_robust.types import Pictures, Result

WIDTH = 1200  # pixels that a grid is enlarged to at most


def grids(results: Sequence[Result], pictures: Mapping[str, Pictures]) -> dict[str, bytes]:
    """A PNG by pair, attack, view and strategies: samples down; clean, then every eps across.

    Args:
        results: Cells; ``provenance["outcome"]`` says which pictures are theirs.
        pictures: By key of an outcome.
    """
    names, found = Names.of(result.cell for result in results), dict[int, tuple[str, list[str], Pictures]]()
    for result in results:
        made, cell = pictures.get(str(result.provenance.get("outcome"))), result.cell
        if made:  # victims of the same examples share a picture
            shared = found.setdefault(id(made), (f"{names.group(cell)}, {cell.view} box", [], made))
            shared[1].append(names.strategy(cell))
    return {f"{title}, {', '.join(dict.fromkeys(each))}": _png(made) for title, each, made in found.values()}


def _png(pictures: Pictures) -> bytes:
    columns = torch.cat([pictures.clean[None], pictures.adversarial])  # [1+E,M,C,H,W]
    sheet = columns.permute(1, 3, 0, 4, 2).flatten(2, 3).flatten(0, 1)  # [M*H,(1+E)*W,C]
    image = Image.fromarray((sheet if sheet.shape[2] == 3 else sheet[..., :1].expand(-1, -1, 3)).contiguous().numpy())
    times = max(1, WIDTH // image.width)
    content = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(content, "PNG")
    return content.getvalue()
