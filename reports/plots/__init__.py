"""The interactive figures of the pages, one module a subject."""
