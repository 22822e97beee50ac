"""The one build step that pyproject.toml cannot say: the benches of ``experiments/`` are in the wheel too."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithBenches(build_py):
    """Copies ``experiments/*.yaml`` into the built package; an editable install reads them where they are."""

    def run(self) -> None:
        """Build the package, then add the benches."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / "tl_robust" / "experiments"
        self.mkpath(str(folder))
        for file in sorted(Path("experiments").glob("*.yaml")):
            self.copy_file(str(file), str(folder / file.name))


setup(cmdclass={"build_py": BuildWithBenches})
