"""Where a study is kept: its run folder, its database, the ledger of its fits, and the way back to records."""
