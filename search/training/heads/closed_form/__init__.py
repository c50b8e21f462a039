"""Linear heads on frozen features that are solved to their optimum, for a whole grid of strengths at once."""
