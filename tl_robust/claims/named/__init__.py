"""Claims by name, one file each."""
