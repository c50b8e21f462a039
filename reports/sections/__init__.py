"""The sections of the report: each module builds the template data of one, as plain values without markup."""
