"""Attacks beside torchattacks and foolbox and beside the bare network passes that they need: time, gradients, memory.

    python experiments/perf/attacks.py [--images 1000] [--rounds 5] [--data FOLDER] [--out FOLDER]

All sides run in this process on one thread, in turn, and CPU seconds are counted: a busy machine changes them little.
``ours`` and ``peer`` are images per CPU second through a whole curve of 16 eps, ``ratio`` is ours over the peer's and
``floor_ratio`` our time over that of the bare passes in the same fast modes; both are medians over rounds. The peers
attack the network as it is. Iterated attacks take a quarter of the images. Three victims are judged, the surrogate and
two others. Rows of other benchmarks in perf.json are kept. A library that is missing is left out; ``make perf-attacks``
has both.
"""

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from memory import Peak
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from tl_robust import attacks
from tl_robust.attacks import Attack, evaluate
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.models.fast import accelerate
from tl_robust.models.networks.dtn import DTN
from tl_robust.nodes.allocator import keep_freed_memory

EPS = [round(1 + place * 63 / 15) / 255 for place in range(16)]  # 1/255 to 64/255
BATCH, STEPS, SHARE, BAR_GB = 250, 10, 0.25, 2.0
Side = Callable[[], Any]
Row = dict[str, Any]
Models = dict[str, nn.Module]
PREFIX = "attack, "
MODES = {"": (), ", folded": ("fold", "subpixel"), ", folded bf16": ("fold", "subpixel", "bf16")}


def digits(folder: Path | None) -> tuple[Tensor, Tensor]:
    """Images ``[N,3,32,32]`` in [0,1] and labels: MNIST's training split, or scikit-learn's digits enlarged."""
    if folder is not None:
        data = DomainInSpace("mnist", SPACES.component("digits"), DataSettings(str(folder)))
        images = data.images("train").take(torch.arange(6000))
        return images.images.float() / 255, images.labels
    found = load_digits()
    pixels = torch.from_numpy(found.images).float().div(16)[:, None]
    images = interpolate(pixels, size=32, mode="bilinear", align_corners=False).clamp(0, 1)
    return images.expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(found.target)


def trained(images: Tensor, labels: Tensor, seed: int, passes: int = 6) -> nn.Module:
    """A DTN of width 0.25, trained for seconds."""
    torch.manual_seed(seed)
    model = DTN((3, 32, 32), 10, width=0.25)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(passes):
        for place in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            cross_entropy(model(images[place]), labels[place]).backward()
            optimizer.step()
    return model.eval().requires_grad_(False)


