"""What a threat promises: methods, a record that is stored whole, nodes whose key has all settings, and a full face.

Axes: K values of x, N samples.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tl_robust.claims import CLAIMS
from tl_robust.contracts import corruptions
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.contracts.records import record_of
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.engines.base import Job
from tl_robust.engines.loop import Loop
from tl_robust.engines.observer import Observer
from tl_robust.errors import ConfigError
from tl_robust.metrics import METRICS
from tl_robust.nodes.kind import KINDS
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.node import Node
from tl_robust.nodes.payload import pack_record, pack_weights, unpack_record
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component
from tl_robust.seeding import digest
from tl_robust.threats.base import THREATS, Method, Play, Scene, Threat
from tl_robust.types import Corrupted, Face, Recipe, Record

X = (0.0, 4 / 255, 16 / 255)
MADE = {"seconds": 1.0, "device": "cpu", "versions": {}, "commit": ""}


@dataclass(frozen=True)
class Asked:
    """A threat and its name.

    Attributes:
        name: Registered name.
        threat: The threat.
    """

    name: str
    threat: Threat

    def methods(self) -> list[Method]:
        """Its methods with their own settings."""
        methods = []
        for name in self.threat.METHODS.names():
            for x in (X, ()):  # some threats find their x themselves
                try:
                    self.threat.METHODS[name]()
                    methods.append(self.threat.method(self.threat.METHODS.component(name), x))
                    break
                except ConfigError:  # such as a frame that needs a setting
                    continue
        return methods

    def play(self) -> Play:
        """The first method on two small models of digits.

        Raises:
            NotAskedError: It has nothing to ask of them.
        """
        methods, scene = self.methods(), scene_of(self.threat)
        if not methods:
            raise NotAskedError("It has no method that can be made.")
        try:
            play = self.threat.play(methods[0], scene)
        except ConfigError as error:
            raise NotAskedError(f"It does not play on made models ({str(error).rstrip('.')}).") from error
        if play is None:
            raise NotAskedError("It has nothing to ask of made models.")
        return play


def scene_of(threat: Threat) -> Scene:
    """B, which descends from A; both learn handwritten digits that come with a library."""
    data = DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(train_limit=60, test_limit=40))
    network = Component("dtn", 1, (("width", 0.05),))
    a = Training(data, network, Recipe(epochs=1), 0, Component("scratch", 1))
    b = dataclasses.replace(a, by=Component("finetune", 1), parent=a)
    views = tuple(threat.face.views) or ("black",)
    return Scene(a, b, data, 0, views[0], views)


def cases(named: Named) -> Iterator[tuple[str, Asked]]:
    """The threat."""
    yield "", Asked(named.name, THREATS[named.name])


CONTRACTS = Contracts("threat", cases)


@CONTRACTS
def declares_every_column_of_its_record(asked: Asked) -> None:
    """Its record is a frozen dataclass whose every field is a ``column``, one of them, float64 ``[K]``, its axis."""
    record = asked.threat.record
    todo = 'write name: Tensor = column("K N", torch.int64) for every field'
    is_record = isinstance(record, type) and issubclass(record, Record) and dataclasses.is_dataclass(record)
    demand(is_record, "a dataclass derived from Record", repr(record), "set record to it")
    lacking = [item.name for item in dataclasses.fields(record) if "column" not in item.metadata]
    own = vars(record).get("__annotations__", {})
    lacking += [
        name for name in own if name not in {item.name for item in dataclasses.fields(record)} and name != "AXIS"
    ]
    demand(not lacking, "a declaration for every field", f"none of {', '.join(lacking)}", todo)
    axis = record.columns().get(getattr(record, "AXIS", ""))
    right = axis is not None and axis.axes == ("K",) and axis.dtype == torch.float64
    demand(right, "AXIS with the name of a float64 column K", repr(getattr(record, "AXIS", None)), todo)


@CONTRACTS
def stores_its_record_whole(asked: Asked) -> None:
    """A record that is packed and unpacked is the same; damaged bytes are a ValueError and nothing else."""
    record = record_of(asked.threat.record)
    content = pack_record(record)
    back = unpack_record(asked.threat.record, content)
    lost = [name for name, tensor in record.tensors().items() if not torch.equal(tensor, back.tensors()[name])]
    demand(not lost, "every field back", f"others of {', '.join(lost)}", "declare types as they are made")
    try:
        unpack_record(asked.threat.record, content[: len(content) // 2])
    except ValueError:
        pass
    else:
        demand(False, "a ValueError of half a file", "a record", "leave reading to unpack_record")
    few = record.take(torch.tensor([3, 1]))
    demand(len(few.sample_id) == 2, "a record of two samples", len(few.sample_id), "give samples the axis N")


@CONTRACTS
def keeps_records_under_a_kind_of_its_own(asked: Asked) -> None:
    """A kind of the store unpacks this record, in a folder and under a title of its own."""
    content = pack_record(record_of(asked.threat.record))
    kinds = []
    for kind in KINDS.values():
        try:
            if type(kind.unpack(content)) is asked.threat.record:
                kinds.append(kind)
        except Exception:  # noqa: BLE001  (other kinds refuse it in their own ways)
            continue
    todo = "make Kind(folder, file, title, pack_record, partial(unpack_record, MyRecord))"
    demand(kinds, "a kind of the store for the record", "none", todo)
    demand(all(kind.title and kind.file for kind in kinds), "a title and a file of it", "none", todo)


@CONTRACTS
def has_methods_with_its_name(asked: Asked) -> None:
    """What ``axes.attack`` may hold for it is at least one method, each of this threat."""
    demand(asked.threat.METHODS.names(), "a registered method", "none", "register one in METHODS")
    methods = asked.methods()
    demand(methods, "a method that can be made", "none", "give its settings defaults")
    for method in methods:
        right = isinstance(method, Method) and method.threat == asked.name
        demand(right, f"a Method of {asked.name!r}", repr(method)[:60], "return Method(threat, component, x)")


@CONTRACTS
def has_a_full_face(asked: Asked) -> None:
    """Its face has name, title, axis, headline, measure, word and a heading for each view, as reports show them.

    The axis has the name of the record's; of a corruption its author chooses the word, and tables say strength.
    """
    face = asked.threat.face
    todo = "fill it in in Face(...)"
    demand(isinstance(face, Face), "a Face", type(face).__name__, "set face = Face(...)")
    demand(face.threat == asked.name, f"threat {asked.name!r}", repr(face.threat), todo)
    empty = [name for name in ("title", "headline", "measure", "word", "views", "prefix") if not getattr(face, name)]
    demand(not empty, "all words of the face", f"no {', '.join(empty)}", todo)
    axis = asked.threat.record.AXIS
    if issubclass(asked.threat.record, Corrupted):
        word = str(face.axis).isidentifier()
        demand(word, "an axis in one word", repr(face.axis), 'write @corruption(axis="density"), as bench files say it')
    else:
        demand(face.axis == axis, f"axis {axis!r}, that of the record", repr(face.axis), todo)
    unnamed = [view for view, heading in face.views.items() if not heading]
    demand(not unnamed, "a heading for each view", f"none of {', '.join(unnamed)}", todo)
    text = face.axis_text(X[1])
    demand(isinstance(text, str) and text, "a text of a value of x", repr(text), "give axis_text a function to text")
    demand(not face.direct or face.direct in face.views, "direct among the views", repr(face.direct), todo)


@CONTRACTS
def names_metrics_and_claims_that_read_its_record(asked: Asked) -> None:
    """Every metric and claim that the face names is registered, and reads this record."""
    face = asked.threat.face
    named = [face.headline, face.accuracy, *face.beside, *face.whole, *face.charts, *face.notes]
    named += [*face.compared, *face.compared.values()]
    for name in filter(None, named):
        demand(name in METRICS, f"a registered metric {name!r}", "none", "register it, or correct the name")
        reads = issubclass(asked.threat.record, METRICS[name].of)
        demand(reads, f"metric {name!r} of {asked.threat.record.__name__}", METRICS[name].of.__name__, "write of=")
    ids = {CLAIMS[name].id for name in CLAIMS.names()}
    unknown = [claim for claims in face.claims.values() for claim in claims if claim not in ids]
    demand(not unknown, "ids of claims", ", ".join(unknown), "name the id of a registered claim")


@CONTRACTS
def says_all_that_it_needs_in_the_key_of_its_nodes(asked: Asked) -> None:
    """The spec of a node is JSON, and every setting of it that may differ gives another key."""
    for node in asked.play().nodes:
        todo = "put it into spec, of which the key is the digest"
        try:
            json.dumps(node.spec, allow_nan=False)
        except (TypeError, ValueError) as error:
            demand(False, "a spec in the form of JSON", str(error), "write texts, numbers, lists and dicts")
        demand(node.key == digest(node.spec), "the digest of its spec as key", "another", "leave key to the base class")
        for item in dataclasses.fields(node):  # type: ignore[arg-type]
            other = _other(getattr(node, item.name)) if item.compare else None
            if other is None:
                continue
            try:
                changed: Any = dataclasses.replace(node, **{item.name: other})  # type: ignore[type-var]
                keys = set(changed.entries), set(node.entries)
            except Exception:  # noqa: BLE001  (a value that cannot be is no other work)
                continue
            demand(keys[0] != keys[1], f"another key with another {item.name}", "the same", todo)


@CONTRACTS
def finds_its_record_where_it_says(asked: Asked) -> None:
    """Where a cell is read from are entries of its nodes, and what these need are models or entries of each other."""
    play = asked.play()
    entries = {key for node in play.nodes for key in node.entries}
    lost = [address.title for address in play.outcome if address.key not in entries]
    demand(play.outcome and not lost, "outcome among the entries of its nodes", f"{lost or 'none'}", "use node.key")
    for node in play.nodes:
        demand(str(node) and "object at" not in str(node), "a node in words", str(node)[:60], "write __str__")


@CONTRACTS
def makes_its_record(asked: Asked) -> None:
    """Its nodes, computed on two small models, leave a whole record in the store; where that asks only for weights."""
    play, scene = asked.play(), scene_of(asked.threat)
    entries = {key for node in play.nodes for key in node.entries}
    models = {model.key: model for model in (scene.surrogate, scene.victim)}
    needs = {need.key for node in play.nodes for need in node.needs} - entries
    if needs - models.keys():
        raise NotAskedError("It needs more than two trained models.")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder).resolve())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for model in models.values():
                store.write(WEIGHTS, model.key, pack_weights(model.build().state_dict()), model.spec, MADE)
        nodes: tuple[Node, ...] = play.nodes
        failures = Loop(Job(store.root, {"accelerator": "cpu"}, 40), nodes, Observer()).run()
        causes = ", ".join(dict.fromkeys(failure.cause.rstrip(".") for failure in failures.values()))
        traces = "\n".join(failure.trace for failure in failures.values())
        todo = "correct corrupt" if issubclass(asked.threat.record, Corrupted) else "correct make"
        demand(not failures, "a record", f"a failure ({causes})", todo, traces)
        address = play.outcome[0]
        record = store.load(address.kind, address.key)
    kind = asked.threat.record
    demand(type(record) is kind, f"a record {kind.__name__}", type(record).__name__, "return {self.key: record}")
    demand(len(record.sample_id) == 40, "40 samples of 40 test images", len(record.sample_id), "keep every sample")
    finite = all(bool(value.isfinite().all()) for value in record.tensors().values() if value.dtype == torch.float64)
    demand(finite, "finite numbers", "others", "guard each division and logarithm")


corruptions.add(CONTRACTS)


def _other(value: object) -> object:
    """Another value of this kind; None where there is no obvious one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple) and len(value) > 1 and all(isinstance(item, float) for item in value):
        return value[:-1]
    return None
