"""Who computes nodes, and where: one file an engine."""
