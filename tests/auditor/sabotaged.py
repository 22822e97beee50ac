"""Models in files as users have them, good ones and sabotaged ones, and the command that audits each."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.auditor.families import CLASSES, NETWORK, patterns
from tests.models.published_made import changed, quiet, transformers
from tl_robust.audit import audit_file
from tl_robust.audit.record import Audit
from tl_robust.cli import main
from tl_robust.models import build
from tl_robust.models.base import NETWORKS
from tl_robust.models.features import features
from tl_robust.models.folders import read_folder
from tl_robust.models.preprocessing import center_crop, resized
from tl_robust.types import ImageSet

DTN = json.dumps(NETWORK)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def write_images(folder: Path, images: ImageSet, quality: int = 0, offset: int = 0) -> None:
    """A folder of each class with PNG files, or with JPEG of some quality."""
    for place, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        where = folder / CLASSES[label]
        where.mkdir(parents=True, exist_ok=True)
        made = io.BytesIO()
        kind: dict[str, Any] = (
            {"format": "JPEG", "quality": quality, "subsampling": 0} if quality else {"format": "PNG"}
        )
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(made, **kind)
        (where / f"{offset + place:04}.{'jpg' if quality else 'png'}").write_bytes(made.getvalue())


def learned(
    network: nn.Module,
    data: ImageSet,
    seed: int = 0,
    steps: int = 120,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> Any:
    """A network that learned images, perhaps prepared otherwise than it does itself."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        pixels = data.images.float() / 255
        pixels = prepare(pixels) if prepare else pixels
        network.train()
        for _ in range(steps):
            batch = torch.randint(len(data), (64,))
            optimizer.zero_grad()
            cross_entropy(network(pixels[batch]), data.labels[batch]).backward()
            optimizer.step()
    return network.eval()


def zoomed(images: Tensor) -> Tensor:
    """The middle seven eighths."""
    return resized(center_crop(images, (28, 28)), (32, 32), "bilinear")


