"""Public checkpoints: what is read, how names are matched, what is refused, and that no pickled code runs."""

import hashlib
import io
import os
import pickle
import re
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from by_hand import NETWORK_NAMES, PUBLISHED
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models._api import WeightsEnum

from tl_robust.errors import DataError
from tl_robust.models import NETWORKS, build
from tl_robust.models.checkpoint import checkpoint_digest, load_checkpoint
from tl_robust.registry import Component, Scalar
from tl_robust.seeding import generator

State = dict[str, Tensor]
ENDINGS = (".safetensors", ".npz", ".pt", ".pth", ".bin", ".ckpt")


def made(name: str, classes: int = 10, **settings: Scalar) -> nn.Module:
    return build(NETWORKS.component(name, settings), (3, 32, 32), classes)


def dtn(classes: int = 10) -> nn.Module:
    return made("dtn", classes, width=0.02)


def state_of(network: nn.Module) -> State:
    """A state unlike any fresh one."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for place, value in enumerate(state.values()):
        value.copy_(torch.rand(value.shape, generator=generator(place)) * 5 + 1)
    return state


def write(path: Path, state: Mapping[str, Any]) -> str:
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: np.asarray(value) for name, value in state.items()})  # type: ignore[arg-type]
    else:
        torch.save(dict(state), path)
    return path.name


def same(found: State, expected: State) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


def refused(where: str, root: Path, network: nn.Module, sentence: str, rename: dict[str, str] | None = None) -> None:
    """The whole message, which is one sentence on one line."""
    with pytest.raises(DataError) as caught:
        load_checkpoint(where, root, network, rename)
    assert str(caught.value) == sentence


# What is read


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_kind_of_file(ending: str, tmp_path: Path) -> None:
    network = dtn()
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, state_of(network)
    where = write(tmp_path / f"w{ending}", state)
    same(load_checkpoint(where, tmp_path, network), state)
    same(load_checkpoint(str(tmp_path / where), Path("elsewhere"), network), state)
    same(network.state_dict(), before)  # the network is only asked
    network.load_state_dict(load_checkpoint(where, tmp_path, network))


@pytest.mark.parametrize("entry", ["state_dict", "model_state_dict", "model", "net"])
def test_the_checkpoint_of_a_training(entry: str, tmp_path: Path) -> None:
    network = dtn()
    state = state_of(network)
    content = {"epoch": 3, "optimizer": {"param_groups": []}, entry: OrderedDict(state)}
    torch.save(content, tmp_path / "w.ckpt")
    same(load_checkpoint("w.ckpt", tmp_path, network), state)


def test_a_network_on_the_meta_device_gets_tensors_of_the_cpu(tmp_path: Path) -> None:
    state = state_of(dtn())
    del state["features.1.num_batches_tracked"]
    where = write(tmp_path / "w.npz", state)
    with torch.device("meta"):
        found = load_checkpoint(where, tmp_path, dtn())
    assert {value.device.type for value in found.values()} == {"cpu"}
    same(found, {name: state.get(name, torch.tensor(0)) for name in found})


def test_tensors_have_memory_of_their_own(tmp_path: Path) -> None:
    both = torch.rand(2, 3, 3)
    torch.save({"0.weight": both[0], "1.weight": both[0].T}, tmp_path / "w.pt")
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    found = load_checkpoint("w.pt", tmp_path, network)
    assert [value.untyped_storage().nbytes() for value in found.values()] == [36, 36]
    assert all(value.is_contiguous() for value in found.values())
    assert torch.equal(found["1.weight"], both[0].T)


@pytest.mark.parametrize("ending", [".pt", ".safetensors", ".npz"])
@pytest.mark.parametrize("kind", [torch.float16, torch.float64, torch.bfloat16])
def test_floats_of_other_types_become_the_networks(kind: torch.dtype, ending: str, tmp_path: Path) -> None:
    if ending == ".npz" and kind == torch.bfloat16:
        pytest.skip("numpy has no bfloat16")
    network = dtn()
    state = state_of(network)
    other = {name: value.to(kind) if value.is_floating_point() else value for name, value in state.items()}
    found = load_checkpoint(write(tmp_path / f"w{ending}", other), tmp_path, network)
    same(found, {name: value.to(state[name].dtype) for name, value in other.items()})


def test_arrays_of_another_byte_order(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    np.savez(tmp_path / "w.npz", weight=np.arange(6, dtype=">f4").reshape(2, 3), bias=np.arange(2, dtype=">f8"))
    found = load_checkpoint("w.npz", tmp_path, network)
    same(found, {"weight": torch.arange(6.0).view(2, 3), "bias": torch.arange(2.0)})


def test_counters_of_batchnorm_may_be_missing(tmp_path: Path) -> None:
    network = dtn()
    state = state_of(network)
    given = {name: value for name, value in state.items() if "num_batches" not in name}
    found = load_checkpoint(write(tmp_path / "w.npz", given), tmp_path, network)
    same(found, {name: given.get(name, torch.tensor(0)) for name in state})
    assert len(given) < len(state)


# How names are matched


@pytest.mark.parametrize("prefix", ["module.", "model.", "network.", "backbone."])
def test_a_prefix_of_the_file_is_removed(prefix: str, tmp_path: Path) -> None:
    network = dtn()
    state = state_of(network)
    where = write(tmp_path / "w.npz", {prefix + name: value for name, value in state.items()})
    same(load_checkpoint(where, tmp_path, network), state)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_torchvisions_names_fit_the_backbone(prefix: str, tmp_path: Path) -> None:
    other = torchvision.models.squeezenet1_1(num_classes=5)
    network = made("torchvision_backbone", 5, arch="squeezenet1_1")
    where = write(tmp_path / "w.pt", {prefix + name: value for name, value in other.state_dict().items()})
    network.load_state_dict(load_checkpoint(where, tmp_path, network))
    x = torch.rand(2, 3, 32, 32, generator=generator("images"))
    expected = other.eval()(torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(x))
    assert torch.equal(network.eval()(x), expected)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_torchvisions_names_fit_our_resnet18(prefix: str, tmp_path: Path) -> None:
    other = torchvision.models.resnet18(num_classes=10)
    other.conv1, other.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    network = made("resnet18")
    where = write(tmp_path / "w.pt", {prefix + name: value for name, value in other.state_dict().items()})
    network.load_state_dict(load_checkpoint(where, tmp_path, network))
    x = torch.rand(2, 3, 32, 32, generator=generator("images"))
    assert torch.equal(network.eval()(x), other.eval()((x - 0.5) / 0.5))


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_a_networks_own_names_are_exact(name: str, tmp_path: Path) -> None:
    settings: dict[str, dict[str, Scalar]] = {"dtn": {"width": 0.1}, "wrn": {"depth": 10, "width": 1}} | PUBLISHED
    network = build(NETWORKS.component(name, settings.get(name)), (3, 32, 32), 10)
    state = state_of(network)
    same(load_checkpoint(write(tmp_path / "w.pt", state), tmp_path, network), state)


class Renamed(nn.Module):
    """A hidden layer ``a.1`` beside ``a.10``, and a head."""

    ALIASES = {"body": "a", "body.1": "c"}

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.ModuleDict({"10": nn.Linear(2, 2, bias=False)})
        self.c = nn.Linear(2, 2, bias=False)


def test_the_longest_prefix_counts_and_ends_at_a_dot(tmp_path: Path) -> None:
    ten, one = torch.rand(2, 2), torch.rand(2, 2)
    where = write(tmp_path / "w.npz", {"module.body.10.weight": ten, "module.body.1.weight": one})
    same(load_checkpoint(where, tmp_path, Renamed()), {"a.10.weight": ten, "c.weight": one})


def test_a_renaming_that_is_given_replaces_the_networks(tmp_path: Path) -> None:
    ten, one = torch.rand(2, 2), torch.rand(2, 2)
    where = write(tmp_path / "w.npz", {"x.weight": ten, "c.weight": one})
    rename = {"x": "a.10"}
    same(load_checkpoint(where, tmp_path, Renamed(), rename), {"a.10.weight": ten, "c.weight": one})
    where = write(tmp_path / "w.npz", {"a.10.weight": ten, "bias": one})
    same(load_checkpoint(where, tmp_path, Renamed(), {"bias": "c.weight"}), {"a.10.weight": ten, "c.weight": one})
    where = write(tmp_path / "w.npz", {"a.10.weight": ten, "c.weight": one})
    with pytest.raises(DataError, match=r"missing in the file: c\.weight; no place in the network: c\.weight\)"):
        load_checkpoint(where, tmp_path, Renamed(), {"c": "d"})
    where = write(tmp_path / "w.npz", {"body.10.weight": ten, "body.1.weight": one})
    with pytest.raises(DataError, match=r"missing in the file: a\.10\.weight, c\.weight; no place"):
        load_checkpoint(where, tmp_path, Renamed(), {})
    same(load_checkpoint(where, tmp_path, Renamed()), {"a.10.weight": ten, "c.weight": one})


def test_exact_names_are_preferred(tmp_path: Path) -> None:
    network = nn.Sequential(OrderedDict(model=nn.Linear(2, 2, bias=False)))
    right, wrong = torch.rand(2, 2), torch.rand(2, 2)
    where = write(tmp_path / "w.npz", {"weight": wrong, "model.weight": right})
    with pytest.raises(DataError, match=r"\(no place in the network: weight\)"):
        load_checkpoint(where, tmp_path, network)
    same(load_checkpoint(write(tmp_path / "w.npz", {"weight": right}), tmp_path, network), {"model.weight": right})


def test_two_tensors_never_get_one_name(tmp_path: Path) -> None:
    network = nn.Linear(2, 2, bias=False)
    where = write(tmp_path / "w.npz", {"a.weight": torch.rand(2, 2), "b.weight": torch.rand(2, 2)})
    with pytest.raises(DataError, match=r"missing in the file: weight; no place in the network: a\.weight, b\.weight"):
        load_checkpoint(where, tmp_path, network, {"a": "", "b": ""})


# What does not fit


def test_a_partial_fit_lists_what_is_wrong(tmp_path: Path) -> None:
    network = dtn()
    state = state_of(network)
    del state["features.0.weight"], state["hidden.1.running_mean"]
    state |= {"classifier.weight": torch.ones(1000, 10, 1, 1), "extra": torch.ones(1)}
    sentence = (
        "checkpoint 'w.npz' does not fit network 'dtn' (missing in the file: features.0.weight, hidden.1.running_mean; "
        "no place in the network: extra; other shapes: classifier.weight: file [1000, 10, 1, 1], network [10, 10]): "
        "check the network and its settings, or the number of classes."
    )
    refused(write(tmp_path / "w.npz", state), tmp_path, network, sentence)


def test_long_lists_end_with_a_count(tmp_path: Path) -> None:
    network = nn.ModuleList([nn.Linear(1, 1) for _ in range(4)])
    given = {f"layer{place}": torch.ones(1) for place in range(6)}
    sentence = (
        "checkpoint 'w.npz' does not fit network 'container' (missing in the file: 0.weight, 0.bias, 1.weight, 1.bias, "
        "2.weight and 3 more; no place in the network: layer0, layer1, layer2, layer3, layer4 and 1 more): "
        "check the network and its settings, or the number of classes."
    )
    refused(write(tmp_path / "w.npz", given), tmp_path, network, sentence)


def test_other_classes_are_told(tmp_path: Path) -> None:
    sentence = (
        "checkpoint 'w.npz' does not fit network 'dtn' (other shapes: classifier.weight: file [7, 10], network [10, "
        "10], classifier.bias: file [7], network [10]): check the network and its settings, or the number of classes."
    )
    refused(write(tmp_path / "w.npz", state_of(dtn(7))), tmp_path, dtn(), sentence)


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    sentence = (
        "checkpoint 'w.npz' does not fit network 'linear' (other types: weight: file torch.int8, network "
        "torch.float32): check the network and its settings, or the number of classes."
    )
    where = write(tmp_path / "w.npz", {"weight": torch.ones(1, 1, dtype=torch.int8), "bias": torch.ones(1)})
    refused(where, tmp_path, nn.Linear(1, 1), sentence)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    state = {"weight": torch.tensor([[1.0, value]], dtype=torch.float64), "bias": torch.ones(1)}
    sentence = "checkpoint 'w.npz' holds values that are not finite (weight): use an intact file."
    refused(write(tmp_path / "w.npz", state), tmp_path, nn.Linear(2, 1), sentence)


# Files that cannot be read


KINDS = "a file ending in .safetensors, .npz, .pt, .pth, .bin or .ckpt"


def unread(path: Path, cause: str) -> str:
    return (
        f"checkpoint {path} cannot be read ({cause}): expected the tensors of a state dict in the format that "
        f"{path.suffix} says; replace the damaged file, or save the state dict alone."
    )


@pytest.mark.parametrize("read", [lambda where, root: load_checkpoint(where, root, dtn()), checkpoint_digest])
def test_a_missing_file(read: Callable[[str, Path], object], tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    for name in ("no.npz", "folder.npz"):
        sentence = f"checkpoint {tmp_path / name} not found: expected {KINDS}; check the path, or put the file there."
        with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
            read(name, tmp_path)


@pytest.mark.parametrize("read", [lambda where, root: load_checkpoint(where, root, dtn()), checkpoint_digest])
@pytest.mark.parametrize("name", ["w.txt", "w", "", "w.npy", "w.pkl", "ResNet18_Weights", "resnet18"])
def test_another_ending(name: str, read: Callable[[str, Path], object], tmp_path: Path) -> None:
    if name:
        (tmp_path / name).write_bytes(b"")
    sentence = (
        f"checkpoint {name!r} is of no known kind: expected {KINDS}, or the name of torchvision weights such as "
        "ResNet18_Weights.IMAGENET1K_V1."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read(name, tmp_path)


def one_sentence(path: Path) -> str:
    """The message of a file that cannot be read; it never advises to run code."""
    with pytest.raises(DataError) as caught:
        load_checkpoint(path.name, path.parent, dtn())
    message = str(caught.value)
    cause = message.removeprefix(f"checkpoint {path} cannot be read (").partition("): expected")[0]
    assert message == unread(path, cause)
    assert "\n" not in message
    assert ". " not in cause
    assert "allow_pickle" not in message
    assert "weights_only" not in message
    return cause


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("content", [b"", b"hello, these are my weights\n" * 20, b"\x00" * 64])
def test_text_and_empty_files(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"w{ending}"
    path.write_bytes(content)
    assert not one_sentence(path).startswith(("KeyError", "EOFError", "IndexError")), "these say nothing to a user"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file(ending: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"w{ending}"
    write(path, state_of(dtn()))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    one_sentence(path)


def test_a_flipped_bit_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    write(path, state_of(dtn()))
    content = bytearray(path.read_bytes())
    content[content.index(b"features.4.weight.npy") + 400] ^= 1  # name and header take less
    path.write_bytes(content)
    assert one_sentence(path).startswith("BadZipFile: Bad CRC-32")


@pytest.mark.filterwarnings("ignore:.*sparse tensor")
def test_a_sparse_tensor(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"weight": torch.ones(2).to_sparse()}, path)
    assert one_sentence(path) == "entry 'weight' is no dense tensor of real numbers"


def test_content_that_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    for content, cause in [
        (torch.ones(3), "Tensor in place of a state dict"),
        ([torch.ones(3)], "list in place of a state dict"),
        ({}, "dict in place of a state dict"),
        ({"state_dict": {}}, "dict in place of a state dict"),
        ({"weight": torch.ones(2), "epoch": 3}, "entry 'epoch' is no dense tensor of real numbers"),
        ({"weight": torch.ones(2) * 1j}, "entry 'weight' is no dense tensor of real numbers"),
    ]:
        torch.save(content, path)
        assert one_sentence(path) == cause
    path = tmp_path / "w.npz"
    path.write_bytes(b"")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no array")
    one_sentence(path)
    np.savez(path, weight=np.array(["a"]))
    one_sentence(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    assert one_sentence(path) == "no zip archive"


# No pickled code runs


class Malicious:
    """Pickled, it makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def legacy(content: object) -> bytes:
    """What old versions of PyTorch wrote."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def archive(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def objects(content: object) -> bytes:
    file = io.BytesIO()
    array = np.empty(1, dtype=object)
    array[0] = content
    np.savez(file, weight=array)
    return file.getvalue()


def lone_objects(content: object) -> bytes:
    """An array outside an archive."""
    file = io.BytesIO()
    array = np.empty(1, dtype=object)
    array[0] = content
    np.save(file, array)
    return file.getvalue()


WRITERS: dict[str, Callable[[object], bytes]] = {
    "archive.pt": archive,
    "archive.ckpt": archive,
    "legacy.pth": legacy,
    "plain.bin": pickle.dumps,
    "objects.npz": objects,
    "lone.npz": lone_objects,
    "plain.npz": pickle.dumps,
    "archive.npz": archive,
}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_pickled_code_never_runs(name: str, force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if force:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # for those who do not say what they want
    path, trap = tmp_path / name, tmp_path / "trap"
    path.write_bytes(WRITERS[name]({"weight": torch.ones(1), "code": Malicious(trap)}))
    cause = one_sentence(path)
    if name not in ("lone.npz", "plain.npz", "archive.npz"):
        assert cause == "it holds no plain tensors, and Python objects are never loaded"
    assert not trap.exists()


def test_the_trap_works(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    for name, write_ in WRITERS.items():
        trap = tmp_path / name
        content = write_(Malicious(trap))
        if name in ("objects.npz", "lone.npz"):
            found = np.load(io.BytesIO(content), allow_pickle=True)
            assert name == "lone.npz" or len(found["weight"]) == 1
        elif name.startswith("plain"):
            pickle.loads(content)
        else:
            torch.load(io.BytesIO(content), weights_only=False)
        assert trap.is_dir()


# torchvision's weights


NAME = "Tiny_Weights.V1"


class Hub:
    """Weights that torchvision knows, a folder in place of their server, and torch's hub folder."""

    def __init__(self, folder: Path) -> None:
        self.server, self.cache = folder / "server", folder / "hub" / "checkpoints"
        self.server.mkdir()
        self.name = ""

    def publish(self, content: bytes) -> None:
        self.name = f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        (self.server / self.name).write_bytes(content)

    @property
    def url(self) -> str:
        return (self.server / self.name).as_uri()

    def weight(self, name: str) -> WeightsEnum:
        assert name == NAME
        return WeightsEnum("Tiny_Weights", {"V1": types.SimpleNamespace(url=self.url)})["V1"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torchvision.models, "get_weight", found.weight)
    found.publish(archive({"model.weight": torch.ones(1, 2)}))
    return found


