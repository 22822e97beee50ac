"""Color squares of any side, with the classes that two domains share, their own, or those you list."""

from typing_extensions import override

from tl_robust.data.names import Names, clean_name
from tl_robust.data.space import SPACES, Space
from tl_robust.errors import ConfigError
from tl_robust.text import first_few


@SPACES.register
class Square(Space):
    """Color images of one side; other sizes are resized, nothing is padded.

    Args:
        side: Height and width in pixels.
        classes: ``shared`` takes the classes that source and target both have by name, in the source's order, and
            leaves out samples of others. ``own`` lets every domain keep its classes, and B gets a new classifier.
            ``auto`` is shared where they share any class, else own. Anything else is names, separated by commas.
    """

    def __init__(self, side: int = 32, classes: str = "shared") -> None:
        if not 8 <= side <= 1024:
            raise ConfigError(f"setting 'side' of space 'square' must be 8 to 1024 pixels, got {side}.")
        self.image_shape, self.inner = (3, side, side), side
        names = tuple(clean_name(name) for name in classes.split(","))
        self.rule = names[0] if names in (("shared",), ("own",), ("auto",)) else ""
        self.classes = () if self.rule else names
        if "" in names or len(set(names)) < len(names):
            raise ConfigError(
                "setting 'classes' of space 'square' must be shared, own, auto, or different names separated by "
                f"commas, got {classes!r}."
            )

    @override
    def pair_classes(self, source: Names, target: Names) -> Names:
        if self.rule not in ("shared", "auto"):
            return self.classes
        shared = tuple(name for name in source if name and name in target)
        if not shared and self.rule == "shared":
            sides = f"source: {first_few(source, 4)}; target: {first_few(target, 4)}"
            raise ConfigError(
                f"source and target share no class ({sides}): give both the "
                "same names under domains:, or use {name: square, classes: own}."
            )
        return shared
