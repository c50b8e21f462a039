"""Running: from images on disk to fits in the ledger and a ranking of them."""
