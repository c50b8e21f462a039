"""The commands, one module each: its options, its wiring, its exit code."""
