"""Bench files: YAML and overrides to frozen objects."""
