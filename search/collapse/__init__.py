"""Telling, from numbers that a fit reports, that it will not learn. Pure arithmetic."""
