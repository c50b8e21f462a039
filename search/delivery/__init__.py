"""Trained models for the user, and their predictions of further images."""
