"""Training of heads on embeddings in NumPy: for such small steps the calls of a TensorFlow graph would dominate."""