def in_turn(sides: dict[str, Side], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """CPU seconds of every round and the last result of every side; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results = {}
    for number in range(rounds + 1):
        for name, side in sides.items():
            begin = time.process_time()
            results[name] = side()
            if number:
                seconds[name].append(time.process_time() - begin)
    return seconds, results


class Counter:
    """Images that went through a model with and without a gradient, while entered."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.gradients, self.forwards, self.calls = model, 0, 0, list[tuple[int, bool]]()

    def _note(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        needs = inputs[0].requires_grad and torch.is_grad_enabled()
        self.gradients += len(inputs[0]) * needs
        self.forwards += len(inputs[0])
        self.calls.append((len(inputs[0]), needs))

    def __enter__(self) -> "Counter":
        self.handle = self.model.register_forward_pre_hook(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


def predictions(victims: Models, adversarial: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack([victim(adversarial).argmax(1) for victim in victims.values()])


def passed(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """A bare forward and backward pass."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(cross_entropy(model(images), labels, reduction="sum"), images)[0]


class Curves:
    """One attack over all eps on the same images, by every side; each returns classes ``[V,K,N]`` of the victims."""

    def __init__(self, attack: Attack, name: str, models: Models, images: Tensor, labels: Tensor) -> None:
        self.attack, self.name, self.models, self.images, self.labels = attack, name, models, images, labels
        self.surrogate = models["a"]
        self.parts = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))

    def ours(self) -> Tensor:
        found = evaluate(
            self.attack, surrogate=self.surrogate, victims=self.models, images=self.images, labels=self.labels,
            eps=EPS, batch_size=BATCH,
        )  # fmt: skip
        return torch.stack([outcome.adv_b for outcome in found.values()])

    def alone(self) -> Tensor:
        """One eps after the other, without what one eps could learn from another."""
        found = [
            evaluate(
                self.attack, surrogate=self.surrogate, victims=self.models, images=self.images, labels=self.labels,
                eps=[eps], batch_size=BATCH, early=False,
            )
            for eps in EPS
        ]  # fmt: skip
        return torch.stack([torch.cat([one[name].adv_b for one in found]) for name in self.models])

    def peer(self, library: str, per_victim: bool = False) -> Tensor:
        """As the library's users do: an attack for each eps, made once or again for each victim."""
        craft = getattr(self, library)
        found = []
        for eps in EPS:
            batches = []
            for images, labels in self.parts:
                if per_victim:
                    one = [
                        predictions({name: model}, craft(images, labels, eps)) for name, model in self.models.items()
                    ]
                    batches.append(torch.cat(one))
                else:
                    batches.append(predictions(self.models, craft(images, labels, eps)))
            found.append(torch.cat(batches, 1))
        return torch.stack(found, 1)

    def torchattacks(self, images: Tensor, labels: Tensor, eps: float) -> Tensor:
        library, model = importlib.import_module("torchattacks"), self.surrogate
        if self.name == "fgsm":
            return library.FGSM(model, eps=eps)(images, labels)
        if self.name == "mi":
            return library.MIFGSM(model, eps=eps, alpha=eps / STEPS, steps=STEPS)(images, labels)
        return library.PGD(model, eps=eps, alpha=SHARE * eps, steps=STEPS, random_start=False)(images, labels)

    def foolbox(self, images: Tensor, labels: Tensor, eps: float) -> Tensor:
        library = importlib.import_module("foolbox")
        attack = {
            "fgsm": lambda: library.attacks.FGSM(),
            "pgd": lambda: library.attacks.LinfPGD(rel_stepsize=SHARE, steps=STEPS, random_start=False),
            "mi": lambda: library.attacks.MIFGSM(rel_stepsize=1 / STEPS, steps=STEPS),
        }[self.name]()
        model = library.PyTorchModel(self.surrogate, bounds=(0, 1), device="cpu")
        return attack(model, images, labels, epsilons=eps)[0]

    def floor(self) -> None:
        """The bare passes of a transfer curve: gradients, the victims on every eps and on the clean images."""
        gradients = 1 if self.name == "fgsm" else 1 + (STEPS - 1) * len(EPS)  # the clean image's serves all eps
        for images, labels in self.parts:
            for _ in range(gradients):
                passed(self.surrogate, images, labels)
            for _ in range(len(EPS) + 1):
                predictions(self.models, images)

    def replay(self, calls: Sequence[tuple[int, bool]]) -> None:
        """The bare passes of calls that were counted before."""
        images, labels = self.parts[0]
        for count, needs in calls:
            if needs:
                passed(self.surrogate, images[:count], labels[:count])
            else:
                predictions({"a": self.surrogate}, images[:count])


def fast_forms(curves: Curves) -> dict[str, Curves]:
    """The same attack on the same networks in each choice of fast modes."""
    return {
        text: Curves(
            curves.attack, curves.name, {name: accelerate(model, modes) for name, model in curves.models.items()},
            curves.images, curves.labels,
        )
        for text, modes in MODES.items()
    }  # fmt: skip


def rows_of(
    name: str, forms: dict[str, Curves], floors: dict[str, Side], peers: dict[str, Side], rounds: int
) -> list[Row]:
    """One row a form and peer: rates, ratios, and how many classes of victims differ from ours."""
    sides = {f"ours{text}": curves.ours for text, curves in forms.items()}
    sides |= {f"floor{text}": floor for text, floor in floors.items()} | peers
    seconds, results = in_turn(sides, rounds)
    rows = []
    for text, curves in forms.items():
        mine, count, found = seconds[f"ours{text}"], len(curves.images), results[f"ours{text}"]
        above = [a / b for a, b in zip(mine, seconds[f"floor{text}"], strict=True)]
        for peer in peers or {"none": None}:
            row: Row = {"name": f"{name}{text}, {peer}", "ours": round(count / statistics.median(mine), 1)}
            row |= {"peer": None, "ratio": None, "floor_ratio": round(statistics.median(above), 3)}
            row |= {"n": rounds, "device": "cpu", "images": count}
            if other := seconds.get(peer):
                row["peer"] = round(count / statistics.median(other), 1)
                row["ratio"] = round(statistics.median(b / a for a, b in zip(mine, other, strict=True)), 2)
                row["different"], row["of"] = int((found != results[peer]).sum()), found.numel()
                row["accuracy_above_peer"] = round(float(_excess(curves, found, results[peer])), 4)
            rows.append(row)
            show(row)
    return rows


def _excess(curves: Curves, ours: Tensor, theirs: Tensor) -> Tensor:
    """The most, over eps, by which our accuracy of the surrogate is above a peer's."""
    mine, others = ((found[0] == curves.labels).double().mean(1) for found in (ours, theirs))
    return (mine - others).max()


def show(row: Row) -> None:
    cells = [f"{'' if row.get(key) is None else row[key]:>10}" for key in ("ours", "peer", "ratio", "floor_ratio")]
    more = [f"{key} {row[key]}" for key in ("different", "of", "accuracy_above_peer", "note") if key in row]
    print(f"{row['name']:58s}{''.join(cells)}  {', '.join(more)}", flush=True)


def memory(images: int, sizes: int) -> float:
    """Peak of anonymous memory beyond the data, in GB (10^9 bytes), of FGSM on many images and eps."""
    torch.manual_seed(0)
    model, pixels = DTN((3, 32, 32), 10, width=0.25).eval(), torch.rand(images, 3, 32, 32)
    with Peak() as peak:
        evaluate(
            attacks.get("fgsm"), surrogate=model, victims={"a": model}, images=pixels,
            labels=torch.arange(images) % 10, eps=[(place + 1) / 255 for place in range(sizes)], batch_size=BATCH,
        )  # fmt: skip
    return peak.highest / 1e9


def memory_row() -> Row:
    """It runs in a process of its own, so that nothing else is in its memory."""
    code = "import torch, attacks; torch.set_num_threads(1); print(attacks.memory(10_000, 64))"
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    row: Row = {"name": "memory of FGSM, 64 eps, 10,000 images", "ours": round(float(done.stdout), 3), "peer": None}
    note = f"GB beyond the data, bar {BAR_GB:g}"
    return row | {"ratio": None, "floor_ratio": None, "n": 1, "device": "cpu", "note": note}


def white_box(curves: Curves, peers: list[str], rounds: int) -> list[Row]:
    """Time, gradients and accuracy of the white-box curve beside one run for each eps."""
    forms, floors = fast_forms(curves), dict[str, Side]()
    for text, form in forms.items():
        with Counter(form.surrogate) as chain:
            form.ours()
        floors[text] = lambda form=form, calls=chain.calls: form.replay(calls)
    with Counter(curves.surrogate) as chain:
        curves.ours()
    with Counter(curves.surrogate) as alone:
        curves.alone()
    sides: dict[str, Side] = {"ours for each eps": curves.alone}
    sides |= {name: (lambda name=name: curves.peer(name)) for name in peers}
    rows = rows_of("PGD-10 white-box curve", forms, floors, sides, rounds)
    row: Row = {"name": "PGD-10 white-box curve, gradients", "ours": chain.gradients, "peer": alone.gradients}
    row |= {"ratio": round(alone.gradients / chain.gradients, 2), "floor_ratio": None, "n": 1, "device": "cpu"}
    show(row)
    return [*rows, row]


def available() -> list[str]:
    found = []
    for name in ("torchattacks", "foolbox"):
        try:
            importlib.import_module(name)
            found.append(name)
        except ImportError as error:
            print(f"{name} is left out: {error} (make perf-attacks has it)")
    return found


def measure(images: Tensor, labels: Tensor, count: int, rounds: int) -> list[Row]:
    """All rows.

    Args:
        images: ``[N,3,32,32]`` in [0,1]; the networks learn from all but the first ``count``, as far as there are any.
        labels: int64 ``[N]``.
        count: Number of attacked images.
        rounds: Rounds that count.
    """
    learned = (images[count:], labels[count:]) if len(images) > count + 500 else (images, labels)
    models = {name: trained(*learned, seed) for seed, name in enumerate("abc")}
    images, labels = images[:count], labels[:count]
    for name, model in models.items():
        right = float((predictions({name: model}, images)[0] == labels).double().mean())
        print(f"network {name}: {right:.1%} of the clean images right")
    peers = available()
    few = (images[: max(count // 4, 1)], labels[: max(count // 4, 1)])

    def transfer(name: str, curves: Curves, peers: dict[str, Side]) -> list[Row]:
        forms = fast_forms(curves)
        return rows_of(name, forms, {text: form.floor for text, form in forms.items()}, peers, rounds)

    fgsm = Curves(attacks.get("fgsm"), "fgsm", models, images, labels)
    sides: dict[str, Side] = {}
    for name in peers:
        sides[f"{name} once an eps"] = lambda name=name: fgsm.peer(name)
        sides[f"{name} once an eps and victim"] = lambda name=name: fgsm.peer(name, per_victim=True)
    found = transfer("FGSM, 3 victims", fgsm, sides)
    plain = attacks.get("pgd", steps=STEPS, step_size=SHARE, random_start=False)
    found += white_box(Curves(plain, "pgd", {"a": models["a"]}, *few), peers, rounds)
    for name, attack in (("pgd", plain), ("mi", attacks.get("mi"))):
        curves = Curves(attack, name, models, *few)
        others = {peer: (lambda peer=peer, curves=curves: curves.peer(peer)) for peer in peers}
        found += transfer(f"{name.upper()}-10 transfer, 3 victims", curves, others)
    row = memory_row()
    show(row)
    return [*found, row]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/perf"), help="folder of perf.json")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--images", type=int, default=1000, help="attacked images")
    parser.add_argument("--data", type=Path, help="data folder with MNIST (default: scikit-learn's digits)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a bench does; all sides gain
    warnings.simplefilter("ignore", DeprecationWarning)  # the peers' imports
    found = measure(*digits(given.data), given.images, given.rounds)
    for row in found:
        row["name"] = f"{PREFIX}{row['name']}"
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "perf.json"
    kept = [row for row in json.loads(path.read_text()) if not row["name"].startswith(PREFIX)] if path.exists() else []
    path.write_text(json.dumps(kept + found, indent=1) + "\n")
    missed = found[-1]["ours"] > BAR_GB
    print(f"memory {'over' if missed else 'within'} {BAR_GB:g} GB")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
