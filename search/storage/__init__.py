"""Storage of a study: its run folder, its database, the ledger of its fits, and how they are read back as records."""
