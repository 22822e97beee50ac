"""Any classification network of torchvision."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn
from torch.nn import functional

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.base import NETWORKS, Normalize, check_color
from tl_robust.models.published import check_takes, last_layer, trunk

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which torchvision's weights expect


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
        shape = (3, resize, resize) if resize else image_shape
        check_takes(self, image_shape, f"{arch!r} of network 'torchvision_backbone'", shape)

    @property
    def classifier(self) -> nn.Module:
        """The last layer with weights, whatever the network calls it."""
        return last_layer(self.model)

    @property
    def blocks(self) -> list[nn.Module]:
        """Modules with parameters, in torchvision's order; see :func:`tl_robust.models.published.trunk`."""
        return trunk(self.model, self.classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,3,H,W]`` in [0,1] to logits ``[N,classes]``."""
        if self.resize:
            images = functional.interpolate(images, (self.resize, self.resize), mode="bilinear", align_corners=False)
        logits: Tensor = self.model(self.normalize(images))
        return logits


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
