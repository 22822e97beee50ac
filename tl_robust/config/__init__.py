"""Bench files: YAML and overrides to frozen objects."""

from tl_robust.config.reading import Config, load, load_settings

__all__ = ["Config", "load", "load_settings"]
