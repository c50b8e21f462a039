"""Stages after the search: finalists confirmed, changes explained, sensitivity measured, the final fit and its test."""
