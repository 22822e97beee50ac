"""What a public parent costs on real pixels: audits of fine-tuned models and of models trained from scratch.

    python experiments/price.py --root FOLDER [--store FOLDER] [--out FILE]

Trains MNIST models and, from one of them, USPS models; and from the file of an SVHN network models of meter digits;
writes all as files, and audits each as ``tl-robust audit`` does (about ten minutes on two cores). An interrupted run
goes on where it stopped.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from tl_robust.audit.record import Audit
from tl_robust.audit.words import value_text
from tl_robust.auditor.conduct import conduct
from tl_robust.auditor.request import TRANSFER, Entry, Request
from tl_robust.data.domain import DataSettings, Declared
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES, get_space
from tl_robust.engines.base import Job
from tl_robust.engines.observer import Observer
from tl_robust.engines.processes import Processes
from tl_robust.models.base import NETWORKS
from tl_robust.nodes.models import Checkpoint, Model, Public
from tl_robust.nodes.node import Node
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component
from tl_robust.strategies import STRATEGIES
from tl_robust.text import eps_text
from tl_robust.types import Recipe

SPACE = SPACES.component("digits")
DIGITS = get_space(SPACE).classes
METER = Declared("meterdigits", "npz:meterdigits", DIGITS)
SCRATCH, FINETUNE = STRATEGIES.component("scratch"), STRATEGIES.component("finetune")
SEEDS, DECOYS = (0, 1, 2), (11, 12, 13)
TEXT = """# What a public parent costs

Made by `make price` (`experiments/price.py`). Each row is an audit of one model on at most 500 test images: the parent
is the same public model, whether the audited one was fine-tuned from it or trained from scratch. *From the parent* and
*from unrelated models* is the share of the images that the worst of {attacks} turns. The price is their difference,
with a 95 % interval for other images and other unrelated models. Where the model was trained from scratch no parent is
to be claimed, and the lock `parent_plausible` refuses the declared one: these audits go on despite it.

{table}
"""


@dataclass(frozen=True)
class Family:
    """A public parent, models of the same kind, and what is made for a target.

    Attributes:
        title: As readers know it.
        network: Of all.
        parent: The public model.
        target: What children learn and are judged on.
        eps: Size of evasion, in [0,1] pixel units.
        recipe: Of the children.
    """

    title: str
    network: Component
    parent: Model
    target: DomainInSpace
    eps: float
    recipe: Recipe

    def child(self, by: Component, seed: int) -> Training:
        """A model for the target."""
        parent = self.parent if by is FINETUNE else None
        return Training(self.target, self.network, self.recipe, seed, by, parent)


def data(root: Path, name: str, images: int) -> DomainInSpace:
    """A domain of which so many images are learned from."""
    return DomainInSpace(name, SPACE, DataSettings(str(root), train_limit=images, domains=(METER,)))


def mnist(root: Path, network: Component, seed: int) -> Training:
    """A model of MNIST."""
    recipe = Recipe(epochs=4, batch_size=64, lr=0.02, momentum=0.9)
    return Training(data(root, "mnist", 4000), network, recipe, seed, SCRATCH)


def families(root: Path) -> list[Family]:
    """All families."""
    dtn, cnn6 = NETWORKS.component("dtn", {"width": 0.25}), NETWORKS.component("cnn6")
    svhn = Public(Checkpoint("svhn_cnn6", "weights/svhn_cnn6.npz", cnn6, DIGITS, root), SPACE)
    usps, meter = data(root, "usps", 1000), data(root, "meterdigits", 780)
    recipe = Recipe(epochs=8, batch_size=32, lr=0.01, momentum=0.9)
    return [
        Family("MNIST to USPS", dtn, mnist(root, dtn, 0), usps, 32 / 255, recipe),
        Family("SVHN to meter digits", cnn6, svhn, meter, 8 / 255, recipe),
    ]


def audits(root: Path, store: Store) -> Iterator[tuple[Family, Training, Audit]]:
    """Train what is not there, and audit every child."""
    made = families(root)
    decoys = {family.title: [mnist(root, family.network, seed) for seed in DECOYS] for family in made}
    children = {
        family.title: [family.child(by, seed) for by in (FINETUNE, SCRATCH) for seed in SEEDS] for family in made
    }
    nodes: list[Node] = [node for family in made for node in family.parent.nodes]
    nodes += [model for models in (decoys, children) for several in models.values() for model in several]
    failed = Processes().run(Job(store.root.absolute(), {"accelerator": "auto"}, 0, share=2), nodes, Observer())
    if failed:
        raise SystemExit("\n".join(f"{failure.node}: {failure.cause}" for failure in failed.values()))
    for family in made:
        parent = written(family.parent, "parent", family, store)
        others = tuple(written(model, f"other_{model.seed}", family, store) for model in decoys[family.title])
        for child in children[family.title]:
            model = written(child, f"{child.by.name}_{child.seed}", family, store)
            request = Request(
                model=model, data=images(family.target), parent=parent, decoys=others, images=500, eps=(family.eps,),
                network=component(family.network), space=SPACE.name, root=root, results=store.root.parent,
                despite=("parent_plausible",) if child.by is SCRATCH else (),
            )  # fmt: skip
            yield family, child, conduct(request, engine=Processes())


def written(model: Model, name: str, family: Family, store: Store) -> str:
    """The file of a model's weights."""
    path = store.root.parent / "files" / f"{family.target.domain}_{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.load(store).state_dict(), path)
    return str(path)


def component(network: Component) -> Entry:
    """A network as a user writes it."""
    return {"name": network.name, **dict(network.settings)}


def images(target: DomainInSpace) -> Entry:
    """Images as a user writes them."""
    return {"from": METER.origin, "classes": list(DIGITS)} if target.domain == METER.name else target.domain


def row(family: Family, child: Training, audit: Audit) -> str:
    """A line of the table."""
    if audit.price is None or audit.origin is None:
        raise SystemExit(f"{family.title}, {child}: " + " ".join(lock.reason for lock in audit.failed_locks))
    clean = next(finding for finding in audit.findings if finding.eps == 0)
    price, white = audit.price, next(finding for finding in audit.findings if finding.view == "white")
    cells = [
        family.title, eps_text(family.eps), child.by.name, str(child.seed), value_text(clean),
        value_text(price.parent), value_text(price.unrelated),
        f"{100 * price.price.value:.1f} [{100 * price.price.low:.1f}, {100 * price.price.high:.1f}]",
        value_text(white), audit.origin.claimed or "none", price.price.trust.level,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


HEADS = (
    "target", "eps", "made by", "seed", "clean accuracy", "from the parent", "from unrelated models", "price in points",
    "accuracy, white box", "claimed parent", "trust",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of MNIST, USPS, meterdigits, weights/")
    parser.add_argument("--store", type=Path, default=Path("results/price/store"), help="folder of what is computed")
    parser.add_argument("--out", type=Path, default=Path("docs/price.md"), help="file of the table")
    given = parser.parse_args()
    lines = [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    for found in audits(given.root, Store(given.store)):
        lines.append(row(*found))
        print(lines[-1], flush=True)
    given.out.write_text(TEXT.format(attacks=", ".join(map(str, TRANSFER)), table="\n".join(lines)), encoding="utf-8")
    print(f"Written: {given.out}")


if __name__ == "__main__":
    main()
