"""From what a user asks for to models as nodes, images in a space, and the subject of the audit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from scipy.stats import binom
from torch import Tensor

from tl_robust.auditor.files import Written, entry_of, unique
from tl_robust.auditor.images import Images
from tl_robust.auditor.options import check
from tl_robust.auditor.request import Request
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.config.entries import component_of
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.names import Names
from tl_robust.data.space import SPACES
from tl_robust.engines.base import Engine, Job
from tl_robust.engines.observer import Observer
from tl_robust.errors import ConfigError, DataError
from tl_robust.models.checkpoint_file import entries
from tl_robust.nodes.models import Public
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.text import first_few

CHANCE = 1e-3  # a model with as many classes has the same ones where so rarely a guess would be as often right
MOST = 2**26  # numbers of a reference output


@dataclass(frozen=True)
class Inputs:
    """An audit whose inputs were looked at, and whose weights were not read yet.

    Attributes:
        request: What was asked for.
        written: The model, its parent where one is declared, then decoys.
        models: The same as nodes.
        images: Test images.
        train: What the model was trained on; None where that is not given.
        space: What the images are made to be.
        classes: The model's classes in the order of its logits.
    """

    request: Request
    written: tuple[Written, ...]
    models: tuple[Public, ...]
    images: Images
    train: Images | None
    space: Component
    classes: Names

    @property
    def test(self) -> DomainInSpace:
        """Test images in their space."""
        return self.images.within(self.space, self.classes)


def inputs(request: Request) -> Inputs:
    """Look at all inputs of an audit.

    Raises:
        InputError: One of them cannot be used; says which one, and what to do.
    """
    check(request)
    images = Images.of(request.data, request, "test")
    space = _space(request, images)
    network = entry_of(request.network)
    parent = [Written.of(request.parent, network, space)] if request.parent else []
    model = Written.of(request.model, network, space, base=parent[0] if parent else None)
    written = unique((model, *parent, *(Written.of(decoy, network, space) for decoy in request.decoys)))
    _check_decoys(written[0], written[1:2] if parent else (), written[1 + len(parent) :])
    names = request.classes or model.classes
    images = images.named(names, written[0].name) if names else images
    train = _train(request)
    classes = names or tuple(filter(None, images.classes))
    if model.number not in (0, len(classes)):
        whose = "you give" if names else f"{images.name} has"
        raise ConfigError(
            f"{written[0].name} has {model.number} classes, and {whose} {len(classes)} ({first_few(classes, 4)}): "
            "name the model's classes in the order of its logits by --classes."
        )
    others = [_others_classes(other, classes) for other in written[1:]]
    models = tuple(
        Public(each.checkpoint(f"model{place}", own, space), space)
        for place, (each, own) in enumerate(zip(written, [classes, *others], strict=True))
    )
    return Inputs(request, written, models, images, train and train.named(classes, written[0].name), space, classes)


def load(given: Inputs, store: Store, engine: Engine, observer: Observer) -> tuple[Inputs, Subject]:
    """Read weights and images.

    Returns:
        The inputs, in which models with the test images' classes are known by their answers, and what is audited.

    Raises:
        InputError: A file is damaged or does not fit its network.
    """
    request = given.request
    job = Job(
        store.root.absolute(),
        {"accelerator": request.accelerator},
        0,
        tuple(folder.absolute() for folder in request.plugins),
    )
    for failure in engine.run(job, given.models, observer).values():
        raise DataError(f"{failure.node} cannot be read: {failure.cause}")
    device = torch.device("cuda" if request.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    model, *others = (
        ReadModel(written.name, node.load(store).eval().to(device), node.labels, bool(written.classes), written.files)
        for written, node in zip(given.written, given.models, strict=True)
    )
    images = given.images.read(given.space, given.classes)
    train = given.train.read(given.space, given.classes) if given.train else None
    alone = Subject(model, None, (), images, given.classes, train, request.stated, _reference(request), request.seed)
    nodes = [_known(alone, each, node) for each, node in zip(others, given.models[1:], strict=True)]
    named = tuple(replace(each, classes=node.labels) for each, node in zip(others, nodes, strict=True))
    parent = named[0] if request.parent else None
    subject = replace(alone, parent=parent, decoys=named[1:] if parent else named)
    return replace(given, models=(given.models[0], *nodes)), subject


def _known(subject: Subject, other: ReadModel, node: Public) -> Public:
    """Another model with the test images' classes where it knows them, else with classes of its own."""
    if node.labels != subject.classes or _same(subject, other):
        return node
    own = tuple(f"{node.checkpoint.name} {place}" for place in range(len(node.labels)))
    return replace(node, checkpoint=replace(node.checkpoint, classes=own))


def _check_decoys(model: Written, parents: Sequence[Written], decoys: Sequence[Written]) -> None:
    """Check that no decoy is the model or its parent under another name, since a comparison would say nothing."""
    known = {tuple(file.sha256 for file in each.files): each.name for each in (model, *parents)}
    for decoy in decoys:
        if same := known.get(tuple(file.sha256 for file in decoy.files)):
            raise ConfigError(
                f"the decoy {decoy.name} has the same files as {same}: give a model of the same kind that "
                f"{model.name} was not made of."
            )


def _same(subject: Subject, other: ReadModel) -> bool:
    """Whether a model with as many classes knows them: its files say so, or it is right more often than a guess."""
    if other.named:
        return True
    right = int((subject.logits(other).argmax(1) == subject.images.labels).sum())
    most = int(subject.images.labels.bincount().max())
    count = len(subject.images)
    return bool(binom.sf(right - 1, count, most / count) < CHANCE)


def _others_classes(model: Written, classes: Names) -> Names:
    if model.classes:
        return model.classes
    if model.number in (0, len(classes)):
        return classes
    return tuple(f"{model.name} {place}" for place in range(model.number))


def _space(request: Request, images: Images) -> Component:
    if request.space:
        component = component_of(SPACES, entry_of(request.space), "--space")
        settings = dict(component.settings)
        return SPACES.component("square", {**settings, "classes": "own"}) if component.name == "square" else component
    height, width = images.shape
    return SPACES.component("square", {"side": max(8, min(1024, max(height, width))), "classes": "own"})


def _train(request: Request) -> Images | None:
    if request.train:
        return Images.of(request.train, request, "train")
    own = isinstance(request.data, str) and (Path(request.data).expanduser() / "train").is_dir()
    return Images.of(request.data, request, "train") if own else None


def _reference(request: Request) -> Tensor | None:
    if not request.reference:
        return None
    path = Path(request.reference).expanduser()
    try:
        if path.suffix != ".npz":
            raise DataError("it has another kind")
        with path.open("rb"), ExitStack() as stack:
            arrays = entries(path, stack)
            if "logits" not in arrays:
                raise DataError(f"it has {first_few(list(arrays), 3)}")
            shape = arrays["logits"].shape
            if len(shape) != 2 or not 0 < shape[0] * shape[1] <= MOST:
                raise DataError(f"its logits have the shape {list(shape)}")
            return arrays["logits"].read().to(torch.float32)
    except Exception as error:  # a damaged file raises anything
        cause = (
            error.strerror if isinstance(error, OSError) and error.strerror else (str(error).splitlines() or ["?"])[0]
        )
        raise DataError(
            f"--reference {request.reference} cannot be read ({cause}): expected a file .npz with an array of numbers "
            "logits [R,L], what the model's own pipeline gives for the first R images."
        ) from error
