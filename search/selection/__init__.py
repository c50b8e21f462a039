"""What the scores mean: pooled scores, errors, ranking, the promise. Pure arithmetic."""
