"""Rules that tell, from the numbers a fit reports, that it will not learn. Pure arithmetic."""
