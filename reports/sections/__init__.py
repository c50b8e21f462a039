"""The sections of the report: each module lays out the contents of one as plain values without markup."""
