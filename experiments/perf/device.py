"""Attacks and training on a CUDA device: images per second in each fast mode, beside full precision.

    python experiments/perf/device.py [--images 5000] [--rounds 3] [--out FOLDER]

A curve of 16 eps on a DTN of width 1 with random weights and images, itself and two others as victims: speed does not
depend on what they hold. ``ours`` is images per second through the whole curve or through one epoch, a median of rounds
after one that warms up; ``peer`` is full precision on the same device, ``ratio`` ours over it. Rows go to device.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tl_robust import attacks
from tl_robust.data.batches import Batches
from tl_robust.models.fast import accelerate
from tl_robust.models.networks.dtn import DTN
from tl_robust.types import ImageSet

EPS = [round(1 + place * 63 / 15) / 255 for place in range(16)]  # 1/255 to 64/255
MODES = {"": (), ", channels_last": ("channels_last",), ", bf16 channels_last": ("bf16", "channels_last")}
ATTACKS = {"FGSM": ("fgsm", {}), "PGD-10": ("pgd", {"steps": 10}), "MI-10": ("mi", {"steps": 10})}


def rate(run: Callable[[], Any], images: int, rounds: int, device: torch.device) -> float:
    """Images per second, a median."""

    def seconds() -> float:
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    seconds()
    return images / statistics.median(seconds() for _ in range(rounds))


def attack_rows(images: int, rounds: int, device: torch.device, width: float, batch: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    models = {name: DTN((3, 32, 32), 10, width=width).to(device).eval().requires_grad_(False) for name in "abc"}
    pixels, labels = torch.rand(images, 3, 32, 32, device=device), torch.arange(images, device=device) % 10
    found = []
    for title, (name, settings) in ATTACKS.items():
        attack, full = attacks.get(name, **settings), None
        for text, modes in MODES.items():
            fast = {key: accelerate(model, modes) for key, model in models.items()}

            def curve(attack: attacks.Attack = attack, fast: dict[str, Any] = fast) -> None:
                attacks.evaluate(
                    attack, surrogate=fast["a"], victims=fast, images=pixels, labels=labels, eps=EPS, batch_size=batch
                )

            speed = rate(curve, images, rounds, device)
            full = full or speed
            found.append(row(f"{title}, 16 eps, 3 victims{text}", speed, full, rounds, device))
    return found


def training_row(images: int, rounds: int, device: torch.device, width: float) -> dict[str, Any]:
    torch.manual_seed(0)
    network = DTN((3, 32, 32), 10, width=width).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    batches = Batches(ImageSet(pixels, torch.arange(images) % 10), 128, seed=0, device=device)

    def epoch() -> None:
        for batch in batches:
            optimizer.zero_grad()
            cross_entropy(network(batch[0]), batch[1]).backward()
            optimizer.step()

    return row("training of a DTN, batches of 128", rate(epoch, images, rounds, device), None, rounds, device)


def row(name: str, ours: float, peer: float | None, rounds: int, device: torch.device) -> dict[str, Any]:
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    found = {"name": name, "ours": round(ours), "peer": peer and round(peer), "ratio": peer and round(ours / peer, 2)}
    print(f"{name:52s}{found['ours']:>12,d}{found['ratio'] or '':>8}", flush=True)
    return found | {"n": rounds, "device": card}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=float, default=1.0, help="of the network")
    parser.add_argument("--out", type=Path, default=Path("results/perf"), help="folder of device.json")
    parsed = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = attack_rows(parsed.images, parsed.rounds, device, parsed.width, min(1000, parsed.images))
    rows.append(training_row(4 * parsed.images, parsed.rounds, device, parsed.width))
    parsed.out.mkdir(parents=True, exist_ok=True)
    (parsed.out / "device.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
