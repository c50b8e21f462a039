"""A session from its request to its results: images and study opened, workers counted, all stages run."""
