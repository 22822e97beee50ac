"""The nine classes that CIFAR-10 and STL-10 share, at 3x32x32: other sizes are resized to 32, nothing is padded."""

from tl_robust.data.space import SPACES, Space


@SPACES.register
class Objects(Space):
    """Nine kinds of animals and vehicles, 3x32x32."""

    classes = ("airplane", "car", "bird", "cat", "deer", "dog", "horse", "ship", "truck")
    image_shape = (3, 32, 32)
    inner = 32
