"""Presenting what was found. Never runs a fit, never ranks."""
