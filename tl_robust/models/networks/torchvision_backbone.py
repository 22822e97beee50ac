"""Any classification network of torchvision."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn
from torch.nn import functional

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.base import NETWORKS, Normalize, check_color

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which torchvision's weights expect
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@NETWORKS.register
class TorchvisionBackbone(nn.Module):
    """A network of ``torchvision.models`` by its name, with fresh weights.

    The first layers resize the images, if asked to, and normalize them with ImageNet's mean and spread. Images that the
    network cannot take are an error when it is built. Auxiliary heads (GoogLeNet, Inception) are left out, so that all
    networks return logits while training too. Weights have torchvision's names after ``model.``. AlexNet and VGG pool
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
        check_color("torchvision_backbone", image_shape[0])
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
        return [module for module in self.model.modules() if list(module.parameters(recurse=False))][-1]

    @property
    def blocks(self) -> list[nn.Module]:
        """Modules with parameters, in torchvision's order; each normalization belongs to the module before it.

        They are the network's children without those that hold the last layer. While there are fewer than three, the
        largest is replaced with its own children: ``features`` of many networks, the encoder of ViT and its list of
        layers. Parameters that lie in no child, such as ViT's embedding of positions, are in no block.
        """
        last = self.classifier
        body = [child for child in _children(self.model) if last not in child.modules()]
        while sum(not isinstance(module, NORMS) for module in body) < 3:
            largest = max(body, key=_size)
            inside = _children(largest)
            if not inside:
                break
            place = body.index(largest)
            body[place : place + 1] = inside
        blocks: list[nn.Module] = []
        for module in [*body, *_before(self.model, last)]:
            if isinstance(module, NORMS) and blocks:
                blocks[-1] = nn.Sequential(blocks[-1], module)
            else:
                blocks.append(module)
        return blocks

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,3,H,W]`` in [0,1] to logits ``[N,classes]``."""
        if self.resize:
            images = functional.interpolate(images, (self.resize, self.resize), mode="bilinear", align_corners=False)
        logits: Tensor = self.model(self.normalize(images))
        return logits

    def _check(self, image_shape: tuple[int, int, int], arch: str) -> None:
        """Pass an image without numbers through the network, which costs no arithmetic and no memory."""
        state = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        shapes_alone = {name: value.to("meta") for name, value in state.items()}
        self.eval()
        try:
            with torch.device("meta"), torch.no_grad():
                torch.func.functional_call(self, shapes_alone, torch.empty(1, *image_shape))
        except (RuntimeError, ValueError, AssertionError) as error:
            shape = "x".join(map(str, (3, self.resize, self.resize) if self.resize else image_shape))
            raise ConfigError(
                f"{arch!r} of network 'torchvision_backbone' cannot take images of {shape}: "
                f"set resize, for example to 224 ({str(error).splitlines()[0]})."
            ) from error
        self.train()


def _children(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if _size(child)]


def _size(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _before(module: nn.Module, last: nn.Module) -> list[nn.Module]:
    """What lies beside the last layer in the children that hold it, such as the hidden layers of VGG's head."""
    head = next((child for child in _children(module) if child is not last and last in child.modules()), None)
    if head is None:
        return []
    return [*(child for child in _children(head) if last not in child.modules()), *_before(head, last)]


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
