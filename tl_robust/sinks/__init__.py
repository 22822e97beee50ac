"""Views of the store: tables, report, Weights & Biases. Each can be made again from the store."""