class Home:
    """A folder with images, a public parent, a child, and what a saboteur did to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train, self.test = patterns("own", "train", 300), patterns("own", "test", 100)
        write_images(folder / "images" / "test", self.test)
        write_images(folder / "seen", self.train)
        self.start = learned(self.network(), patterns("public", "train", 300))
        self.child = learned(self.network(self.start), self.train, 1)
        self.save("parent", self.start.state_dict())
        self.save("child", self.child.state_dict())

    def network(self, start: nn.Module | None = None, name: str = "", **settings: Any) -> nn.Module:
        """A fresh one, or one that starts from another's weights."""
        given = settings if name else {key: value for key, value in NETWORK.items() if key != "name"}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            made = build(NETWORKS.component(name or str(NETWORK["name"]), given), (3, 32, 32), 5)
        if start is not None:
            made.load_state_dict(start.state_dict())
        return made

    def save(self, name: str, state: dict[str, Tensor]) -> str:
        save_file({key: value.contiguous() for key, value in state.items()}, self.folder / f"{name}.safetensors")
        return str(self.folder / f"{name}.safetensors")

    def changed(self, name: str, change: Callable[[dict[str, Tensor]], Any]) -> str:
        """The child's file after a change of its tensors."""
        state = {key: value.clone() for key, value in self.child.state_dict().items()}
        change(state)
        return self.save(name, state)

    def otherwise(self, name: str, first: nn.Module | None = None, prepare: Any = None) -> str:
        """A child that was trained with another normalization than its network has, or on other images."""
        network: Any = self.network(self.start)
        if first is not None:
            network.normalize = first  # no weights of it are saved
        return self.save(name, learned(network, self.train, 1, prepare=prepare).state_dict())

    def stranger(self, place: int) -> str:
        """A model of the same kind that the child was not made of."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(100 + place)
            network: Any = self.network()
            for module in network.modules():
                if callable(reset := getattr(module, "reset_parameters", None)):
                    reset()
        learned(network, patterns(f"other {place}", "train", 300), place + 5)
        return self.save(f"stranger{place}", network.state_dict())

    def seen(self, name: str, leaked: ImageSet, quality: int = 0) -> str:
        """Training images with some test images among them."""
        write_images(self.folder / name, self.train)
        write_images(self.folder / name, leaked, quality, offset=1000)
        return str(self.folder / name)

    def hf(self, name: str = "hf", classes: tuple[str, ...] = CLASSES, **processor: Any) -> Path:
        """A small ViT in the layout of Hugging Face that learned the images; what its processor says can be wrong."""
        folder = self.folder / name
        if not (whole := self.folder / "hf_trained").exists():
            library = transformers()
            config = library.ViTConfig(
                hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32,
                patch_size=8, id2label=dict(enumerate(CLASSES)),
                label2id={label: place for place, label in enumerate(CLASSES)},
            )  # fmt: skip
            torch.manual_seed(0)
            quiet(library.ViTForImageClassification(config).save_pretrained, whole)
            steps = {"size": {"height": 32, "width": 32}, "image_mean": IMAGENET[0], "image_std": IMAGENET[1]}
            quiet(library.ViTImageProcessor(**steps).save_pretrained, whole)
            self._teach(whole)
        self._copy(whole, folder)
        changed(folder / "preprocessor_config.json", **processor)
        changed(folder / "config.json", id2label=dict(enumerate(classes)))
        return folder

    def timm(self, name: str = "timm", **cfg: Any) -> Path:
        """A small ViT in the layout of timm that learned the images; what its configuration says can be wrong."""
        folder = self.folder / name
        if not (whole := self.folder / "timm_trained").exists():
            library = quiet(pytest.importorskip, "timm")
            from timm.models._hub import save_config_for_hf

            torch.manual_seed(0)
            small = {"img_size": 32, "depth": 1}
            model = quiet(library.create_model, "vit_tiny_patch16_224", pretrained=False, num_classes=5, **small)
            whole.mkdir()
            data = {"input_size": (3, 32, 32), "crop_pct": 1.0, "mean": IMAGENET[0], "std": IMAGENET[1]}
            names = {"label_names": list(CLASSES)}
            quiet(save_config_for_hf, model, str(whole / "config.json"), names, data_config=data)
            save_file(
                {key: value.contiguous() for key, value in model.state_dict().items()}, whole / "model.safetensors"
            )
            self._teach(whole)
        self._copy(whole, folder)
        said = json.loads((folder / "config.json").read_text())
        said["pretrained_cfg"] |= cfg
        (folder / "config.json").write_text(json.dumps(said))
        return folder

    def audited(
        self, capsys: pytest.CaptureFixture[str], model: str | Path, *more: str
    ) -> tuple[int, Audit | None, str]:
        """Exit code, record, and what the terminal says."""
        out = self.folder / "out" / Path(model).stem / "-".join(Path(word).name for word in more if "/" in word)
        network = [] if "--network" in more else ["--network", DTN]
        code = main([
            "audit", str(model), *network, "--data", str(self.folder / "images"), "--eps", "16/255", "--transfer",
            "fgsm", "--strong", "{name: pgd, steps: 2}", "--results", str(self.folder / "results"), "--workers", "1",
            "--accelerator", "cpu", "--plain", "--out", str(out), *more,
        ])  # fmt: skip
        said = capsys.readouterr()
        record = audit_file.read(out / "audit.json") if (out / "audit.json").exists() else None
        return code, record, " ".join((said.out + said.err).split())

    def _teach(self, folder: Path) -> None:
        found = read_folder(folder)
        network = build(NETWORKS.component(found.network, found.settings), (3, 32, 32), 5)
        model = network.get_submodule("model")
        own = load_file(folder / "model.safetensors")
        names = getattr(network, "names_here", lambda names: {name: name for name in names})(list(own))
        model.load_state_dict({names[name]: value for name, value in own.items()})
        learned(network, self.train)
        state = model.state_dict()
        save_file({name: state[names[name]].contiguous() for name in own}, folder / "model.safetensors")

    def _copy(self, one: Path, other: Path) -> None:
        other.mkdir(exist_ok=True)
        for file in one.iterdir():
            (other / file.name).write_bytes(file.read_bytes())


def adapter(home: Home, name: str, head: bool) -> str:
    """A LoRA adapter of the parent in peft's layout, with the child's last layer or without it."""
    folder = home.folder / name
    folder.mkdir()
    said = {
        "peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["hidden.0"], "bias": "none",
        "modules_to_save": ["classifier"],
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(said))
    start = home.start.state_dict()["hidden.0.weight"]
    tensors = {
        "hidden.0.lora_A.weight": torch.zeros(2, start.shape[1]),
        "hidden.0.lora_B.weight": torch.zeros(len(start), 2),
    }
    if head:
        given = features(home.start, home.train.images)
        last = nn.Linear(given.shape[1], len(CLASSES))
        optimizer = torch.optim.Adam(last.parameters(), 1e-2)
        for _ in range(200):
            optimizer.zero_grad()
            cross_entropy(last(given), home.train.labels).backward()
            optimizer.step()
        tensors |= {f"classifier.{key}": value.detach() for key, value in last.state_dict().items()}
    save_file({f"base_model.model.{key}": value.contiguous() for key, value in tensors.items()},
              folder / "adapter_model.safetensors")  # fmt: skip
    return str(folder)
