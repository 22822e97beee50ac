"""Any classification network of torchvision."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn
from torch.nn import functional

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.base import NETWORKS, Normalize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which torchvision's weights expect
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@NETWORKS.register
class TorchvisionBackbone(nn.Module):
    """A network of ``torchvision.models`` by its name, with fresh weights.

    The first layers resize the images, if asked, and normalize them with ImageNet's mean and spread. An image that the
    network cannot take is an error when it is built. Auxiliary heads (GoogLeNet, Inception) are left out, so that all
    networks return logits while training too. Names of weights are torchvision's after ``model.``. AlexNet and VGG pool
    in a way that has no deterministic gradient on a GPU: they need ``trainer.deterministic: false`` there.

    Args:
        image_shape: ``(3, H, W)``.
        classes: Number of logits.
        arch: A name of ``torchvision.models.list_models(module=torchvision.models)``.
        resize: Side of the square that images are resized to, bilinear, with gradient; 0 leaves them as they are.
    """

    VERSION = 1

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, arch: str = "mobilenet_v3_small", resize: int = 0
    ) -> None:
        from torchvision import models  # slow to import

        super().__init__()
        if image_shape[0] != 3:
            raise ConfigError(
                f"network 'torchvision_backbone' takes images of 3 channels, got {image_shape[0]}: "
                "choose a space of colored images, or another network."
            )
        if not 0 <= resize <= 1024:
            raise ConfigError(f"setting 'resize' of network 'torchvision_backbone' must be 0 to 1024, got {resize}.")
        known = models.list_models(module=models)
        if arch not in known:
            raise UnknownNameError("arch of network 'torchvision_backbone'", arch, known)
        self.resize = resize
        self.normalize = Normalize(MEAN, STD)
        self.model: nn.Module = _fresh(arch, classes)
        self._check(image_shape, arch)

    @property
    def classifier(self) -> nn.Module:
        """The last layer with weights, whatever the network calls it."""
        return [part for part in self.model.modules() if list(part.parameters(recurse=False))][-1]

    @property
    def blocks(self) -> list[nn.Module]:
        """Parts with parameters, in torchvision's order; each normalization belongs to the part before it.

        They are the network's children, without the last layer. While there are fewer than three beside those that hold
        the last layer, the largest is replaced with its children: ``features`` of many networks, the encoder of ViT and
        its list of layers. Parameters that lie in no child, as ViT's embedding of positions, are in no block.
        """
        last = self.classifier
        body = [part for part in _parts(self.model) if last not in part.modules()]
        while sum(not isinstance(part, NORMS) for part in body) < 3:
            largest = max(body, key=_size)
            inside = _parts(largest)
            if not inside:
                break
            place = body.index(largest)
            body[place : place + 1] = inside
        found: list[nn.Module] = []
        for part in [*body, *_before(self.model, last)]:
            if isinstance(part, NORMS) and found:
                found[-1] = nn.Sequential(found[-1], part)
            else:
                found.append(part)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,3,H,W]`` in [0,1] to logits ``[N,classes]``."""
        if self.resize:
            images = functional.interpolate(images, (self.resize, self.resize), mode="bilinear", align_corners=False)
        logits: Tensor = self.model(self.normalize(images))
        return logits

    def _check(self, image_shape: tuple[int, int, int], arch: str) -> None:
        """Pass an image without numbers through the network: costs no arithmetic and no memory."""
        state = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        nothing = {name: value.to("meta") for name, value in state.items()}
        self.eval()
        try:
            with torch.device("meta"), torch.no_grad():
                torch.func.functional_call(self, nothing, torch.empty(1, *image_shape))
        except (RuntimeError, ValueError, AssertionError) as error:
            shape = "x".join(map(str, (3, self.resize, self.resize) if self.resize else image_shape))
            raise ConfigError(
                f"{arch!r} of network 'torchvision_backbone' cannot take images of {shape}: "
                f"set resize, for example to 224 ({str(error).splitlines()[0]})."
            ) from error
        self.train()


def _parts(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.children() if _size(part)]


def _size(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _before(module: nn.Module, last: nn.Module) -> list[nn.Module]:
    """What lies beside the last layer in the parts that hold it, as the hidden layers of VGG's head."""
    head = next((part for part in _parts(module) if part is not last and last in part.modules()), None)
    if head is None:
        return []
    return [*(part for part in _parts(head) if last not in part.modules()), *_before(head, last)]


def _fresh(arch: str, classes: int) -> nn.Module:
    from torchvision import models

    settings = inspect.signature(inspect.signature(models.get_model_builder(arch)).return_annotation).parameters
    wanted = {"aux_logits": False, "init_weights": True}  # no second output; no warning that the default will change
    options = {name: value for name, value in wanted.items() if name in settings}
    try:
        model: nn.Module = models.get_model(arch, weights=None, num_classes=classes, **options)
    except NotImplementedError:  # RegNet reads its sizes from tensors, which hold no numbers on the meta device
        with torch.device("cpu"):
            model = models.get_model(arch, weights=None, num_classes=classes, **options)
    return model
