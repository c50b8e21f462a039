"""Which fits are run, when, where, and what is kept of them."""
