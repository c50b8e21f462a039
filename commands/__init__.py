"""The commands of `run_search.py`, one module each: options, wiring, exit code."""
