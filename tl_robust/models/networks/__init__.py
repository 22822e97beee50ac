"""Networks by name, one file each."""
