"""Pictures as one PNG each, for places that take no page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import torch
from PIL import Image

from tl_robust.results.faces import FACES, face_of
from tl_robust.results.names import Names
from tl_robust.types import Face, Pictures, Result

WIDTH = 1200  # pixels that a grid is enlarged to at most


def grids(
    results: Sequence[Result], pictures: Mapping[str, Pictures], faces: Mapping[str, Face] = FACES
) -> dict[str, bytes]:
    """A PNG by pair, attack, view and strategies: samples down; clean, then every eps across.

    Args:
        results: Cells; ``provenance["outcome"]`` says which pictures are theirs.
        pictures: By key of an outcome.
        faces: How each threat reads.
    """
    names = Names.of(result.cell for result in results)
    sheets: dict[int, tuple[str, list[str], Pictures]] = {}
    for result in results:
        images, cell = pictures.get(str(result.provenance.get("outcome"))), result.cell
        if images:  # victims of the same examples share a picture
            title = f"{names.group(cell)}, {face_of(cell, faces).side(cell.view)}"
            sheets.setdefault(id(images), (title, [], images))[1].append(names.strategy(cell))
    return {
        f"{title}, {', '.join(dict.fromkeys(strategies))}": _png(images)
        for title, strategies, images in sheets.values()
    }


def _png(pictures: Pictures) -> bytes:
    columns = torch.cat([pictures.clean[None], pictures.adversarial])  # [1+E,M,C,H,W]
    sheet = columns.permute(1, 3, 0, 4, 2).flatten(2, 3).flatten(0, 1)  # [M*H,(1+E)*W,C]
    image = Image.fromarray((sheet if sheet.shape[2] == 3 else sheet[..., :1].expand(-1, -1, 3)).contiguous().numpy())
    times = max(1, WIDTH // image.width)
    content = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(content, "PNG")
    return content.getvalue()
