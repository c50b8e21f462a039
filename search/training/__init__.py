"""The only room that imports Keras: from a configuration to a trained network."""
