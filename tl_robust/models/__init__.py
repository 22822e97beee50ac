"""Networks: images in [0,1] in, logits out; normalization is the first layer."""

from tl_robust.models.base import NETWORKS, Normalize, build, copy_fitting

__all__ = ["NETWORKS", "Normalize", "build", "copy_fitting"]