def linear() -> nn.Module:
    return nn.Linear(2, 1, bias=False)


def test_torchvision_weights_are_downloaded_once(hub: Hub, tmp_path: Path) -> None:
    same(load_checkpoint(NAME, tmp_path, linear()), {"weight": torch.ones(1, 2)})
    (hub.server / hub.name).unlink()
    same(load_checkpoint(NAME, tmp_path, linear()), {"weight": torch.ones(1, 2)})


def test_torchvision_weights_that_cannot_be_downloaded(hub: Hub, tmp_path: Path) -> None:
    (hub.server / hub.name).unlink()
    with pytest.raises(DataError) as caught:
        load_checkpoint(NAME, tmp_path, linear())
    message = str(caught.value)
    assert message.startswith("torchvision weights 'Tiny_Weights.V1': they cannot be downloaded (URLError: ")
    assert message.endswith(f"); check the network, or put {hub.url} into {hub.cache} by hand.")
    assert "\n" not in message


def test_a_download_with_another_hash_is_refused(hub: Hub, tmp_path: Path) -> None:
    (hub.server / hub.name).write_bytes(archive({"weight": torch.zeros(1, 2)}))
    with pytest.raises(DataError, match=r"they cannot be downloaded.*invalid hash value"):
        load_checkpoint(NAME, tmp_path, linear())
    assert not (hub.cache / hub.name).exists()


