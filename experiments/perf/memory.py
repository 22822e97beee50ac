"""Peak of anonymous memory, and images per second, of a set as large as ImageNet32: official files, cache, batches.

    python experiments/perf/memory.py [--folder FOLDER]

1,281,167 made images of 3x32x32 in the official npz files and in the cache (8 GB on disk, removed at the end). Pages of
a mapped file are not anonymous: the system drops them when it needs memory. Exit code 1 above the bar.
"""

import argparse
import json
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tl_robust.data.batches import Batches
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace, load_mapped
from tl_robust.data.space import SPACES
from tl_robust.data.splits import split_validation

COUNT, PARTS, SHAPE, CLASSES, BATCH = 1_281_167, 10, (3, 32, 32), 1000, 128
BAR_GB = 2.0


def anonymous() -> int:
    """Bytes of anonymous memory of this process that are resident (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


class Peak:
    """The highest anonymous memory beyond the baseline, sampled every 20 ms while entered."""

    def __init__(self) -> None:
        self.baseline = anonymous()
        self.highest = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            self.highest = max(self.highest, anonymous() - self.baseline)


def write_official(folder: Path) -> None:
    """Made images in ImageNet32's official files: ten npz batches for training, one for the test split."""
    folder.mkdir()
    names = [f"train_data_batch_{number}" for number in range(1, PARTS + 1)]
    draws = np.random.default_rng(0)
    for place, name in enumerate([*names, "val_data"]):
        count = COUNT // PARTS + (place < COUNT % PARTS) if name != "val_data" else 50_000
        pixels = draws.integers(0, 256, (count, math.prod(SHAPE)), np.uint8)
        np.savez(folder / f"{name}.npz", data=pixels, labels=draws.integers(1, CLASSES + 1, count))


@contextmanager
def timed(name: str, found: list[dict[str, Any]]) -> Iterator[None]:
    """A row with the seconds and the peak of one stage."""
    with Peak() as peak:
        begin = time.perf_counter()
        yield
        seconds = time.perf_counter() - begin
    row = {"name": name, "seconds": seconds, "peak_gb": peak.highest / 1e9, "device": "cpu"}
    found.append(row)
    rate = f"{COUNT / seconds:10,.0f} images/s" if name != "map" else ""
    print(f"{name:34s} {seconds:7.2f} s {rate:20s} {peak.highest / 1e9:6.3f} GB beyond its start", flush=True)


def measure(root: Path) -> tuple[float, list[dict[str, Any]]]:
    """Peak of anonymous memory beyond the baseline in GB (10^9 bytes), and one row a stage.

    Args:
        root: Folder with ``imagenet32``; the cache is written beside it.
    """
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    data = DomainInSpace("imagenet32", SPACES.component("square"), DataSettings(str(root), cache=str(root / "cache")))
    with Peak() as peak:
        with timed("decode into the cache", found):
            load_mapped(data, "train")
        with timed("map", found):
            images = data.images("train")
            assert len(images) == COUNT
            assert images.fingerprint
        with timed("split off the validation part", found):
            learn, held = split_validation(images, 0.1)
            assert len(learn) + len(held) == COUNT
        for stream in (False, True):
            with timed(f"one shuffled epoch, {'streamed' if stream else 'resident'}", found):
                batches = Batches(images, BATCH, seed=0, augment="none", stream=stream)
                assert sum(len(ids) for _, _, ids in batches) == COUNT
    return peak.highest / 1e9, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the set is written (default: a temporary folder)")
    parser.add_argument("--out", type=Path, default=Path("results/perf"), help="folder of memory.json")
    given = parser.parse_args()
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="imagenet32-", dir=given.folder) as folder:
        free, needed = shutil.disk_usage(folder).free, 2.2 * COUNT * math.prod(SHAPE)
        if free < needed:
            print(f"{folder} has {free / 1e9:.1f} GB free, expected {needed / 1e9:.1f}: set --folder to another disk.")
            return 2
        write_official(Path(folder) / "imagenet32")
        peak, found = measure(Path(folder))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "memory.json").write_text(json.dumps(found, indent=1) + "\n")
    print(f"peak anonymous memory beyond baseline: {peak:.2f} GB (bar: {BAR_GB:g} GB)")
    return 1 if peak > BAR_GB else 0


if __name__ == "__main__":
    raise SystemExit(main())
