"""Search spaces, and the configurations that they contain."""
