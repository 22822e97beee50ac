"""The ten digits at 3x32x32: 28-pixel images are padded by 2, gray ones get three equal channels."""

from tl_robust.data.space import SPACES, Space


@SPACES.register
class Digits(Space):
    """Digits 0 to 9, 3x32x32."""

    classes = tuple("0123456789")
    image_shape = (3, 32, 32)
    inner = 28
