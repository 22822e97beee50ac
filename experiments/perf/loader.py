"""Images per second of Batches beside torchvision's DataLoader over PIL images, and streamed beside resident.

    python experiments/perf/loader.py [--out FOLDER]

All sides run in this process on one CPU thread (the peer's workers are processes of their own), in turn, so that a busy
machine slows all of them; medians. Each side makes one shuffled epoch of 10,000 images of 3x32x32 in batches of 128.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tl_robust.data.batches import Batches
from tl_robust.types import ImageSet

COUNT, BATCH, ROUNDS, BAR = 10_000, 128, 7, 10.0
TO_TENSOR = transforms.ToTensor()
CROP_FLIP = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), TO_TENSOR])


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """An image set as torchvision has it: PIL images, changed one by one."""

    def __init__(self, images: ImageSet, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.pictures = [Image.fromarray(pixels) for pixels in images.images.permute(0, 2, 3, 1).numpy()]
        self.labels = images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures[place]), self.labels[place]


def rate(loader: Iterable[Any]) -> float:
    """Images per second of one epoch."""
    begin = time.perf_counter()
    count = sum(len(batch[0]) for batch in loader)
    return count / (time.perf_counter() - begin)


def compare(name: str, ours: Iterable[Any], peer: Iterable[Any]) -> dict[str, Any]:
    """Medians of both sides, taken in turn; ``ratio`` above 1 where ours is faster."""
    rate(ours), rate(peer)  # warm
    both = [(rate(ours), rate(peer)) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(side) for side in zip(*both, strict=True))
    return {
        "name": name,
        "ours": round(mine),
        "peer": round(theirs),
        "ratio": round(mine / theirs, 2),
        "n": ROUNDS,
        "device": "cpu",
    }


def rows() -> list[dict[str, Any]]:
    """One row a comparison: name, ours and peer (images per second), ratio, n (rounds), device.

    In the rows of ``streamed or resident`` ours is the streamed one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        draws = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (COUNT, 3, 32, 32), generator=draws, dtype=torch.uint8)
        images = ImageSet(pixels, torch.arange(COUNT) % 10)
        found = []
        for name, transform in (("none", TO_TENSOR), ("crop_flip", CROP_FLIP)):
            for workers in (0, 2):
                peer = DataLoader(Pictures(images, transform), BATCH, shuffle=True, num_workers=workers)
                ours = Batches(images, BATCH, seed=0, augment=name, stream=False)
                found.append(compare(f"loader, {name}, peer with {workers} workers", ours, peer))
        for name in ("none", "crop_flip"):
            kinds = [Batches(images, BATCH, seed=0, augment=name, stream=stream) for stream in (True, False)]
            found.append(compare(f"streamed or resident, {name}", *kinds))
        return found
    finally:
        torch.set_num_threads(threads)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/perf"), help="folder of perf.json")
    out: Path = parser.parse_args().out
    found = rows()
    print(f"{'':42s} {'ours/s':>10s} {'peer/s':>10s} {'ratio':>7s}")
    for row in found:
        print(f"{row['name']:42s} {row['ours']:10,d} {row['peer']:10,d} {row['ratio']:7.1f}")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "perf.json"
    kept = [row for row in json.loads(path.read_text()) if row["name"].startswith("attack, ")] if path.exists() else []
    path.write_text(json.dumps(found + kept, indent=1) + "\n")
    missed = [row["name"] for row in found if row["name"].startswith("loader") and row["ratio"] < BAR]
    print(f"bar: {BAR:g} times the peer; " + (f"missed by: {'; '.join(missed)}" if missed else "met"))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
