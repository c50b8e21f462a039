"""Statistics of the scores: pooled scores, errors, ranking, the promise. Pure arithmetic."""
