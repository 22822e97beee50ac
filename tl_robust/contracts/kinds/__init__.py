"""One file a kind: what its contracts are asked of, and the contracts."""
