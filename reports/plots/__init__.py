"""The interactive figures of the report, one module per subject."""
