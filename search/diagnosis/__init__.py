"""Diagnosis of a user's own Keras network: why it does not learn, and the smallest change that makes it learn."""
