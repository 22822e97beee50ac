"""An entry that is not what was written is damaged, whatever it is instead."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import MADE
from filelock import FileLock

from tl_robust.contracts.records import record_of
from tl_robust.errors import ConfigError, StoreError
from tl_robust.nodes import kind as kinds
from tl_robust.nodes.crafting import OUTCOMES
from tl_robust.nodes.examination import EXAMINATIONS
from tl_robust.nodes.guarded import GUARDS
from tl_robust.nodes.kind import KINDS, Address, Kind
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.payload import pack_examination, pack_outcome, pack_pictures, pack_weights
from tl_robust.nodes.pictures import PICTURES
from tl_robust.nodes.poisoning import TRIGGERS
from tl_robust.nodes.store import MANIFEST_LIMIT, Store
from tl_robust.nodes.timing import TIMINGS, Timed, pack_timed
from tl_robust.seeding import digest
from tl_robust.threats.base import THREATS
from tl_robust.types import Examination, Outcome, Pictures

SPEC = {"what": "a test"}
KEY = digest(SPEC)


def outcome() -> Outcome:
    label, flags = torch.arange(6) % 3, torch.ones(2, 6, dtype=torch.bool)
    eps = torch.tensor([0.0, 0.1], dtype=torch.float64)
    return Outcome(
        torch.arange(6), label, label, label, label.repeat(2, 1), label.repeat(2, 1), torch.zeros(2, 6), eps,
        ~flags[0], flags, flags[0],
    )  # fmt: skip


def contents() -> dict[Kind, bytes]:
    eps, byte = torch.tensor([0.1], dtype=torch.float64), torch.uint8
    pictures = Pictures(
        torch.arange(2), eps, torch.zeros(2, 1, 4, 4, dtype=byte), torch.zeros(1, 2, 1, 4, 4, dtype=byte), ("a", "é")
    )
    return {
        WEIGHTS: pack_weights({"a": torch.ones(2)}),
        GUARDS: pack_weights({"threshold": torch.ones(2)}),
        TRIGGERS: pack_weights({"pattern": torch.ones(2)}),
        OUTCOMES: pack_outcome(outcome()),
        EXAMINATIONS: pack_examination(Examination(torch.arange(3), eps, {"loss": torch.ones(3)})),
        PICTURES: pack_pictures(pictures),
        TIMINGS: pack_timed(Timed((3.0,), (1.0,))),
    } | {kind: kind.pack(record_of(kind.unpack.args[0])) for kind in OURS if isinstance(kind.unpack, partial)}


THREATS.names()  # importing them makes their kinds known
OTHERS = ("tests", "tl_robust.contracts")  # kinds of made nodes
OURS = [kind for kind in KINDS.values() if kind.pack.__module__.startswith("tl_robust.")]
OURS = [kind for kind in OURS if not kind.pack.__module__.startswith(OTHERS)]
OF = list(contents())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with an entry of each kind."""
    store = Store(tmp_path)
    for kind, content in contents().items():
        store.write(kind, KEY, content, SPEC, MADE)
    return store


def test_these_are_all_kinds() -> None:
    """Kinds of a record are tested without a line here; any other kind needs a content above."""
    assert set(OURS) == set(OF)


@pytest.mark.parametrize("kind", OF, ids=str)
def test_what_was_written_is_whole(store: Store, kind: Kind) -> None:
    assert store.whole(kind, KEY)
    store.load(kind, KEY)
    assert list(store.check()) == [""] * len(OF)


def test_everything_comes_back(store: Store) -> None:
    for name, tensor in outcome().tensors().items():
        assert torch.equal(store.load(OUTCOMES, KEY).tensors()[name], tensor)
    assert store.load(WEIGHTS, KEY)["a"].tolist() == [1, 1]
    assert store.load(PICTURES, KEY).classes == ("a", "é")
    assert store.load(EXAMINATIONS, KEY).seen["loss"].tolist() == [1, 1, 1]


def changed(**parts: object) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest | parts


def made(**parts: object) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest | {"made": MADE | parts}


DEEP = "[" * 100_000
MANIFESTS: list[Callable[[dict[str, Any]], object]] = [
    lambda manifest: [],
    lambda manifest: None,
    lambda manifest: 7,
    lambda manifest: "text",
    lambda manifest: {},
    lambda manifest: {name: value for name, value in manifest.items() if name != "made"},
    changed(schema=2),
    changed(schema=True),
    changed(schema=[1]),
    changed(sha256=None),
    changed(sha256=7),
    changed(spec=[]),
    changed(spec=None),
    changed(spec={"what": "another"}),
    changed(made={}),
    changed(made=[]),
    *(made(**{name: None}) for name in MADE),
    made(seconds="1.5"),
    made(seconds=True),
    made(seconds=-1),
    made(seconds=1e999),
    made(seconds=float("nan")),
    made(busy_seconds="1.5"),
    made(busy_seconds=-1),
    made(device=1),
    made(versions=["2.9"]),
    made(versions={"torch": 2.9}),
    made(val_accuracy="0.9"),
    made(fast="bf16"),
    made(fast=[1]),
    made(refused=None),
    made(gate="passed"),
    made(gate={"accuracy": 0.1}),
    made(gate=dict.fromkeys(("samples", "accuracy", "predictions", "tolerance"), "x")),
]