def test_a_changed_file_of_the_hub_folder_is_refused(hub: Hub, tmp_path: Path) -> None:
    load_checkpoint(NAME, tmp_path, linear())
    path = hub.cache / hub.name
    path.write_bytes(archive({"weight": torch.zeros(1, 2)}))
    sentence = (
        f"torchvision weights 'Tiny_Weights.V1': file {path} cannot be used (another hash than its name says); "
        "remove it, so that it is downloaded again."
    )
    refused(NAME, tmp_path, linear(), sentence)


def test_code_of_torchvision_weights_never_runs(hub: Hub, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hub.publish(archive({"weight": torch.ones(1, 2), "code": Malicious(trap)}))
    with pytest.raises(DataError, match=r"cannot be used \(it holds no plain tensors, and Python objects are never lo"):
        load_checkpoint(NAME, tmp_path, linear())
    assert not trap.exists()


@pytest.mark.parametrize("name", ["ResNet19_Weights.V1", "ResNet18_Weights.V9"])
def test_weights_that_torchvision_does_not_know(name: str, tmp_path: Path) -> None:
    sentence = (
        f"torchvision has no weights {name!r}: expected a name such as ResNet18_Weights.IMAGENET1K_V1; "
        "see torchvision's list of models and weights."
    )
    refused(name, tmp_path, dtn(), sentence)
    with pytest.raises(DataError, match=r"^torchvision has no weights"):
        checkpoint_digest(name, tmp_path)


# Digests


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    where = write(tmp_path / "w.npz", {"weight": torch.ones(2)})
    first = checkpoint_digest(where, tmp_path)
    assert first == hashlib.sha256((tmp_path / where).read_bytes()).hexdigest()
    (tmp_path / "copy.npz").write_bytes((tmp_path / where).read_bytes())
    assert checkpoint_digest("copy.npz", tmp_path) == first, "where a file lies does not count"
    assert checkpoint_digest(str(tmp_path / where), Path("elsewhere")) == first
    write(tmp_path / "w.npz", {"weight": torch.zeros(2)})
    assert checkpoint_digest(where, tmp_path) != first


def test_the_digest_of_torchvision_weights_needs_no_network(tmp_path: Path) -> None:
    name = "ResNet18_Weights.IMAGENET1K_V1"
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert checkpoint_digest(name, tmp_path) == hashlib.sha256(f"{name}\n{url}".encode()).hexdigest()
    assert checkpoint_digest("ResNet34_Weights.IMAGENET1K_V1", tmp_path) != checkpoint_digest(name, tmp_path)


def test_the_digest_of_torchvision_weights_changes_with_their_url(hub: Hub, tmp_path: Path) -> None:
    first = checkpoint_digest(NAME, tmp_path)
    hub.publish(archive({"weight": torch.zeros(1, 2)}))
    assert checkpoint_digest(NAME, tmp_path) != first


# A public file of ImageNet


@pytest.mark.data
def test_a_public_squeezenet(real_data: Path) -> None:
    where = "weights/squeezenet1_0_imagenet.npz"
    network = made("torchvision_backbone", 1000, arch="squeezenet1_0", resize=224)
    network.load_state_dict(load_checkpoint(where, real_data, network))
    with np.load(real_data / where, allow_pickle=False) as arrays:
        weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    other = torchvision.models.squeezenet1_0()
    other.load_state_dict(weights)
    with np.load(real_data / "imagenet32_sample.npz", allow_pickle=False) as arrays:
        images, labels = torch.from_numpy(arrays["images"][::10]), torch.from_numpy(arrays["labels"][::10])
    x = images.permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        logits = torch.cat([network.eval()(part) for part in x.split(50)])
        large = nn.functional.interpolate(x[:20], (224, 224), mode="bilinear")
        normalize = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        expected = other.eval()(normalize(large))
    torch.testing.assert_close(logits[:20], expected)
    right = (logits.topk(5).indices == labels[:, None]).any(1).double().mean()
    assert right >= 0.06, "top-5 of 32-pixel images, measured 0.14 of all 1,000; chance is 0.005"


@pytest.mark.data
def test_another_number_of_classes_of_a_public_file(real_data: Path) -> None:
    network = made("torchvision_backbone", 10, arch="squeezenet1_0")
    sentence = (
        "checkpoint 'weights/squeezenet1_0_imagenet.npz' does not fit network 'torchvision_backbone' (other shapes: "
        "model.classifier.1.weight: file [1000, 512, 1, 1], network [10, 512, 1, 1], model.classifier.1.bias: "
        "file [1000], network [10]): check the network and its settings, or the number of classes."
    )
    refused("weights/squeezenet1_0_imagenet.npz", real_data, network, sentence)


def test_weights_that_expect_another_normalization_are_refused(tmp_path: Path) -> None:
    network = build(Component("torchvision_backbone", 1, (("arch", "efficientnet_v2_l"),)), (3, 32, 32), 1000)
    with pytest.raises(
        DataError, match=r"expect images normalized with mean \[0\.5, 0\.5, 0\.5\], but the network has"
    ):
        load_checkpoint("EfficientNet_V2_L_Weights.IMAGENET1K_V1", tmp_path, network)


# Wrappers' prefixes, however they are nested


PARTS = ("module", "_orig_mod", "model", "net", "network", "backbone", "encoder")
CHAINS = [(one,) for one in PARTS] + [
    ("module", "_orig_mod"),
    ("_orig_mod", "module"),
    ("model", "_orig_mod", "module", "net"),
    ("encoder", "backbone", "_orig_mod"),
    ("module",) * 8,
]


@pytest.mark.parametrize("chain", CHAINS, ids=".".join)
@pytest.mark.parametrize("name", ["dtn", "torchvision_backbone", "resnet18"])
def test_any_chain_of_wrappers_is_removed(name: str, chain: tuple[str, ...], tmp_path: Path) -> None:
    network = made(name, **{"dtn": {"width": 0.02}, "torchvision_backbone": {"arch": "squeezenet1_1"}}.get(name, {}))
    state = state_of(network)
    given = {".".join((*chain, key)): value for key, value in state.items()}
    same(load_checkpoint(write(tmp_path / "w.pt", given), tmp_path, network), state)
    if name == "torchvision_backbone":  # torchvision's own names, wrapped
        given = {".".join((*chain, key.removeprefix("model."))): value for key, value in state.items()}
        same(load_checkpoint(write(tmp_path / "w.pt", given), tmp_path, network), state)


@pytest.mark.parametrize("part", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_a_compiled_part_in_the_middle(part: str, tmp_path: Path) -> None:
    network = dtn()
    state = state_of(network)
    for start in ("", "module.model."):
        given = {f"{start}{key.replace('features.', f'features.{part}.')}": value for key, value in state.items()}
        same(load_checkpoint(write(tmp_path / "w.pt", given), tmp_path, network), state)


def test_a_really_compiled_network(tmp_path: Path) -> None:
    network = dtn()
    state = state_of(network)
    network.load_state_dict(state)
    compiled = torch.compile(nn.Sequential(OrderedDict(model=network)))  # nothing is compiled before it is called
    where = write(tmp_path / "w.pt", compiled.state_dict())  # type: ignore[attr-defined]
    same(load_checkpoint(where, tmp_path, network), state)
    same(load_checkpoint(where, tmp_path, compiled), compiled.state_dict())  # type: ignore[arg-type,attr-defined]


def test_a_renaming_meets_names_without_wrappers(tmp_path: Path) -> None:
    network = dtn()
    state = state_of(network)
    given = {f"module._orig_mod.{key.replace('features', 'body')}": value for key, value in state.items()}
    same(load_checkpoint(write(tmp_path / "w.pt", given), tmp_path, network, {"body": "features"}), state)


def test_names_of_many_wrappers_end(tmp_path: Path) -> None:
    names = {".".join(PARTS[place // 7**step % 7] for step in range(4)): torch.ones(1) for place in range(500)}
    with pytest.raises(DataError, match="does not fit network"):
        load_checkpoint(write(tmp_path / "w.pt", names), tmp_path, dtn())


@pytest.mark.parametrize("path", [("state_dict", "model"), ("model", "state_dict", "net"), ("network", "module")])
def test_weights_of_a_training_however_deep(path: tuple[str, ...], tmp_path: Path) -> None:
    network = dtn()
    content: dict[str, Any] = state_of(network)
    expected = dict(content)
    for name in path:
        content = {"epoch": 1, name: content}
    torch.save(content, tmp_path / "w.ckpt")
    same(load_checkpoint("w.ckpt", tmp_path, network), expected)


def test_what_holds_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = {"net": content}
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(DataError, match="cannot be read"):
        load_checkpoint("w.pt", tmp_path, dtn())
