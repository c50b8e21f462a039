"""Processes that load TensorFlow and train: the side that starts them, the side that answers, and what they say."""
