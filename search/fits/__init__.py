"""Fits: one from the ledger or a worker, many of them over workers and hosts, and what all fits of a study share."""
