"""Trust checks by name, one file each."""
