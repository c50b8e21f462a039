"""Worker processes, which load TensorFlow and train: the coordinator's side, the process's side, and their messages."""
