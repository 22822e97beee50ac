"""Published folders of timm and transformers: the library's own logits from images of any size, or one sentence."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published_made import CLASSES, changed, hf_folder, images, pictures, quiet, transformers, vit
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tl_robust.errors import ConfigError, DataError, UnknownNameError
from tl_robust.models import build, get
from tl_robust.models.base import NETWORKS, blocks, classifier_names, described, rebuilt
from tl_robust.models.checkpoint import load_checkpoint
from tl_robust.models.features import penultimate
from tl_robust.models.folders import Folder, read_folder
from tl_robust.models.published import library


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **settings: object) -> None:
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def opened(folder: Path, shape: tuple[int, int, int] = (3, 40, 56), classes: int = len(CLASSES)) -> nn.Module:
    """The network of a folder with its weights, in eval mode."""
    found = read_folder(folder)
    network = build(NETWORKS.component(found.network, found.settings), shape, classes)
    network.load_state_dict(load_checkpoint(f"{folder.name}/{found.weights}", folder.parent, network))
    return network.eval()


# transformers


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    hf_folder(tmp_path / "hf", vit())
    return tmp_path / "hf"


def test_a_folder_of_transformers_answers_as_the_library_does(tmp_path: Path) -> None:
    model, pixels = vit(), images(40, 56)
    processor = hf_folder(tmp_path / "hf", model)
    found = read_folder(tmp_path / "hf")
    assert (found.classes, found.number, found.weights) == (CLASSES, 5, "model.safetensors")
    given = quiet(processor, pictures(pixels), return_tensors="pt")["pixel_values"]
    network = opened(tmp_path / "hf")
    x = pixels / 255
    assert (network.get_submodule("preprocess")(x) - given).abs().max() < 2 / 255 / 0.2  # its rounding, over std
    with torch.no_grad():
        exact = model(pixel_values=network.get_submodule("preprocess")(x)).logits
        torch.testing.assert_close(network(x), exact, rtol=0, atol=1e-5)
        assert (network(x) - model(pixel_values=given).logits).abs().max() < 0.05
        assert exact.std() > 0.3, "logits that can be told apart"
    assert network(x).argmax(1).tolist() == model(pixel_values=given).logits.argmax(1).tolist()


@pytest.mark.parametrize(
    "processor",
    [
        {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "size": {"height": 37, "width": 40}},
        {"resample": 3},
        {"size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
        {"do_rescale": False, "image_mean": [120.0] * 3, "image_std": [60.0] * 3},
        {"rescale_factor": 1 / 127.5},
        {"do_normalize": False},
    ],
)
@pytest.mark.parametrize("shape", [(40, 56), (61, 33), (20, 20)])
def test_images_are_prepared_as_the_librarys_processor_does(
    tmp_path: Path, processor: dict[str, Any], shape: tuple[int, int]
) -> None:
    pixels = images(*shape)
    made = hf_folder(tmp_path / "hf", vit(), **processor)
    given = quiet(made, pictures(pixels), return_tensors="pt")["pixel_values"]
    network = opened(tmp_path / "hf", (3, *shape))
    ours = network.get_submodule("preprocess")(pixels / 255)
    assert ours.shape == given.shape
    steps = network.get_submodule("preprocess").steps  # type: ignore[union-attr]
    assert (ours - given).abs().amax() < 2 / 255 / min(steps.std)  # two 8-bit steps of one pixel
    assert (ours - given).abs().mean() < 0.5 / 255 / min(steps.std)


def test_convnext_crops_as_the_librarys_processor_does(tmp_path: Path) -> None:
    from tl_robust.models.preprocessing import Preprocess
    from tl_robust.models.processor import steps_of

    for side in (28, 384):
        made = transformers().ConvNextImageProcessor(size={"shortest_edge": side}, crop_pct=0.875)
        quiet(made.save_pretrained, tmp_path)
        steps = steps_of(json.loads((tmp_path / "preprocessor_config.json").read_text()))
        pixels = images(45, 61, 1)
        given = quiet(made, pictures(pixels), return_tensors="pt")["pixel_values"]
        ours = Preprocess(steps)(pixels / 255)
        assert ours.shape == given.shape == (1, 3, side, side)
        assert (ours - given).abs().max() < 2 / 255 / 0.22


def test_gradients_reach_the_original_images(hf: Path) -> None:
    x = torch.rand(2, 3, 40, 56, requires_grad=True)
    opened(hf)(x)[:, 1].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad != 0).double().mean() > 0.9


def test_blocks_last_layer_and_features_are_known(hf: Path) -> None:
    network = opened(hf)
    assert classifier_names(network) == {"model.classifier.weight", "model.classifier.bias"}
    assert len(blocks(network)) == 4  # patches and three layers
    assert penultimate(network, torch.rand(2, 3, 40, 56)).shape == (2, 24)


def test_a_network_is_rebuilt_from_its_description_alone(hf: Path) -> None:
    network = opened(hf)
    description = described(network)
    assert description is not None
    again = rebuilt(json.loads(json.dumps(description)))
    again.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 40, 56)
    assert torch.equal(again.eval()(x), network(x))


def test_tables_show_a_short_name(hf: Path) -> None:
    found = read_folder(hf)
    shown = str(NETWORKS.component(found.network, found.settings))
    assert len(shown) < 60
    changed(hf / "config.json", layer_norm_eps=0.1)
    other = read_folder(hf)
    assert str(NETWORKS.component(other.network, other.settings)) != shown


def test_weights_saved_by_torch_are_read_without_objects(hf: Path) -> None:
    state = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    torch.save(state, hf / "pytorch_model.bin")
    assert read_folder(hf).weights == "pytorch_model.bin"
    opened(hf)


VITS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
RESNETS = {"hidden_sizes": [8, 12], "depths": [1, 1], "embedding_size": 8, "layer_type": "basic"}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ResNet", RESNETS),
        ("ConvNext", {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}),
        ("Swin", {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "image_size": 32}),
        ("Dinov2", VITS),
        ("Beit", VITS | {"intermediate_size": 16}),
        ("DeiT", VITS | {"intermediate_size": 16}),
        ("MobileNetV2", {"depth_multiplier": 0.25, "image_size": 32}),
    ],
)  # fmt: skip
def test_other_architectures_answer_as_the_library_does(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    theirs = transformers()
    torch.manual_seed(0)
    config = getattr(theirs, f"{kind}Config")(**settings, id2label=dict(enumerate(CLASSES)))
    model = getattr(theirs, f"{kind}ForImageClassification")(config).eval()
    hf_folder(tmp_path / "hf", model)
    network, x = opened(tmp_path / "hf"), torch.rand(2, 3, 40, 56)
    with torch.no_grad():
        expected = model(pixel_values=network.get_submodule("preprocess")(x)).logits
        torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)
    assert blocks(network)
    assert classifier_names(network)


def code(folder: Path) -> None:
    changed(folder / "config.json", auto_map={"AutoModelForImageClassification": "mine.Mine"})


def nested_code(folder: Path) -> None:
    changed(folder / "config.json", vision_config={"auto_map": {"AutoConfig": "mine.Mine"}})


def objects(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Evil()}))


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("code of a file was run",))


def shorter(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


def entry(file: str, **entries: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder / file, **entries)


def tensors(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return work


CONFIG = "config.json"
BAD: list[tuple[Callable[[Path], Any], str]] = [
    (code, "'auto_map', so it names code of its own, which is never run"),
    (nested_code, "'auto_map', so it names code of its own, which is never run"),
    (objects, "Python objects are never loaded"),
    (shorter("model.safetensors"), "cannot be read"),
    (shorter(CONFIG), "config.json cannot be read .*expected JSON"),
    (shorter("preprocessor_config.json"), "preprocessor_config.json cannot be read"),
    (lambda folder: (folder / CONFIG).unlink(), "config.json not found: expected the folder of a published model"),
    (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config.json not found"),
    (lambda folder: (folder / "model.safetensors").unlink(), "it has no weights: expected model.safetensors"),
    (lambda folder: (folder / "model.safetensors").rename(folder / "model.safetensors.index.json"), "several files"),
    (lambda folder: (folder / CONFIG).write_text("[1]"), "holds list in place of a mapping"),
    (lambda folder: (folder / CONFIG).write_text("[" * 100_000), "config.json cannot be read"),
    (entry(CONFIG, architectures=["BertForMaskedLM"]), "must be one class ending in ForImageClassification"),
    (entry(CONFIG, architectures=["NoSuchForImageClassification"]), "has no class 'NoSuchForImageClassification'"),
    (entry(CONFIG, architectures=None), "is of no known layout"),
    (entry(CONFIG, quantization_config={"bits": 4}), "'quantization_config', so its weights are quantized"),
    (entry(CONFIG, use_pretrained_backbone=True), "'use_pretrained_backbone', so its backbone would be fetched"),
    (entry(CONFIG, _attn_implementation="some/kernel"), "so code would be fetched"),
    (entry(CONFIG, hidden_size=25), "does not fit network 'hf' .*other shapes"),
    (entry(CONFIG, hidden_size=48), "does not fit network 'hf' .*other shapes"),
    (entry(CONFIG, num_hidden_layers=2), "no place in the network"),
    (entry(CONFIG, num_hidden_layers=4), "missing in the file"),
    (entry(CONFIG, id2label={"0": "a", "2": "b"}), "id2label of config.json must have the labels 0 to 1"),
    (entry(CONFIG, id2label={"0": "a"}), "id2label of config.json must say 2 classes or more"),
    (entry(CONFIG, id2label=["a", 3]), "id2label of config.json must name every class by a text"),
    (entry("preprocessor_config.json", size={"height": 40, "width": 40}), "cannot take images"),
    (entry("preprocessor_config.json", auto_map={"A": "b.c"}), "names code of its own"),
    (tensors(lambda state: state.pop("classifier.weight")), "missing in the file: model.classifier.weight"),
    (tensors(lambda state: state.update(more=torch.zeros(2))), "no place in the network: more"),
    (tensors(lambda state: state["classifier.bias"].fill_(float("nan"))), "not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_a_folder_that_cannot_be_used_is_one_sentence(hf: Path, damage: Callable[[Path], Any], sentence: str) -> None:
    damage(hf)
    with pytest.raises((DataError, ConfigError), match=sentence) as caught:
        opened(hf)
    assert "\n" not in str(caught.value)


def test_an_adapter_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="holds an adapter alone: write its base after from:"):
        read_folder(tmp_path)


# timm


def timm() -> Any:
    return quiet(pytest.importorskip, "timm")


def timm_folder(
    folder: Path, arch: str, *, labels: bool = True, data: dict[str, Any] | None = None, **arguments: Any
) -> Any:
    """Written by timm as for the hub; the model, in eval mode."""
    theirs = timm()
    from timm.models._hub import save_config_for_hf

    torch.manual_seed(0)
    model = quiet(theirs.create_model, arch, pretrained=False, num_classes=len(CLASSES), **arguments).eval()
    folder.mkdir()
    named = {"label_names": list(CLASSES)} if labels else {}
    quiet(save_config_for_hf, model, str(folder / CONFIG), named, data_config=data)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    return model


TIMMS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2}, {}),
    ("resnet10t", {}, {"input_size": (3, 48, 48), "crop_pct": 0.9, "interpolation": "bilinear"}),
    ("resnet10t", {}, {"input_size": (3, 48, 40), "crop_pct": 0.8, "crop_mode": "squash"}),
    ("convnext_atto", {"drop_path_rate": 0.1}, {"input_size": (3, 64, 64), "mean": (0.4, 0.5, 0.6), "std": (0.2,) * 3}),
]


@pytest.mark.parametrize(("arch", "arguments", "data"), TIMMS)
@pytest.mark.parametrize("shape", [(70, 91), (40, 40)])
def test_a_folder_of_timm_answers_as_the_library_does(
    tmp_path: Path, arch: str, arguments: dict[str, Any], data: dict[str, Any], shape: tuple[int, int]
) -> None:
    model, pixels = timm_folder(tmp_path / "t", arch, data=data, **arguments), images(*shape)
    found = read_folder(tmp_path / "t")
    assert found.classes == CLASSES
    said = json.loads((tmp_path / "t" / CONFIG).read_text())
    from timm.data import create_transform, resolve_data_config

    steps = quiet(create_transform, **resolve_data_config(said["pretrained_cfg"]))
    given = torch.stack([steps(one) for one in pictures(pixels)])
    network = opened(tmp_path / "t", (3, *shape))
    ours = network.get_submodule("preprocess")(pixels / 255)
    assert ours.shape == given.shape
    assert (ours - given).abs().max() < 2 / 255 / 0.2
    assert (ours - given).abs().mean() < 0.5 / 255 / 0.2
    with torch.no_grad():
        torch.testing.assert_close(network(pixels / 255), model(ours), rtol=1e-5, atol=1e-5)
    assert classifier_names(network)
    assert blocks(network)


def test_any_network_of_timm_by_name(tmp_path: Path) -> None:
    timm()
    network = get("timm", (3, 32, 32), 7, arch="resnet10t", resize=0).eval()
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert network.get_submodule("preprocess").steps.resize == ()  # type: ignore[union-attr]
    usual = get("timm", (3, 40, 40), 7, arch="resnet10t").get_submodule("preprocess").steps  # type: ignore[union-attr]
    assert (usual.resize, usual.crop, usual.interpolation) == ((201,), (176, 176), "bicubic")
    with pytest.raises(UnknownNameError, match="did you mean 'resnet10t'"):
        get("timm", (3, 32, 32), 7, arch="resnet10tt")
    with pytest.raises(ConfigError, match="'resize' of network 'timm' must be -1 to 1024"):
        get("timm", (3, 32, 32), 7, resize=9999)


def timm_entry(**entries: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder / CONFIG, **entries)


TIMM_BAD: list[tuple[Callable[[Path], Any], str]] = [
    (timm_entry(architecture="no_such_network"), "unknown arch of network 'timm' 'no_such_network'"),
    (timm_entry(architecture="hf-hub:some/model"), "unknown arch of network 'timm'"),
    (timm_entry(model_args={"checkpoint_path": "x.pth"}), "model_args of network 'timm' has 'checkpoint_path'"),
    (timm_entry(model_args={"pretrained": True}), "model_args of network 'timm' has 'pretrained'"),
    (timm_entry(model_args={"no_such": True}), "timm cannot build 'resnet10t' with this configuration"),
    (timm_entry(label_names=["a", "b"]), "label_names of config.json has 2 names for 5 classes"),
    (timm_entry(label_names=None, num_classes=7), "other shapes"),
    (timm_entry(pretrained_cfg={"input_size": [3, 40, 48]}), "cannot prepare images with a center crop to 40x48"),
    (timm_entry(pretrained_cfg={"input_size": [3, 40, 40], "crop_mode": "border"}), "crop_mode 'border': set resize"),
    (timm_entry(pretrained_cfg={"input_size": "x"}), "timm cannot build 'resnet10t' with this configuration"),
    (timm_entry(pretrained_cfg={"input_size": [3, 40, 40], "interpolation": "random"}), "interpolation must be one of"),
    (shorter("model.safetensors"), "cannot be read"),
    (shorter(CONFIG), "config.json cannot be read"),
]


@pytest.mark.parametrize(
    ("damage", "sentence"), TIMM_BAD, ids=lambda value: value if isinstance(value, str) else "damaged"
)
def test_a_folder_of_timm_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, damage: Callable[[Path], Any], sentence: str
) -> None:
    timm_folder(tmp_path / "t", "resnet10t", data={"input_size": (3, 48, 48)})
    damage(tmp_path / "t")
    with pytest.raises((DataError, ConfigError, UnknownNameError), match=sentence) as caught:
        opened(tmp_path / "t", classes=read_folder(tmp_path / "t").number)
    assert "\n" not in str(caught.value)


# without the libraries


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(ConfigError, match=r"^network 'hf' needs no_such_library .*: pip install 'tl_robust\[hf\]'\.$"):
        library("no_such_library", "hf")


def test_folders_are_read_without_the_libraries(tmp_path: Path) -> None:
    said = {
        "architecture": "resnet18",
        "num_classes": 3,
        "pretrained_cfg": {"mean": [0.5] * 3, "url": "u", "tag": None},
    }
    (tmp_path / CONFIG).write_text(json.dumps(said))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert read_folder(tmp_path) == Folder(
        "timm",
        {"arch": "resnet18", "config": '{"model_args": {}, "pretrained_cfg": {"mean": [0.5, 0.5, 0.5]}}'},
        (),
        3,
        "model.safetensors",
    )
