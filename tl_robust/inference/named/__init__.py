"""Membership inferences by name, one file each."""
