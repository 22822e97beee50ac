"""From a bench to its results: lineage, plan, store, executor, runner."""
