"""Heads on embeddings, trained in NumPy: their steps are so small that a graph would cost more than it computes."""
