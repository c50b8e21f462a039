"""Running of fits: a single fit, batches of fits on several workers and hosts, and what the fits of a study share."""