@pytest.mark.parametrize("kind", OF, ids=str)
@pytest.mark.parametrize("change", MANIFESTS, ids=range(len(MANIFESTS)))
def test_a_manifest_that_is_none_is_damage(
    store: Store, kind: Kind, change: Callable[[dict[str, Any]], object]
) -> None:
    path = store.root / kind.folder / KEY / "manifest.json"
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))))
    for use in (lambda: store.whole(kind, KEY), lambda: store.load(kind, KEY)):
        with pytest.raises(StoreError, match=KEY) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", DEEP.encode(), b" " * (MANIFEST_LIMIT + 1), b'{"a": 1}{'], ids=range(6)
)
def test_a_manifest_that_is_no_json_is_damage(store: Store, content: bytes) -> None:
    (store.root / "outcomes" / KEY / "manifest.json").write_bytes(content)
    with pytest.raises(StoreError, match="manifest"):
        store.whole(OUTCOMES, KEY)


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def outcome_with(**arrays: Any) -> bytes:
    return npz(**{name: tensor.numpy() for name, tensor in outcome().tensors().items()} | arrays)


def pictures_with(**arrays: Any) -> bytes:
    with np.load(io.BytesIO(contents()[PICTURES])) as found:
        return npz(**{name: found[name] for name in found.files} | arrays)


def bomb() -> bytes:
    """A header that declares 80 TB."""
    head, file = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<i8", "fortran_order": False, "shape": (10**13,)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("label.npy", head.getvalue())
    return file.getvalue()


PAYLOADS: list[tuple[Kind, bytes]] = [
    (WEIGHTS, b""),
    (GUARDS, b"not safetensors"),
    (WEIGHTS, b"not safetensors"),
    (WEIGHTS, (10**15).to_bytes(8, "little") + b"{}"),
    (OUTCOMES, b""),
    (OUTCOMES, b"no zip"),
    (OUTCOMES, npz()),
    (OUTCOMES, npz(other=np.arange(3))),
    (OUTCOMES, outcome_with(other=np.arange(6))),
    (OUTCOMES, outcome_with(label=np.arange(6.0))),
    (OUTCOMES, outcome_with(label=np.arange(5))),
    (OUTCOMES, outcome_with(label=np.array(["a"] * 6))),
    (OUTCOMES, outcome_with(label=np.array([None] * 6, dtype=object))),
    (OUTCOMES, outcome_with(eps=np.zeros(3))),
    (OUTCOMES, outcome_with(valid=np.zeros((2, 6)))),
    (OUTCOMES, bomb()),
    (EXAMINATIONS, npz(eps=np.zeros(1))),
    (EXAMINATIONS, npz(eps=np.zeros((1, 1)), sample_id=np.arange(3))),
    (EXAMINATIONS, npz(eps=np.zeros(1), sample_id=np.zeros(3))),
    (PICTURES, npz(classes=np.zeros(1, np.uint8))),
    (PICTURES, pictures_with(classes=np.frombuffer(b"{", np.uint8))),
    (PICTURES, pictures_with(classes=np.frombuffer(b"[1]", np.uint8))),
    (PICTURES, pictures_with(clean=np.zeros((2, 1, 4, 5), np.uint8))),
    (PICTURES, pictures_with(adversarial=np.zeros((1, 2, 1, 4, 4)))),
    (PICTURES, pictures_with(sample_id=np.arange(3))),
    (PICTURES, pictures_with(more=np.arange(3))),
]


@pytest.mark.parametrize(("kind", "content"), PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_file_of_another_content_is_damage_even_where_its_manifest_agrees(
    store: Store, kind: Kind, content: bytes
) -> None:
    store.file(kind, KEY).write_bytes(content)
    path = store.root / kind.folder / KEY / "manifest.json"
    manifest = json.loads(path.read_bytes()) | {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    path.write_text(json.dumps(manifest))
    for use in (lambda: store.whole(kind, KEY), lambda: store.load(kind, KEY)):
        with pytest.raises(StoreError, match="damaged") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_an_address_can_be_read_where_nothing_of_its_kind_is_imported_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address(GUARDS, KEY, "a guard")
    content = pickle.dumps(address)
    monkeypatch.setattr(kinds, "KINDS", {})  # as in another process, before any kind of node is imported
    assert pickle.loads(content) == address


def test_whoever_may_only_read_a_store_sees_what_is_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(lock: FileLock) -> None:
        raise PermissionError("read-only file system")

    store = Store(tmp_path)
    with store.running(KEY, "a training"):
        monkeypatch.setattr(FileLock, "acquire", refused)
        assert store.marks("running")[KEY]["title"] == "a training"


def test_two_kinds_cannot_share_a_folder() -> None:
    with pytest.raises(ConfigError, match="two kinds of node are kept in the folder 'weights', training and poem"):
        Kind("weights", "poem.txt", "poem", str.encode, bytes.decode)
